"""The circuit breaker against a simple model, and under generated loads and faults."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eip_ref.circuit_breaker import (
    BreakerOpen,
    CircuitBreaker,
    ConsecutiveFailures,
    HalfOpen,
    HalfOpenFull,
    OpenDuration,
    Permit,
)
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.breaker import breaker_legality
from tests.seeded.circuit_breaker import HALF_OPENS, POLICIES, Load, findings, outage

# Against a model


@dataclass
class Model:
    """What a breaker promises, written down as plainly as can be: whole seconds, one loop, no classes."""

    threshold: int
    limit: int
    successes: int
    open_time: int = 10
    probe_timeout: int = 20
    state: str = "closed"
    generation: int = 1
    failures: int = 0
    good: int = 0
    until: int = 0
    probes: list[tuple[int, int]] = field(default_factory=list)  # number and time of admission

    def by_hand(self, state: str) -> None:
        if state != self.state:
            self.go(state)

    def go(self, state: str) -> None:
        self.state, self.failures, self.good, self.probes = state, 0, 0, []
        self.generation += 1

    def look(self, now: int) -> None:
        if self.probes and now > self.probes[0][1] + self.probe_timeout:
            self.until = self.probes[0][1] + self.probe_timeout + self.open_time
            self.go("open")

    def admit(self, number: int, now: int) -> str:
        self.look(now)
        if self.state == "open" and now > self.until:
            self.go("half-open")
        if self.state in ("open", "forced open"):
            return "open"
        if self.state == "half-open":
            if len(self.probes) == self.limit:
                return "full"
            self.probes.append((number, now))
        return "in"

    def settle(self, number: int, generation: int, verdict: str, now: int) -> None:
        self.look(now)
        if generation != self.generation or self.state == "disabled":
            return
        self.probes = [probe for probe in self.probes if probe[0] != number]
        if verdict == "success":
            self.failures, self.good = 0, self.good + 1
        elif verdict == "failure":
            self.failures += 1
        if self.state == "half-open" and self.good == self.successes:
            self.go("closed")
        elif self.state == "observing":  # it says that it would have opened, and begins to count anew
            self.failures %= self.threshold
        elif self.failures and (self.state == "half-open" or self.failures == self.threshold):
            self.until = now + self.open_time
            self.go("open")


BY_HAND = {"force_open": "forced open", "disable": "disabled", "observe": "observing", "reset": "closed"}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([*BY_HAND]), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([1, 3, 10, 11, 20, 21, 31])),
        st.tuples(st.just("admit"), st.just(0)),
        st.tuples(st.sampled_from(["success", "failure", "failure", "neutral"]), st.integers(0, 5)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(STEPS, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
@example([("disable", 0), ("admit", 0), ("failure", 0)], 1, 1, 1)
@example([("observe", 0), ("admit", 0), ("failure", 0)], 1, 1, 1)
@example([("admit", 0), ("force_open", 0), ("success", 0), ("admit", 0), ("reset", 0), ("admit", 0)], 1, 1, 1)
def test_the_breaker_does_what_the_model_does(
    steps: list[tuple[str, int]], threshold: int, limit: int, successes: int
) -> None:
    """Whatever is admitted, settled, repeated, forgotten or set by hand, in any order: the same answers."""

    async def scenario() -> None:
        model = Model(threshold, limit, successes)
        breaker = CircuitBreaker(
            "payments",
            policy=ConsecutiveFailures(threshold),
            open_duration=OpenDuration(10),
            half_open=HalfOpen(limit, probe_timeout=20, needed=successes),
        )
        out: list[tuple[Permit, int]] = []
        for number, (step, value) in enumerate(steps):
            now = int(anyio.current_time())
            if step == "wait":
                await anyio.sleep(value)
            elif step in BY_HAND:
                model.by_hand(BY_HAND[step])
                getattr(breaker, step)()
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


@settings(max_examples=60)
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
    trace = simulate(outage, load, seed=load.seed)
    assert findings(trace) == []
    if load.sick == 0:
        assert trace.count("state") == 0
