"""Point-to-point under generated loads, absences and faults: whatever happens, its promises hold."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash
from eip_ref.point_to_point import WhenAway
from tests.seeded.point_to_point import Load, Visit, findings, scenario

VISITS = st.builds(Visit, away=st.floats(0, 5), here=st.floats(0.1, 5), dies=st.booleans())
CRASHES = st.builds(Crash, step=st.integers(1, 20), restart_after=st.sampled_from([None, 1.0]))
LOADS = st.builds(
    Load,
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(list(WhenAway)),
    capacity=st.integers(1, 5),
    senders=st.integers(1, 3),
    messages=st.integers(1, 15),
    visits=st.lists(VISITS, min_size=1, max_size=4).map(tuple),
    closes=st.booleans(),
    patience=st.sampled_from([math.inf, 1.0]),
    faults=st.sampled_from([{}, {"loss": 0.2}, {"duplication": 0.3, "reordering": 0.3}]),
    crashes=st.lists(CRASHES, max_size=1).map(tuple),
)


@settings(max_examples=300)
@given(LOADS)
def test_what_was_accepted_is_received_once_or_handed_back_and_nothing_else(load: Load) -> None:
    """Conservation, one receiver, the order of each sender, and no sender is told what is not so."""
    assert findings(simulate(scenario, load, seed=load.seed)) == []
