"""Each known mistake is caught: the promise that it breaks holds for ours and not for the broken one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from eip_ref.lab.clock import Deadlock, simulate
from eip_ref.lab.invariants import no_duplicate_effect
from eip_ref.lab.invariants.replies import no_stray_reply
from eip_ref.message import Message
from eip_ref.request_reply import Replier, Requestor, TimedOut, request_again
from eip_ref.trace import Kind, Trace, acting, record
from tests.broken.request_reply import (
    AsksOneAtATime,
    ForgetsNobody,
    OneReplySlot,
    RegistersTooLate,
    WaitsForEver,
    ask_until_it_works,
)
from tests.request_reply.test_replier import charge
from tests.request_reply.test_request_reply import fate, sleeps, wired

Make = Callable[..., Requestor]


def words(trace: Trace, **how: Any) -> str:
    return "\n".join(finding.words for finding in no_stray_reply(trace, **how))


# One shared reply slot


def two_callers(make: Make) -> Trace:
    """The second asks for something quicker than the first."""

    async def scenario() -> dict[float, Any]:
        got: dict[float, Any] = {}

        async def ask(shop: Requestor, seconds: float) -> None:
            got[seconds] = await fate(shop.request(seconds, timeout=9))

        async with wired(make=make) as shop, anyio.create_task_group() as group:
            group.start_soon(ask, shop, 2.0)
            group.start_soon(ask, shop, 1.0)
        return got

    return simulate(scenario)


def test_one_shared_reply_slot_gives_an_answer_to_the_wrong_caller() -> None:
    """Nobody gets what another asked for: the invariant names both requests."""
    assert two_callers(Requestor).result == {1.0: 1.0, 2.0: 2.0}
    assert not no_stray_reply(two_callers(Requestor))
    broken = two_callers(OneReplySlot)
    assert broken.result == {1.0: 2.0, 2.0: 1.0}
    assert "m2.stock was given to request m1 at 1.2 s, but it answers request m2" in words(broken)


# Awaiting before registering


def quick_answer(make: Make) -> Trace:
    """The answer is there before `send` returns."""

    async def scenario() -> Any:
        async def send(message: Message) -> None:
            reply = await stock.answer(message)
            assert reply is not None
            await shop.receive(reply)

        async with Replier(sleeps, name="stock") as stock:
            with make(send, name="shop") as shop:
                return await fate(shop.request(0, timeout=1))

    return simulate(scenario)


def test_awaiting_before_registering_misses_the_quick_answer() -> None:
    """Subscribe before sending: the broken one times out, and its answer is dropped as late."""
    assert quick_answer(Requestor).result == 0
    broken = quick_answer(RegistersTooLate)
    assert broken.result is TimedOut
    assert broken.filter("dropped")[0].data["reason"] == "late"


# PendingReplies that leak


def many_timeouts(make: Make) -> Trace:
    """Five requests that nobody answers."""

    async def scenario() -> int:
        async with wired(make=make, there={"loss": 1.0}) as shop:
            for _ in range(5):
                await fate(shop.request(0, timeout=1))
            return shop.waiting

    return simulate(scenario)


def test_waiters_that_leak_on_timeout_are_seen() -> None:
    """The waiter disappears on timeout: the table of the broken one grows, and its requests end too late."""
    assert many_timeouts(Requestor).result == 0
    assert not no_stray_reply(many_timeouts(Requestor))
    assert many_timeouts(ForgetsNobody).result == 5

    async def never_closed() -> None:
        shop = ForgetsNobody(_nowhere, name="shop")
        await fate(shop.request("price of tea", timeout=1))

    assert "shop waited for the answer to request m1 since 0.0 s" in words(simulate(never_closed))
    assert not no_stray_reply(simulate(never_closed), open_ok=True)


async def _nowhere(message: Message) -> None:
    """Loses everything."""


# Retrying what is not idempotent


def test_retrying_a_timeout_that_is_not_idempotent_charges_twice() -> None:
    """One effect per order: ours repeats with the same key, or not at all."""

    async def broken() -> None:
        async with wired(charge) as shop:
            await fate(ask_until_it_works(shop, "order 17", timeout=1.1, attempts=2))

    async def ours(key: str | None) -> None:
        async with wired(charge) as shop:
            await fate(request_again(shop, "order 17", timeout=1.1, idempotency_key=key, pauses=[0.1, 0.5]))

    (finding,) = no_duplicate_effect(simulate(broken), by="order")
    assert "'charged' happened twice for order order 17, by message m1" in finding.words
    for key in (None, "order 17"):
        assert not no_duplicate_effect(simulate(ours, key), by="order")


# A lock held across the call


def test_a_lock_held_across_the_call_makes_callers_wait_for_each_other() -> None:
    """Concurrent requests multiplex: two at the same time take as long as the slower one."""
    answered = [
        two_callers(make).filter("state", test=lambda e: e.data["now"] == "answered")[-1].at
        for make in (Requestor, AsksOneAtATime)
    ]
    assert answered == [pytest.approx(2.2), pytest.approx(3.4)]


# No deadline


def test_a_request_without_a_deadline_waits_for_ever() -> None:
    """E11: a lost request is never missed; ours cannot even be asked that way."""

    async def scenario(make: Make) -> Any:
        with make(_nowhere, name="shop") as shop:
            return await fate(shop.request("price of tea"))

    assert simulate(scenario, Requestor).result is ValueError
    with pytest.raises(Deadlock) as caught:
        simulate(scenario, WaitsForEver)
    assert caught.value.trace.filter("state")[0].data["until"] == float("inf")  # type: ignore[attr-defined]


# The invariant itself


def told(*events: tuple[float, str, str, str, dict[str, Any]]) -> Trace:
    """A trace of what the shop recorded, as (time, kind, where, message, data)."""

    async def scenario() -> None:
        for at, kind, where, message, data in events:
            await anyio.sleep_until(at)
            with acting(where):
                record(kind, where, message, **data)

    return simulate(scenario)


ASKED = (0.0, Kind.STATE, "shop", "m1", {"was": "", "now": "waiting", "expected_replies": 1})
MADE = (1.0, Kind.FINISHED, "stock", "m1", {"reply": "m1.stock"})
CAME = (2.0, Kind.ACCEPTED, "shop", "m1.stock", {"correlation": "m1"})
GIVEN = (2.0, Kind.DELIVERED, "shop", "m1.stock", {"request": "m1"})
DROPPED = (2.0, Kind.DROPPED, "shop", "m1.stock", {"reason": "late"})
ANSWERED = (2.0, Kind.STATE, "shop", "m1", {"was": "waiting", "now": "answered"})
GAVE_UP = (1.5, Kind.STATE, "shop", "m1", {"was": "waiting", "now": "timed out"})
CRASHED: tuple[float, str, str, str, dict[str, Any]] = (1.5, Kind.CRASHED, "shop", "", {})
OTHER = (1.0, Kind.STATE, "shop", "m2", {"was": "", "now": "waiting", "expected_replies": 1})


@pytest.mark.parametrize(
    "events",
    [
        [ASKED, MADE, CAME, GIVEN, ANSWERED],
        [ASKED, MADE, GAVE_UP, CAME, DROPPED],
        [ASKED, MADE, CRASHED, CAME, DROPPED],
        [ASKED, MADE, CAME, GIVEN, ANSWERED, CAME, DROPPED],
    ],
)
def test_the_invariant_accepts_every_legal_end(events: list[Any]) -> None:
    """Answered, timed out, crashed; a reply given or dropped."""
    assert words(told(*events)) == ""


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([ASKED, MADE, CAME, GIVEN, ANSWERED, ANSWERED], "of shop ended twice: answered at 2.0 s, and then"),
        ([ASKED, MADE, GAVE_UP, CAME, GIVEN], "which was over: timed out at 1.5 s"),
        ([ASKED, MADE, CRASHED, CAME, GIVEN], "which was over: its requestor crashed at 1.5 s"),
        ([ASKED, MADE, CAME, GIVEN, CAME, GIVEN, ANSWERED], "for the second time"),
        ([ASKED, MADE, CAME, GIVEN, (2.0, Kind.DELIVERED, "shop", "m1.bank", {"request": "m1"}), ANSWERED],
         "which wanted 1 reply and had them"),
        ([ASKED, MADE, CAME, ANSWERED], "came to shop at 2.0 s and was neither given"),
        ([ASKED, OTHER, MADE, CAME, (2.0, Kind.DELIVERED, "shop", "m1.stock", {"request": "m2"}), ANSWERED,
          (3.0, Kind.STATE, "shop", "m2", {"was": "waiting", "now": "answered"})], "it answers request m1"),
        ([MADE, CAME, GIVEN], "for which shop did not wait"),
        ([ASKED, MADE], "shop waited for the answer to request m1 since 0.0 s, and still did at 1.0 s"),
        ([ASKED, (1.0, Kind.CRASHED, "stock", "", {})], "shop waited for the answer"),
    ],
)  # fmt: skip
def test_the_invariant_names_every_breach(events: list[Any], says: str) -> None:
    """In plain words, with the events that prove it."""
    findings = no_stray_reply(told(*events))
    assert [says in finding.words for finding in findings] == [True]
    assert findings[0].events
