"""The circuit breaker against a simple model, and under generated loads and faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.circuit_breaker import (
    BreakerOpen,
    Breakers,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    FirstFailure,
    HalfOpen,
    HalfOpenFull,
    LastCalls,
    LastSeconds,
    OpenTime,
    Outcomes,
    Permit,
    Policy,
    ProbeRate,
    Protected,
    QueueForLater,
    Source,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Participant
from eip_ref.lab.invariants.breaker import breaker_legality
from eip_ref.message import Message
from eip_ref.message_queue import IdempotentReceiver, Ledger, MessageQueue, Transaction, Worker
from eip_ref.trace import Trace, whoami

from .broken.circuit_breaker import CountsStaleResults, FreeForAll

# Against a model


@dataclass
class Model:
    """What a breaker promises, written down as plainly as can be: whole seconds, one loop, no classes."""

    threshold: int
    limit: int
    successes: int
    open_time: int = 10
    within: int = 20
    state: str = "closed"
    generation: int = 1
    failures: int = 0
    good: int = 0
    until: int = 0
    probes: list[tuple[int, int]] = field(default_factory=list)  # number and time of admission

    def go(self, state: str) -> None:
        self.state, self.failures, self.good, self.probes = state, 0, 0, []
        self.generation += 1

    def look(self, now: int) -> None:
        if self.probes and now > self.probes[0][1] + self.within:
            self.until = self.probes[0][1] + self.within + self.open_time
            self.go("open")

    def admit(self, number: int, now: int) -> str:
        self.look(now)
        if self.state == "open" and now > self.until:
            self.go("half-open")
        if self.state == "open":
            return "open"
        if self.state == "half-open":
            if len(self.probes) == self.limit:
                return "full"
            self.probes.append((number, now))
        return "in"

    def settle(self, number: int, generation: int, verdict: str, now: int) -> None:
        self.look(now)
        if generation != self.generation:
            return
        self.probes = [probe for probe in self.probes if probe[0] != number]
        if verdict == "success":
            self.failures, self.good = 0, self.good + 1
        elif verdict == "failure":
            self.failures += 1
        if self.state == "half-open" and self.good == self.successes:
            self.go("closed")
        elif self.failures and (self.state == "half-open" or self.failures == self.threshold):
            self.until = now + self.open_time
            self.go("open")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([1, 3, 10, 11, 20, 21, 31])),
        st.tuples(st.just("admit"), st.just(0)),
        st.tuples(st.sampled_from(["success", "failure", "failure", "neutral"]), st.integers(0, 5)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_the_breaker_does_what_the_model_does(
    steps: list[tuple[str, int]], threshold: int, limit: int, successes: int
) -> None:
    """Whatever is admitted, settled, repeated or forgotten, in any order: the same answers and states."""

    async def scenario() -> None:
        model = Model(threshold, limit, successes)
        breaker = CircuitBreaker(
            "payments",
            policy=ConsecutiveFailures(threshold),
            open_time=OpenTime(10),
            half_open=HalfOpen(limit, within=20, verdict=FirstFailure(successes)),
        )
        out: list[tuple[Permit, int]] = []
        for number, (step, value) in enumerate(steps):
            now = int(anyio.current_time())
            if step == "wait":
                await anyio.sleep(value)
            elif step == "admit":
                try:
                    permit, said = breaker.admit(), "in"
                except HalfOpenFull:
                    said = "full"
                except BreakerOpen:
                    said = "open"
                assert said == model.admit(number, now)
                if said == "in":
                    out.append((permit, number))
            elif value < len(out):
                permit, at = out.pop(value)
                model.settle(at, permit.generation, step, now)
                getattr(permit, step)()
            assert (breaker.state, breaker.generation) == (model.state, model.generation)

    invariants.assert_holds(simulate(scenario), breaker_legality)


# Under load and faults


@dataclass(frozen=True)
class Load:
    """Shops that order through breakers from services that fall sick and get well again."""

    seed: int
    policy: Policy
    half_open: HalfOpen
    patience: float = 3.0  # of the callers; below the work time of a sick service
    sick: float = 0.5  # share of calls that fail while a service is sick
    shops: int = 8
    orders: int = 20
    crash: float | None = None
    make: type[CircuitBreaker] = CircuitBreaker


POLICIES: list[Policy] = [
    ConsecutiveFailures(3),
    FailureRate(0.5, LastCalls(10), minimum=5),
    FailureRate(0.4, LastSeconds(10), minimum=4),
]
HALF_OPENS = [
    HalfOpen(1, within=5),
    HalfOpen(2, within=8, verdict=FirstFailure(3)),
    HalfOpen(3, within=5, verdict=ProbeRate(0.5, of=4)),
]


def service(chance: Faults, name: str, sick: float) -> Callable[[str], Awaitable[str]]:
    """Sick every other 20 seconds: then slower, often failing, and sometimes never answering."""

    async def serve(order: str) -> str:
        ill = int(anyio.current_time() / 20) % 2 == 1
        if ill and chance.random(f"{name} lost").random() < sick / 5:
            await anyio.sleep(12)
            raise TimeoutError(f"{name} did not answer in time")
        await chance.sleep(f"{name} work", Exponential(4.0 if ill else 0.3))
        if chance.random(f"{name} order").random() < 0.1:
            raise ValueError("no such product")
        if ill and chance.random(f"{name} sick").random() < sick:
            raise ConnectionError(f"{name} is away")
        return f"{order} done"

    return serve


async def outage(load: Load) -> tuple[int, dict[str, object]]:
    """Orders that cannot be charged now are queued, and a worker charges them later, by the same breaker."""
    chance, ledger = Faults(), Ledger()
    breakers = Breakers(
        lambda name: load.make(
            name,
            policy=load.policy,
            half_open=load.half_open,
            open_time=OpenTime(4, factor=1.5, jitter=0.2),
            outcomes=Outcomes(neutral=ValueError),
            random=chance.random(f"jitter {name}"),
        )
    )
    charge = service(chance, "payments", load.sick)
    queued: set[str] = set()

    async def later(message: Message, transaction: Transaction) -> None:
        try:
            await breakers["payments"].call(charge, message.body[0])
        except ValueError:
            return
        transaction.set(message.id, "charged")
        transaction.effect("charged")

    async with MessageQueue("later", lease=60) as queue:
        pay = Protected(breakers["payments"], charge, QueueForLater(queue, key=lambda order: order))

        async def shop() -> None:
            for number in range(load.orders):
                with anyio.move_on_after(load.patience):
                    try:
                        answer = await pay(f"{whoami()} {number}")
                        queued.update([answer.value] if answer.source is Source.QUEUED else [])
                        await breakers["stock"].call(service(chance, "stock", 0.0), "reserve")
                    except (ValueError, CallRejected):
                        pass
                await chance.sleep("shop", Exponential(2.0))

        async with anyio.create_task_group() as group:
            for number in range(load.shops):
                crashes = (Crash(at=load.crash, restart_after=3),) if load.crash and not number else ()
                group.start_soon(Participant(f"shop-{number}", shop, crashes=crashes).run)
        await anyio.sleep_until(200)
        queue.close()
        worker = Worker(queue, IdempotentReceiver(ledger, later))
        await Participant("worker", worker.run).run()
        assert queue.counts.acked + queue.counts.dead == queue.counts.accepted
    return len(queued), ledger.values


def findings(load: Load) -> tuple[Trace, list[invariants.Finding]]:
    trace = simulate(outage, load, seed=load.seed)
    return trace, invariants.check(
        trace, breaker_legality, invariants.conservation(where="later"), invariants.no_duplicate_effect
    )


def load_of(seed: int, make: type[CircuitBreaker] = CircuitBreaker) -> Load:
    """A load that the seed decides."""
    random = Random(seed)
    return Load(
        seed,
        random.choice(POLICIES),
        random.choice(HALF_OPENS),
        patience=random.choice([2.0, 9.0, 20.0]),
        sick=random.choice([0.3, 0.7, 1.0]),
        crash=random.choice([None, 25.0, 31.5]),
        make=make,
    )


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_seeds_without_a_violation(block: int) -> None:
    """Slow, failing, lost and cancelled calls, crashes and lost probes: every breaker stays legal."""
    opened = 0
    for seed in range(20 * block, 20 * block + 20):
        trace, found = findings(load_of(seed))
        assert not found, f"seed {seed}: {invariants.in_words(found)}"
        opened += trace.count("state", where="payments")
        assert trace.count("started", where="stock")
    assert opened > 60


@pytest.mark.parametrize("mistake", [FreeForAll, CountsStaleResults])
def test_the_seeds_find_a_breaker_that_is_broken(mistake: type[CircuitBreaker]) -> None:
    """Twenty of them are enough to see it in the trace, and more than once."""
    assert sum(bool(findings(load_of(seed, make=mistake))[1]) for seed in range(20)) >= 3


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Load,
        seed=st.integers(0, 10_000),
        policy=st.sampled_from(POLICIES),
        half_open=st.sampled_from(HALF_OPENS),
        patience=st.sampled_from([0.5, 2.0, 9.0]),
        sick=st.sampled_from([0.0, 0.5, 1.0]),
        shops=st.integers(1, 8),
        orders=st.integers(1, 20),
        crash=st.none() | st.floats(1, 60),
    )
)
def test_the_invariants_hold_under_any_load(load: Load) -> None:
    """And nobody waits: without a sick service no breaker ever opens."""
    trace, found = findings(load)
    assert found == []
    if load.sick == 0:
        assert trace.count("state") == 0
