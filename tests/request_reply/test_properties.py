"""Request–reply under generated loads and faults: whatever happens, nobody is told what is not so."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash
from tests.seeded.request_reply import Load, findings, scenario

CRASHES = st.builds(Crash, at=st.floats(0.1, 8), restart_after=st.just(0.5))
LOADS = st.builds(
    Load,
    seed=st.integers(0, 10_000),
    callers=st.integers(1, 6),
    orders=st.integers(1, 4),
    timeout=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    again=st.booleans(),
    concurrency=st.integers(1, 4),
    backlog=st.integers(0, 4),
    max_waiting=st.integers(1, 6),
    loss=st.sampled_from([0.0, 0.2]),
    duplication=st.sampled_from([0.0, 0.4]),
    reordering=st.sampled_from([0.0, 0.3]),
    declining=st.sampled_from([0.0, 0.3]),
    crashes=st.lists(CRASHES, max_size=2).map(
        lambda crashes: tuple(sorted(crashes, key=lambda c: c.at or 0))
    ),
)


@settings(max_examples=150)
@given(LOADS)
def test_whatever_happens_the_caller_is_told_what_is_so(load: Load) -> None:
    """An answer was carried out, "not done" was not, each reply reached who asked or was dropped."""
    assert findings(simulate(scenario, load, seed=load.seed)) == []


def test_a_replier_that_crashes_at_any_step_leaves_no_caller_without_an_end() -> None:
    """The crash at every single await of it: each request ends once, and no reply goes astray."""
    load = Load(
        seed=7, callers=2, orders=1, timeout=3, again=True, concurrency=1, backlog=9, max_waiting=9,
        loss=0, duplication=0.4, reordering=0, declining=0,
    )  # fmt: skip
    for step in range(1, 60):
        dying = replace(load, crashes=(Crash(step=step, restart_after=0.5),))
        trace = simulate(scenario, dying, seed=load.seed)
        assert findings(trace) == []
        assert all(isinstance(learned, str) for learned in trace.result.learned.values())
