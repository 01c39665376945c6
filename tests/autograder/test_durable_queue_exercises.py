"""The exercises of lesson 03: the faults really hit; and programs that are killed for real."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eip_ref.autograder.judging import judge_answer
from eip_ref.autograder.registry import find
from eip_ref.course.durable_queue.killed import killed

from .exercise_cases import model


@pytest.mark.parametrize("slug", ["send_again", "follow_the_log"])
def test_the_process_dies_at_many_of_its_awaits(slug: str) -> None:
    """With each seed of the check, in at least twenty runs."""
    exercise = find(f"durable_queue/{slug}")
    for seed in exercise.seeds:
        assert judge_answer(exercise, model(exercise), [seed]).trace.count("crashed") >= 20


def saves_a_line(path: Path, confirm: Callable[[], None]) -> None:
    with open(path, "w") as file:
        for number in range(3):
            file.write(f"order {number}\n")
            file.flush()
            confirm()


def does_nothing(path: Path, confirm: Callable[[], None]) -> None:
    confirm()


def test_a_program_is_killed_at_its_last_confirm_and_what_it_left_is_counted() -> None:
    """In a process of its own, so this one lives on."""
    left = killed(saves_a_line, confirms=2)
    assert (left.confirmed, left.left) == (2, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="a killed process has no sign of its own there")
def test_a_program_that_ends_before_it_is_killed_proves_nothing() -> None:
    """So it is an error, which names it."""
    with pytest.raises(RuntimeError, match="does_nothing was not killed"):
        killed(does_nothing, confirms=2)


def test_where_no_process_can_be_started_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a browser: the lesson goes on."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "not run here, since Python may start no process" in str(killed(does_nothing))
