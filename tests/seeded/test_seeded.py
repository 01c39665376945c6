"""Seeded fault runs, 200 seeds each: whatever the faults were, every invariant holds."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool

import pytest

from eip_ref.lab import simulate
from eip_ref.trace import Kind, Trace, record
from tests import seeded
from tests.seeded import SeededRun, every_run, once, proves_something, wrong
from tests.seeded.__main__ import main

SEEDS = 200
FEW = 50
each_run = pytest.mark.parametrize("name", every_run())


@each_run
def test_no_seed_breaks_an_invariant(name: str) -> None:
    """Latency, loss, duplication, reordering and crashes, as the seed draws them."""
    for seed in range(SEEDS):
        words = once(name, seed).words
        assert not words, (
            f"seed {seed}: {words}; see it with: python -m tests.seeded {name.partition('/')[0]}"
        )


@each_run
def test_hardly_any_seed_proves_nothing(name: str) -> None:
    """In nine of ten runs at least something goes wrong that could show a mistake."""
    idle = [seed for seed in range(FEW) if once(name, seed).idle]
    assert len(idle) <= FEW // 10


@each_run
def test_a_seed_gives_the_same_trace_again(name: str) -> None:
    """Whatever went wrong once can be looked at again."""
    run = every_run()[name]
    assert run.play(7).to_json() == run.play(7).to_json()


def test_the_command_shows_the_smallest_failing_seed_and_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that fails from seed 3 on is shown with seed 3."""

    def play(seed: int) -> Trace:
        async def scenario() -> None:
            record(Kind.LOST if seed >= 3 else Kind.ARRIVED, "line", f"m{seed}")

        return simulate(scenario, seed=seed)

    def judge(trace: Trace) -> list[str]:
        return [f"{message} was lost" for message in trace.messages(Kind.LOST)]

    runs = {"line/loses": SeededRun("loses", play, judge)}
    monkeypatch.setattr(seeded, "every_run", lambda: runs)
    monkeypatch.setattr("tests.seeded.__main__.every_run", lambda: runs)
    monkeypatch.setattr("tests.seeded.__main__.multiprocessing.get_context", lambda _: _Threads)
    monkeypatch.setattr("tests.seeded.__main__.CHUNK", 2)  # so that several parts have one that fails
    assert main(["--seeds", "10"]) == 1
    said = capsys.readouterr().out
    assert "seed 3 failed" in said
    assert "m3 was lost" in said
    assert "line" in said.splitlines()[-1]


def test_a_seed_that_proves_nothing_is_no_violation() -> None:
    """It says nothing against the pattern, and nothing for it."""

    async def scenario() -> None:
        record(Kind.ARRIVED, "line", "m1")

    def judge(trace: Trace) -> list[str]:
        proves_something(trace.count(Kind.LOST), "nothing was lost")
        return ["something was lost"]

    assert wrong(SeededRun("quiet", lambda seed: simulate(scenario, seed=seed), judge), 1) == []


class _Threads:
    """In place of processes, which would not see the run of this test."""

    @staticmethod
    def Pool(jobs: int, **_: int) -> ThreadPool:
        return ThreadPool(1)
