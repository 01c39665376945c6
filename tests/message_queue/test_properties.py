"""The message queue under generated loads and faults: whatever happens, the invariants hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab.clock import simulate
from tests.seeded.message_queue import Load, findings, scenario

LOADS = st.builds(
    Load,
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 25),
    keys=st.integers(0, 4),
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 4),
    lease=st.sampled_from([1.0, 4.0, 20.0]),
    max_failures=st.integers(1, 4),
    loss=st.sampled_from([0.0, 0.2]),
    duplication=st.sampled_from([0.0, 0.3]),
    reordering=st.sampled_from([0.0, 0.3]),
    failing=st.sampled_from([0.0, 0.3]),
    beat=st.booleans(),
    crashes=st.lists(st.floats(0.1, 30), max_size=3).map(lambda times: tuple(sorted(times))),
    replays=st.lists(st.floats(0.1, 30), max_size=3).map(lambda times: tuple(sorted(times))),
)


@settings(max_examples=200)
@given(LOADS)
def test_the_invariants_hold_under_any_load_and_faults(load: Load) -> None:
    """Legal steps, fencing, credit, keys; and each accepted message is charged once or a dead letter."""
    assert findings(simulate(scenario, load, seed=load.seed)) == []
