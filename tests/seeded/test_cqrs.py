"""The seeded runs of CQRS find a broken projection and a broken relay; the real ones pass (test_seeded)."""

from __future__ import annotations

from typing import Any

import pytest

from eip_ref.lab.clock import simulate
from tests.broken import cqrs as broken
from tests.seeded.cqrs import RUNS, judge, story


@pytest.mark.parametrize(
    "mistake",
    [(broken.AppliesWhateverComes,), (broken.IgnoresWhatIsLate,)],
    ids=["applies whatever comes", "takes what is late for old"],
)
def test_a_broken_variant_is_found_within_a_few_seeds(mistake: tuple[Any, ...]) -> None:
    """Twenty seeds are enough."""
    assert any(judge(simulate(story, *mistake, seed=seed)) for seed in range(20))


def test_the_real_one_passes_and_a_seed_makes_the_same_run() -> None:
    """A few of the seeds that test_seeded plays."""
    (run,) = RUNS
    for seed in range(5):
        assert run.judge(run.play(seed)) == []
    assert run.play(3) == run.play(3)
