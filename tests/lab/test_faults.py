"""Faults: seeded per link and participant, and a crash after which nothing of it runs."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Constant, Crash, Exponential, Faults, Latency, Link, Participant, Uniform
from eip_ref.message import Message
from eip_ref.tasks import background
from eip_ref.trace import Trace, record, whoami


def through_a_link(seed: int = 1, count: int = 200, pause: float = 1.0, **faults: Any) -> Trace:
    async def scenario() -> list[Any]:
        arrived: list[Any] = []

        async def deliver(message: Message) -> None:
            arrived.append(message.body)

        async with Faults(seed).link("net", deliver, **faults) as link:
            for n in range(count):
                await link.send(Message(n))
                await anyio.sleep(pause)
        return arrived

    return simulate(scenario)


def test_a_perfect_link_delivers_all_in_order() -> None:
    """No faults: everything arrives, once, as it was sent."""
    assert through_a_link().result == list(range(200))


def test_latency_alone_keeps_the_order() -> None:
    """A link is like a connection: a slow message holds up the ones behind it."""
    assert through_a_link(pause=0.1, latency=Exponential(5.0)).result == list(range(200))


def test_lost_messages_are_recorded_and_do_not_arrive() -> None:
    """Exactly what the trace calls lost is missing at the far end."""
    trace = through_a_link(loss=0.3)
    lost = {int(message[1:]) - 1 for message in trace.messages("lost")}
    assert 30 < len(lost) < 90
    assert trace.result == [n for n in range(200) if n not in lost]


def test_duplicated_messages_arrive_twice() -> None:
    """As many more arrivals as the trace says."""
    trace = through_a_link(duplication=0.2)
    assert len(trace.result) == 200 + trace.count("duplicated") > 210


def test_reordered_messages_are_overtaken() -> None:
    """A message that is held back arrives after later ones; nothing is lost."""
    trace = through_a_link(reordering=0.1, hold=5.0)
    assert trace.result != sorted(trace.result)
    assert sorted(trace.result) == list(range(200))


def test_a_seed_repeats_and_another_seed_differs() -> None:
    """The same seed gives the same trace, event by event."""
    settings: dict[str, Any] = {"loss": 0.2, "duplication": 0.2, "latency": Uniform(0, 9)}
    assert through_a_link(5, **settings) == through_a_link(5, **settings)
    assert through_a_link(5, **settings) != through_a_link(6, **settings)


def test_one_setting_does_not_shift_the_others() -> None:
    """The same messages are lost whether or not some are doubled or slow."""
    lost = through_a_link(loss=0.2).messages("lost")
    assert through_a_link(loss=0.2, duplication=0.5, latency=Exponential(1)).messages("lost") == lost


def test_one_more_message_on_a_link_does_not_shift_another_link() -> None:
    """Each name has a generator of its own."""
    one, two = Faults(3), Faults(3)
    one.random("a").random()
    assert one.random("b").random() == two.random("b").random()
    assert one.random("a") is one.random("a")
    assert one.random("c").random() != one.random("d").random()


def test_faults_take_the_seed_of_the_simulation() -> None:
    """Faults() inside simulate(seed=…) draws from that seed; outside from 0."""

    async def scenario() -> int:
        return Faults().seed

    assert simulate(scenario, seed=9).result == 9
    assert Faults().seed == 0


@pytest.mark.parametrize(
    ("latency", "low", "high", "mean"),
    [(2.0, 2, 2, 2), (Constant(2), 2, 2, 2), (Uniform(1, 3), 1, 3, 2), (Exponential(2), 0, 40, 2)],
)
def test_latencies_are_what_their_names_say(latency: Latency, low: float, high: float, mean: float) -> None:
    """Bounds and mean of 2,000 draws."""

    async def scenario() -> list[float]:
        faults, drawn = Faults(1), []
        for _ in range(2_000):
            start = anyio.current_time()
            await faults.sleep("service", latency)
            drawn.append(anyio.current_time() - start)
        return drawn

    drawn = simulate(scenario).result
    assert low - 1e-6 <= min(drawn) <= max(drawn) <= high + 1e-6
    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.1)


WRONG: list[dict[str, Any]] = [
    {"loss": 1.5},
    {"duplication": -0.1},
    {"reordering": 2},
    {"loss": math.nan},
    {"latency": -1},
    {"latency": math.nan},
    {"hold": math.inf},
    {"hold": "1"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_setting_of_a_link_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    """The message names the setting, before anything is sent."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        through_a_link(**wrong)


WRONG_VALUES: dict[str, tuple[Callable[..., object], dict[str, Any]]] = {
    "at": (Crash, {"at": math.nan}),
    "step": (Crash, {"step": 1.5}),
    "restart_after": (Crash, {"at": 1, "restart_after": -1}),
    "seconds": (Constant, {"seconds": math.inf}),
    "low": (Uniform, {"low": 3, "high": 1}),
    "high": (Uniform, {"low": 0, "high": math.nan}),
    "mean": (Exponential, {"mean": -2}),
    "max_events": (simulate, {"scenario": anyio.sleep, "max_events": 0}),
    "max_time": (simulate, {"scenario": anyio.sleep, "max_time": math.nan}),
}


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_crash_a_latency_or_a_bound_that_is_none_is_refused(name: str) -> None:
    """By its name, at the place at which it is given."""
    make, arguments = WRONG_VALUES[name]
    with pytest.raises(ValueError, match=f"^{name} must "):
        make(**arguments)


