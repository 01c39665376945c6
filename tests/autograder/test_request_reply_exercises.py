"""The exercises of lesson 06: the storm is one with each seed; and a bank that is killed for real."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from typing import Any

import pytest

from eip_ref.course.request_reply import a_spike, answered, for_real, killed
from eip_ref.course.request_reply.killed import Bank
from eip_ref.lab import simulate


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_second_question_makes_a_spike_endless_and_a_told_deadline_ends_it(seed: int) -> None:
    """Whatever the chance of the customers."""
    spike: dict[str, Any] = {"spike": (10.0, 14.0), "seconds": 60.0}
    endless = simulate(lambda: a_spike(**spike), seed=seed)
    assert answered(endless, 0, 10) > 90
    assert answered(endless, 35, 58) < 10
    assert answered(simulate(lambda: a_spike(told=True, **spike), seed=seed), 35, 58) > 90


async def killed_at_once(bank: Bank) -> str:
    bank.kill()
    return await bank.charge("order 1", takes=9, timeout=9)


@pytest.mark.parametrize(
    ("way", "heard"), [("HTTP", "NoResponder, which is definite"), ("plain gRPC", "UNAVAILABLE")]
)
def test_a_bank_that_is_dead_answers_nobody(way: str, heard: str) -> None:
    """In a process of its own, and its ledger is empty."""
    assert for_real(killed_at_once, way) == (heard, [], "")


def test_where_no_process_can_be_started_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a browser: a reason, and no error."""

    def refuses(*args: Any, **named: Any) -> None:
        raise OSError("no processes here")

    monkeypatch.setattr(subprocess, "Popen", refuses)
    assert str(for_real(killed_at_once, "HTTP")) == "not run here: no processes here"


@pytest.mark.parametrize(
    "error", [RuntimeError("a mistake"), OSError("no such file"), ImportError("no name")]
)
def test_what_the_scenario_raises_comes_out(error: Exception) -> None:
    """It is no reason to say that nothing was run here."""

    async def mistaken(bank: Bank) -> str:
        raise error

    with pytest.raises(type(error), match=str(error)):
        for_real(mistaken, "plain gRPC")


def test_where_no_thread_can_be_started_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a browser."""

    def refuses(*args: Any, **named: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(killed, "_loop", killed._loop.__wrapped__)  # nobody has run one before
    monkeypatch.setattr(threading.Thread, "start", refuses)
    assert str(for_real(killed_at_once, "HTTP")) == "not run here: can't start new thread"


def test_all_runs_have_one_loop() -> None:
    """gRPC prints an error in a later loop when it hears of a call whose own is closed."""
    loops = []

    async def look(bank: Bank) -> str:
        loops.append(asyncio.get_running_loop())
        return ""

    for _ in range(2):
        for_real(look, "plain gRPC")
    assert loops[0] is loops[1]


def test_an_unknown_way_is_refused() -> None:
    """With the three that there are."""
    with pytest.raises(ValueError, match='"plain gRPC"'):
        for_real(killed_at_once, "smoke signals")
