"""Choreography: nobody is in charge, no event leads back to itself, and a monitor knows how it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import anyio
import pytest

from eip_ref.course.saga.order_story import (
    PLACE_ORDER,
    REACTIONS,
    TIMED_OUT,
    TIMEOUT,
    OrderServices,
    order_choreography,
)
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.saga import Choreography, EventCycle, Monitor, Phase, Reaction, Refused, Service, event
from tests.backends import recorded, virtual_time_only
from tests.saga.stories import (
    COMPLETED,
    NO_TEA,
    ORDER,
    STOLEN,
    amounts,
    first,
    holds,
    untouched,
    without_zeros,
)


class Bus:
    """Gives each event to all who listen, one after the other; `copies` of it, each."""

    def __init__(
        self,
        shop: OrderServices,
        choreography: Choreography | None = None,
        copies: int = 1,
        lost: str = "",
    ) -> None:
        self.choreography = choreography or order_choreography()
        self.published: list[Message] = []
        self.monitor = Monitor(self.choreography, patience=60)
        self._copies = copies
        self._lost = lost
        self.services = {
            name: Service(participant, self.choreography, self.publish)
            for name, participant in shop.services.items()
        }

    async def publish(self, message: Message) -> None:
        self.published.append(message)
        await anyio.sleep(0.1)
        for _ in range(self._copies if len(self.published) < 40 else 1):
            await self.monitor.receive(message)
            if message.type != self._lost:
                for name in self.choreography.listeners(message.type):
                    await self.services[name].receive(message)

    async def order(self) -> Phase | None:
        await self.publish(event("o1", PLACE_ORDER, ORDER))
        return self.monitor.status("o1").phase


@pytest.mark.parametrize(
    ("values", "types"),
    [
        (
            first(),
            "OrderCreated CreditReserved PaymentReserved StockReserved "
            "PaymentCharged OrderShipped OrderConfirmed",
        ),
        (first(credit=1), "OrderCreated CreditRefused OrderRejected"),
        (first(money=1), "OrderCreated CreditReserved PaymentRefused CreditReleased OrderRejected"),
        (
            NO_TEA,
            "OrderCreated CreditReserved PaymentReserved OutOfStock "
            "PaymentReleased CreditReleased OrderRejected",
        ),
        (
            STOLEN,
            "OrderCreated CreditReserved PaymentReserved StockReserved ChargeRefused "
            "StockReleased PaymentReleased CreditReleased OrderRejected",
        ),
    ],
    ids=["completed", "credit", "payment", "stock", "pivot"],
)
async def test_every_refusal_leads_back_through_all_that_was_done(values: dict[str, Any], types: str) -> None:
    """Each service compensates its own step and says so; the order is told last."""
    shop = OrderServices(values)
    bus = Bus(shop)
    completes = types.endswith("Confirmed")
    assert await bus.order() is (Phase.COMPLETED if completes else Phase.COMPENSATED)
    assert [m.type for m in bus.published] == [PLACE_ORDER, *types.split()]
    assert amounts(shop) == (without_zeros(COMPLETED) if completes else untouched(values))
    holds(recorded())


async def test_every_event_carries_the_saga_as_correlation_and_its_cause() -> None:
    """So whoever hears one knows which saga it is of, and what led to it."""
    bus = Bus(OrderServices(first()))
    await bus.order()
    assert {m.correlation_id for m in bus.published} == {"o1"}
    assert [m.causation_id for m in bus.published] == [None, *(m.id for m in bus.published[:-1])]
    with pytest.raises(ValueError, match="has no correlation id"):
        await bus.services["orders"].receive(Message(ORDER, type=PLACE_ORDER))


async def test_no_two_sagas_can_have_one_key() -> None:
    """Step "b/c" of saga "a" and step "c" of saga "a/b" would be one operation."""
    with pytest.raises(ValueError, match="step of a reaction must be text without '/', not 'b/c'"):
        Reaction("orders", PLACE_ORDER, "Create", "b/c", "Created")
    bus = Bus(OrderServices(first()))
    with pytest.raises(ValueError, match="a saga's id must be text without '/', not 'a/b'"):
        await bus.services["orders"].receive(Message(ORDER, type=PLACE_ORDER, correlation_id="a/b"))
    assert not recorded().count("effect")


@pytest.mark.parametrize("values", [first(), NO_TEA, STOLEN], ids=["completed", "stock", "pivot"])
async def test_events_that_come_twice_change_nothing(values: dict[str, Any]) -> None:
    """Participants are idempotent, also for events that were overtaken by the compensation."""
    shop = OrderServices(values)
    bus = Bus(shop, copies=2)
    await bus.order()
    ended = without_zeros(COMPLETED) if values not in (NO_TEA, STOLEN) else untouched(values)
    assert amounts(shop) == ended
    assert bus.monitor.contradictions == []
    books = shop.business()
    for message in bus.published[:30]:  # and all of the old events once more
        for name in bus.choreography.listeners(message.type):
            await bus.services[name].receive(message)
    assert shop.business() == books
    holds(recorded())


async def test_an_event_that_comes_again_says_again_what_came_of_it() -> None:
    """The crash between the effect and the event: the next delivery publishes the same event."""
    shop, said = OrderServices(first()), list[Message]()
    died = [True]

    async def publish(message: Message) -> None:
        if died:
            died.clear()
            raise ConnectionError("the process died here")
        said.append(message)

    service = Service(shop.services["orders"], order_choreography(), publish)
    placed = event("o1", PLACE_ORDER, ORDER)
    with pytest.raises(ConnectionError):
        await service.receive(placed)
    await service.receive(placed)
    await service.receive(placed)
    assert [m.id for m in said] == ["o1/OrderCreated", "o1/OrderCreated"]
    trace = recorded()
    assert (trace.count("effect"), trace.count("duplicate")) == (1, 2)


async def test_an_old_event_after_the_compensation_says_nothing() -> None:
    """It finds that its operation was revoked; a refusal now would start the way back once more."""
    shop = OrderServices(NO_TEA)
    bus = Bus(shop)
    await bus.order()
    count = len(bus.published)
    old = next(m for m in bus.published if m.type == "CreditReserved")
    await bus.services["payments"].receive(old)
    assert len(bus.published) == count
    assert recorded().messages("duplicate", where="payments")[-1] == old.id


async def test_a_refusal_for_which_there_is_no_event_is_an_error() -> None:
    """It is not swallowed: the channel keeps the event, and the monitor sees a saga that does not move."""
    shop = OrderServices(NO_TEA)
    deaf = [replace(r, otherwise=None) if r.does == "ReserveStock" else r for r in REACTIONS]
    deaf = [r for r in deaf if r.on != "OutOfStock"]
    bus = Bus(shop, Choreography(PLACE_ORDER, deaf, order_choreography().ends))
    with pytest.raises(RuntimeError, match="ReserveStock was refused, and no event says so"):
        await bus.order()


# The timeout


BEFORE_THE_PIVOT = [PLACE_ORDER, "OrderCreated", "CreditReserved", "PaymentReserved", "StockReserved"]


@pytest.mark.parametrize("lost", BEFORE_THE_PIVOT)
async def test_a_timeout_before_the_pivot_turns_the_saga_back(lost: str) -> None:
    """Wherever it was lost; what arrives after that finds a tombstone and has no effect."""
    shop = OrderServices(first())
    bus = Bus(shop, lost=lost)
    assert await bus.order() is Phase.RUNNING
    late = bus.published[-1]
    await bus.publish(event("o1", TIMED_OUT, ORDER))
    assert bus.monitor.status("o1").phase is Phase.COMPENSATED
    for name in bus.choreography.listeners(late.type):
        await bus.services[name].receive(late)
    begun = lost != PLACE_ORDER
    assert amounts(shop) == untouched(first()) | ({} if begun else {"orders": {}})
    assert bus.monitor.contradictions == []
    holds(recorded())


@pytest.mark.parametrize("lost", ["PaymentCharged", "OrderShipped", ""])
async def test_a_timeout_after_the_pivot_changes_nothing(lost: str) -> None:
    """Its participant knows that it comes too late, and says so: the saga goes on to its end."""
    shop = OrderServices(first())
    bus = Bus(shop, lost=lost)
    await bus.order()
    bus._lost = ""
    await bus.publish(event("o1", TIMED_OUT, ORDER))
    assert bus.monitor.status("o1").phase is Phase.COMPLETED
    assert shop.business() == COMPLETED
    assert bus.monitor.contradictions == []
    trace = recorded()
    holds(trace)
    assert trace.messages("refused", where="payments") == ["o1/charge/undo"]


@pytest.mark.parametrize(("values", "phase"), [(NO_TEA, "compensated"), (STOLEN, "compensated")])
async def test_a_timeout_of_a_saga_that_has_ended_changes_nothing(values: dict[str, Any], phase: str) -> None:
    """What was taken back is not taken back again."""
    shop = OrderServices(values)
    bus = Bus(shop)
    await bus.order()
    await bus.publish(event("o1", TIMED_OUT, ORDER))
    assert str(bus.monitor.status("o1").phase) == phase
    assert amounts(shop) == untouched(values)
    holds(recorded())


async def test_a_queue_that_keeps_the_event_back_is_the_clock() -> None:
    """Published with the first event, it comes when the saga has had its time."""
    bus = Bus(OrderServices(first()), lost="StockReserved")
    async with MessageQueue("payments") as queue, anyio.create_task_group() as group:
        group.start_soon(Worker(queue, bus.services["payments"].receive).run)
        await queue.put(event("o1", TIMED_OUT, ORDER), delay=15)
        assert await bus.order() is Phase.RUNNING
        await anyio.sleep(20)
        assert bus.monitor.status("o1").phase is Phase.COMPENSATED
        group.cancel_scope.cancel()
    trace = recorded()
    holds(trace)
    turned = next(e for e in trace.filter("state", where="monitor") if e.data["now"] == "compensating")
    assert turned.at == pytest.approx(15.1)


def test_a_timeout_to_which_nobody_reacts_is_refused() -> None:
    """It would end nothing."""
    with pytest.raises(ValueError, match="nobody reacts to OrderTimedOut"):
        Choreography(PLACE_ORDER, REACTIONS, order_choreography().ends, TIMED_OUT)


# The graph


def test_a_cycle_in_the_event_graph_is_refused_and_shown() -> None:
    """A saga might run in it for ever."""
    again = Reaction("orders", "OutOfStock", "CreateOrder", "again", "OrderCreated")
    with pytest.raises(EventCycle) as caught:
        Choreography(PLACE_ORDER, [*REACTIONS, again], order_choreography().ends)
    assert str(caught.value) == (
        "this saga may run in a circle: "
        "CreditReserved → PaymentReserved → OutOfStock → OrderCreated → CreditReserved"
    )


def test_an_event_goes_to_those_who_react_to_it() -> None:
    """To each once, and to nobody else."""
    reactions = [Reaction(who, "A", "do", step, "B") for who, step in (("x", "s"), ("y", "t"), ("x", "u"))]
    told = Choreography("A", [*reactions, Reaction("z", "B", "do", "v", "C")], {"C": Phase.COMPLETED})
    assert (told.listeners("A"), told.listeners("C")) == (["x", "y"], [])


def test_an_event_that_leads_to_itself_is_a_cycle() -> None:
    """The shortest one."""
    with pytest.raises(EventCycle, match="a circle: A → A"):
        Choreography("A", [Reaction("x", "A", "do", "s", "A")], {})


def test_two_ways_to_one_event_are_no_cycle() -> None:
    """Ways may part and meet again."""
    reactions = [
        Reaction("x", "A", "do", "s", "B", "C"),
        Reaction("y", "B", "do", "t", "D"),
        Reaction("z", "C", "do", "u", "D"),
    ]
    graph = Choreography("A", reactions, {"D": Phase.COMPLETED}).leads_to
    assert graph == {"A": {"B", "C"}, "B": {"D"}, "C": {"D"}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r, e: ([x for x in r if x.on != "OutOfStock"], e), "nobody reacts to OutOfStock"),
        (lambda r, e: (r, {**e, "OrderLost": Phase.COMPENSATED}), "nobody says OrderLost"),
        (lambda r, e: (r, {**e, "OrderRejected": Phase.STUCK}), "not as stuck"),
        (lambda r, e: (r[1:], e), "nobody reacts to OrderPlaced"),
        (lambda r, e: ([*r, TIMEOUT], e), "nobody says OrderTimedOut"),
    ],
    ids=["dead end", "unknown end", "stuck end", "no beginning", "no clock"],
)
def test_an_event_that_leads_nowhere_or_comes_from_nowhere_is_refused(
    change: Callable[..., Any], words: str
) -> None:
    """A saga would be forgotten there."""
    reactions, ends = change(REACTIONS, dict(order_choreography().ends))
    with pytest.raises(ValueError, match=words):
        Choreography(PLACE_ORDER, reactions, ends)


# The monitor


async def test_the_monitor_reconstructs_the_status_from_events() -> None:
    """Running, then compensating from the refusal on, then compensated."""
    bus = Bus(OrderServices(NO_TEA))
    await bus.order()
    monitor, phases = Monitor(bus.choreography), []
    with pytest.raises(LookupError, match="heard nothing of saga 'o1'"):
        monitor.status("o1")
    for message in bus.published:
        await monitor.receive(message)
        phases.append(str(monitor.status("o1").phase))
    assert monitor.status("o1").events == [m.type for m in bus.published]
    assert phases == ["running"] * 4 + ["compensating"] * 3 + ["compensated"]
    changes = [(e.data["was"], e.data["now"]) for e in recorded().filter("state", where=monitor.name)]
    assert changes[-3:] == [("", "running"), ("running", "compensating"), ("compensating", "compensated")]


@pytest.mark.parametrize("values", [first(), NO_TEA], ids=["completed", "compensated"])
async def test_the_monitor_does_not_mind_order_and_repetition(values: dict[str, Any]) -> None:
    """In the end the status is the same, and no event moves an ended saga."""
    bus = Bus(OrderServices(values))
    end = await bus.order()
    for order in list(permutations(bus.published))[::397]:
        monitor = Monitor(bus.choreography)
        for message in [*order, *order]:
            await monitor.receive(message)
        assert monitor.status("o1").phase is end
        assert monitor.status("o1").events == [message.type for message in order]
        assert monitor.contradictions == []
        assert set(recorded().messages("duplicate", where="monitor")) == {message.id for message in order}


@virtual_time_only
async def test_a_saga_that_ends_at_the_instant_of_its_last_news_is_never_stuck() -> None:
    """Its patience is over with it."""
    monitor = Monitor(order_choreography(), patience=60)
    with anyio.move_on_after(100):
        async with anyio.create_task_group() as group:
            group.start_soon(monitor.run)
            for type_ in (PLACE_ORDER, "OrderConfirmed"):
                await monitor.receive(event("o1", type_, ORDER))
    assert [e.data["now"] for e in recorded().filter("state")] == ["running", "completed"]


async def test_two_ends_of_one_saga_are_a_contradiction_that_is_noted() -> None:
    """The first end holds: completed and compensated exclude each other."""
    monitor = Monitor(order_choreography())
    await monitor.receive(event("o1", "OrderConfirmed", ORDER))
    await monitor.receive(event("o1", "OrderRejected", ORDER))
    assert monitor.status("o1").phase is Phase.COMPLETED
    assert monitor.contradictions == [("o1", "OrderRejected")]


async def test_a_saga_that_does_not_move_is_stuck_until_it_moves() -> None:
    """A lost event: the monitor says so after its patience, and not before."""
    bus = Bus(OrderServices(first()), lost="CreditReserved")
    assert await bus.order() is Phase.RUNNING
    await anyio.sleep(59.5)
    assert bus.monitor.stuck() == []
    await anyio.sleep(0.5)
    (stuck,) = bus.monitor.stuck()
    assert (stuck.saga, stuck.events[-1]) == ("o1", "CreditReserved")
    bus._lost = ""
    await bus.services["payments"].receive(bus.published[-1])
    assert bus.monitor.status("o1").phase is Phase.COMPLETED
    assert bus.monitor.stuck() == []
    await anyio.sleep(100)
    assert bus.monitor.stuck() == []
    holds(recorded())


@pytest.mark.parametrize("asks", [False, True], ids=["nobody asks", "somebody asks"])
async def test_stuck_is_recorded_when_it_happens_and_asking_records_nothing(asks: bool) -> None:
    """After the patience, at that time, once, whoever asks and whenever."""
    bus = Bus(OrderServices(first()), lost="CreditReserved")
    async with anyio.create_task_group() as group:
        group.start_soon(bus.monitor.run)
        await bus.order()
        for _ in range(10 if asks else 0):
            await anyio.sleep(9)
            bus.monitor.stuck()
            bus.monitor.statuses()
            bus.monitor.status("o1")
        await anyio.sleep(100)
        group.cancel_scope.cancel()
    facts = recorded().filter("state", where="monitor")
    heard = facts[0].at + 0.2  # the third event, which was lost on its way to the payments
    assert [str(e.data["now"]) for e in facts] == ["running", "stuck"]
    assert facts[1].at == pytest.approx(heard + 60)


async def test_asking_a_monitor_whose_task_does_not_run_records_nothing() -> None:
    """The answer is right all the same."""
    monitor = Monitor(order_choreography(), patience=10)
    await monitor.receive(event("o1", PLACE_ORDER, ORDER))
    await anyio.sleep(10)
    assert monitor.status("o1").phase is Phase.STUCK
    assert [status.saga for status in monitor.stuck()] == ["o1"]
    facts = recorded().filter("state", where="monitor")
    assert [str(e.data["now"]) for e in facts] == ["running"]


async def test_an_event_at_the_very_instant_finds_its_saga_stuck_and_moves_it() -> None:
    """Whoever comes first then, the order is that one."""
    monitor = Monitor(order_choreography(), patience=60)
    async with anyio.create_task_group() as group:
        group.start_soon(monitor.run)
        await monitor.receive(event("o1", PLACE_ORDER, ORDER))
        await anyio.sleep(60)
        await monitor.receive(event("o1", "OrderCreated", ORDER))
        assert monitor.status("o1").phase is Phase.RUNNING
        group.cancel_scope.cancel()
    facts = recorded().filter("state", where="monitor")
    assert [str(e.data["now"]) for e in facts] == ["running", "stuck", "running"]


async def test_what_was_asked_is_a_copy() -> None:
    """To change it changes nothing."""
    monitor = Monitor(order_choreography())
    await monitor.receive(event("o1", PLACE_ORDER, ORDER))
    monitor.status("o1").events.append("OrderConfirmed")
    assert monitor.status("o1").events == [PLACE_ORDER]


async def test_a_service_publishes_through_a_plain_function_too() -> None:
    """What returns without waiting has published."""
    said = list[Message]()
    service = Service(OrderServices(first()).services["orders"], order_choreography(), said.append)
    await service.receive(event("o1", PLACE_ORDER, ORDER))
    assert [message.type for message in said] == ["OrderCreated"]


async def test_the_patience_counts_from_the_last_news() -> None:
    """A saga that moves slowly is not stuck."""
    monitor = Monitor(order_choreography(), patience=60)
    await anyio.sleep(10)
    await monitor.receive(event("o1", PLACE_ORDER, ORDER))
    await anyio.sleep(40)
    await monitor.receive(event("o1", "OrderCreated", ORDER))
    await anyio.sleep(40)
    assert monitor.stuck() == []


async def test_an_event_without_a_correlation_id_is_refused_by_the_monitor() -> None:
    """It belongs to no saga; the monitor is not stopped by it."""
    monitor = Monitor(order_choreography())
    await monitor.receive(Message(type="OrderConfirmed"))
    assert monitor.statuses() == []
    with pytest.raises(ValueError, match="patience must be a number of seconds above 0"):
        Monitor(order_choreography(), patience=0)
    assert recorded().count("refused") == 1


async def test_refused_is_what_participants_say_and_nothing_else() -> None:
    """An error of a service is no refusal: nothing is published, and the event comes again."""
    bus = Bus(OrderServices(first()))
    broken = Reaction("orders", PLACE_ORDER, "Paint", "order", "OrderCreated", "OrderRejected")
    choreography = Choreography(
        PLACE_ORDER, [broken], {"OrderCreated": Phase.COMPLETED, "OrderRejected": Phase.COMPENSATED}
    )
    service = Service(OrderServices().services["orders"], choreography, bus.publish)
    with pytest.raises(LookupError) as caught:
        await service.receive(event("o1", PLACE_ORDER, ORDER))
    assert not isinstance(caught.value, Refused)
    assert bus.published == []