async def test_an_error_in_the_block_of_a_link_comes_out_as_itself() -> None:
    """At once: what is under way does not arrive any more."""
    arrived: list[Message] = []

    async def fail() -> None:
        async with Faults(1).link("net", arrived.append, latency=3.0) as link:
            await link.send(Message("order 1"))
            raise KeyError("stock")

    with pytest.raises(KeyError, match="stock"):
        await fail()
    assert not arrived


async def test_an_error_of_a_participant_comes_out_as_itself() -> None:
    """No group around it, so that an except for it finds it."""

    async def main() -> None:
        async with background() as group:
            group.start_soon(anyio.sleep_forever)
            await anyio.sleep(1)
            raise KeyError("stock")

    with pytest.raises(KeyError, match="stock"):
        await Participant("worker", main).run()


async def test_plain_functions_do_as_well() -> None:
    """A link delivers to them, and a participant runs them."""
    arrived: list[Message] = []
    ran: list[str] = []
    async with Faults(1).link("net", arrived.append) as link:
        await link.send(Message("order 1"))
    await Participant("worker", ran.append, ("worker",)).run()
    assert len(arrived) == len(ran) == 1


async def test_a_link_works_on_every_scheduler() -> None:
    """Leaving the block waits for what is under way."""
    arrived = []

    async def deliver(message: Message) -> None:
        arrived.append((message.body, whoami()))

    async with Faults(1).link("net", deliver, latency=3.0) as link:
        assert isinstance(link, Link)
        await link.send(Message("order 1"))
    assert len(arrived) == 1


def lives(*crashes: Crash) -> Trace:
    """A participant that says what it does: three steps of a second, and an inner task."""

    async def helper() -> None:
        await anyio.sleep(1.5)
        record("note", "helper", text="helped")

    async def main() -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(helper)
                for n in range(3):
                    await anyio.sleep(1)
                    record("note", whoami(), text=f"step {n}")
        finally:
            record("note", whoami(), text="finally")

    async def scenario() -> int:
        worker = Participant("worker", main, crashes=crashes)
        await worker.run()
        record("note", "outside", text="goes on")
        return worker.steps

    return simulate(scenario)


def notes(trace: Trace) -> list[str]:
    return [f"{e.at:g} {e.data['text']}" for e in trace.filter("note")]


def test_a_participant_without_crashes_just_runs() -> None:
    """It ends when its main function returns."""
    assert notes(lives()) == ["1 step 0", "1.5 helped", "2 step 1", "3 step 2", "3 finally", "3 goes on"]


def test_a_crash_stops_every_task_and_runs_no_finally() -> None:
    """As when the power fails: not one line more, in none of its tasks; others go on."""
    trace = lives(Crash(at=1.2))
    assert notes(trace) == ["1 step 0", "1.2 goes on"]
    assert trace.filter("crashed")[0].who == "worker"


def test_a_generator_of_the_dead_is_not_closed() -> None:
    """Its `finally` would run code of a participant that has crashed."""

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            record("note", "worker", text="closed")

    async def count() -> None:
        async for _ in numbers():
            await anyio.sleep(10)

    assert simulate(Participant("worker", count, crashes=(Crash(at=2),)).run).count("note") == 0


def test_the_dead_stay_dead_even_if_they_catch_everything() -> None:
    """A loop around `except BaseException` neither runs on after its crash nor hangs the simulation."""

    async def stubborn() -> None:
        while True:
            try:
                await anyio.sleep(1)
            except BaseException:
                record("note", "worker", text="still here")

    async def scenario() -> None:
        await Participant("worker", stubborn, crashes=(Crash(at=2.5),)).run()
        await anyio.sleep(10)

    assert simulate(scenario).count("note") == 0


def test_a_crashed_participant_starts_anew() -> None:
    """After `restart_after` seconds its main function begins again, from nothing."""
    trace = lives(Crash(at=1.2, restart_after=10))
    assert notes(trace)[1:4] == ["12.2 step 0", "12.7 helped", "13.2 step 1"]
    assert trace.count("restarted") == 1


def test_a_crash_can_be_put_at_every_step() -> None:
    """Each step in turn is the last one; past the last there is no crash."""
    steps = lives().result
    assert steps > 5
    for step in range(1, steps + 1):
        assert lives(Crash(step=step)).count("crashed") == 1
    assert lives(Crash(step=steps + 1)).count("crashed") == 0


def test_a_participant_may_crash_twice() -> None:
    """Crashes happen in the order in which they are given."""
    trace = lives(Crash(at=1.2, restart_after=1), Crash(at=3.5, restart_after=1))
    assert [(e.kind, e.at) for e in trace.filter("crashed", "restarted")] == [
        ("crashed", 1.2),
        ("restarted", 2.2),
        ("crashed", 3.5),
        ("restarted", 4.5),
    ]


def test_a_crash_needs_a_time_or_a_step() -> None:
    """One of the two, not both, not none."""
    with pytest.raises(ValueError, match="one of the two"):
        Crash()
    with pytest.raises(ValueError, match="one of the two"):
        Crash(at=1, step=1)


def test_a_crash_outside_virtual_time_is_refused() -> None:
    """Nothing but the simulation can stop a task dead."""
    participant = Participant("worker", anyio.sleep, (1,), crashes=(Crash(at=1),))
    with pytest.raises(RuntimeError, match="simulate"):
        anyio.run(participant.run)
