"""What a learner calls in a notebook, and what it shows."""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from eip_ref.autograder import check, cli, hint, reset, solution
from eip_ref.autograder.cli import main
from eip_ref.autograder.exercise import Diagnosis
from eip_ref.autograder.grading import jobs
from eip_ref.autograder.notebooks import read, write
from eip_ref.autograder.progress import so_far
from eip_ref.autograder.registry import UnknownExercise, find
from eip_ref.autograder.report import Report
from eip_ref.trace import Event, Kind, Trace

from . import answers

NAME = "toy/mend_the_worker"
pytestmark = pytest.mark.usefixtures("course")


def checked(name: str, answer: object) -> Report:
    """What a check returns in a notebook."""
    report = check(name, answer)
    assert report is not None
    return report


def test_a_failing_check_says_everything_in_plain_text() -> None:
    """Called, seen with proof, promised, the mistake, what next, and the picture in words."""
    shown = str(check(NAME, answers.ack_first))
    assert shown.startswith("✗ Not passed yet: Mend the worker (0 of 3 points)\nCalled:\n    Your `worker(")
    assert "Order 2 was acknowledged at 1.2 s and its card never charged. (seed 1)" in shown
    assert "1.20 s  worker acknowledges order 2 (m2)" in shown
    assert "Promised:\n    Each order" in shown
    assert "Looks like:\n    Acknowledged before the work was done." in shown
    assert "Next:\n    Fix it" in shown
    assert "The picture:\n    " in shown


def test_a_failing_check_draws_the_trace_with_its_text() -> None:
    """The picture is an image that has an alternative text."""
    page = checked(NAME, answers.ack_first)._repr_mimebundle_()["text/html"]
    assert re.search(r'<img alt="[^"]{40,}" src="data:image/svg\+xml;base64,', page)


def test_a_passing_check_shows_the_points_and_no_picture() -> None:
    """There is nothing to mend, so the report is short."""
    report = checked(NAME, answers.ack_last)
    assert str(report).startswith("✓ Passed: Mend the worker (3 of 3 points)")
    assert "<img" not in report._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    "answer", [answers.ack_first, answers.ack_last, answers.disconnects, answers.not_started]
)
def test_the_same_answer_is_shown_in_the_same_bytes(answer: object) -> None:
    """Reports are stored in notebooks and compared."""
    assert checked(NAME, answer)._repr_mimebundle_() == checked(NAME, answer)._repr_mimebundle_()


def test_what_an_answer_says_cannot_become_html() -> None:
    """An error's text is shown as it is."""

    async def worker(orders: object, charge: object) -> None:
        raise ValueError("<script>alert(1)</script>")

    assert "<script>" not in checked(NAME, worker)._repr_mimebundle_()["text/html"]


@pytest.mark.parametrize(
    ("parcels", "shown"), [(1, ["parcel 0"]), (8, [f"parcel {n}" for n in range(6)]), (50, [])]
)
def test_a_report_lists_where_something_happens(parcels: int, shown: list[str]) -> None:
    """Not what begins a trace, and nothing where the proof is all of a long one."""
    begun = [Event(0.0, Kind.OPENED, each, "", each, {}) for each in ("shop", "line")]
    trace = Trace(
        [*begun, *(Event(1.0, Kind.ACCEPTED, "shop", f"parcel {n}", "shop", {}) for n in range(parcels))]
    )
    verdict = checked(NAME, answers.ack_first).verdict
    finding = replace(verdict.findings[0], events=tuple(trace))
    text = str(Report(replace(verdict, trace=trace, findings=(finding,))))
    seen = text[text.index("Seen:") : text.index("Promised:")]
    assert re.findall(r"parcel \d+", seen) == shown
    assert "opens" not in seen


def test_a_report_shows_the_beginning_of_words_that_are_very_long() -> None:
    """A notebook is not filled with what an answer says, nor a picture with its names."""
    verdict = checked(NAME, answers.ack_first).verdict
    (finding, *_), long = verdict.findings, "x y " * 1_000_000
    text = verdict.trace.to_json()
    assert '"orders"' in text
    report = Report(
        replace(
            verdict,
            trace=Trace.from_json(text.replace('"orders"', f'"{long}"')),
            seen=long,
            findings=(replace(finding, words=long, events=()),),
        )
    )
    assert sum(map(len, report._repr_mimebundle_().values())) < 200_000


@pytest.mark.parametrize(
    "call",
    [
        *("", "nix", "check", "grade", "doctor everybody", "reset", "app nix", "progress now", "derive x"),
        "update correction --bring-over stash@{0}",
    ],
)
def test_a_wrong_call_has_an_exit_code_of_its_own(call: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every command, with its usage."""
    with pytest.raises(SystemExit) as ended:
        main(call.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: eip")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/my"), 1, "eip: Permission denied: /my\n"),
        (UnknownExercise("no such thing"), 1, "eip: no such thing\n"),
    ],
    ids=["interrupt", "refusing file", "unknown name"],
)
def test_what_ends_a_command_has_an_exit_code_and_one_line(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And no traceback."""

    def ends() -> None:
        raise error

    monkeypatch.setattr(cli, "board", ends)
    assert main(["progress"]) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there the grader does not run")
@pytest.mark.parametrize("kind", ["none", "pipe", "endless", "circle", "folder", "large"])
def test_eip_check_refuses_in_one_line_what_is_no_ordinary_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And waits for nothing that never ends."""
    path = tmp_path / "x.ipynb"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "circle":
            path.symlink_to(path)
        case "folder":
            path.mkdir()
        case "large":
            path.touch()
            os.truncate(path, 2**29)
    assert main(["check", str(path)]) == 1
    said, complained = capsys.readouterr()
    assert (said, complained.count("\n")) == ("", 1)
    assert complained.startswith(f"eip check: {path}: It ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there the grader does not run")
def test_eip_check_has_a_deadline_for_what_is_done_outside_the_sandbox(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is said in words."""
    monkeypatch.setattr(jobs, "OF_A_JOB", 0.001)  # in which nobody can look through the lessons
    (tmp_path / "x.ipynb").write_text("{}")
    assert main(["check", str(tmp_path / "x.ipynb")]) == 1
    assert "x.ipynb: it did not come back within 0.001 seconds, and was ended" in capsys.readouterr().err


def test_a_check_is_remembered() -> None:
    """First wrong, then right: two checks, and passed."""
    check(NAME, answers.ack_first)
    check(NAME, answers.ack_last)
    assert (so_far().of(NAME).checks, so_far().of(NAME).passed) == (2, True)


def test_nbgrader_sees_a_failing_check_as_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """nbgrader gives points to cells that raise nothing, and may take what a cell shows for its points."""
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(AssertionError, match="Acknowledged before the work was done"):
        check(NAME, answers.ack_first)
    assert check(NAME, answers.ack_last) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="here an answer runs in this process")
def test_an_answer_of_a_script_runs_in_a_process_of_its_own() -> None:
    """What it does to its process is named, and harms nobody."""
    shown = str(check(NAME, answers.ends_the_process))
    assert "The process ended while the answer ran" in shown
    assert "Grading looks for `worker`, and this is `ends_the_process`" in shown


@pytest.mark.skipif(not hasattr(os, "fork"), reason="here an answer runs in this process")
def test_a_record_that_the_judge_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the seed of the run that left it, as grading names it."""
    exercise, judged = find(NAME), []

    def confused(trace: Trace) -> list[Diagnosis]:
        judged.append(trace)
        if len(judged) > 1:
            raise LookupError
        return exercise.judge(trace)

    of_check = sys.modules["eip_ref.autograder.check"]  # the package gives the function under this name
    monkeypatch.setattr(of_check, "find", lambda name: replace(exercise, judge=confused))
    shown = str(check(NAME, answers.ack_last))
    assert f"The judge met LookupError. (seed {exercise.seeds[1]})" in shown
    assert "The run left a record that cannot be judged" in shown


@pytest.mark.parametrize("missing", ["fork", "text"])
def test_a_report_tells_that_a_crash_was_only_played(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be forked, and where the text of an answer cannot be told."""
    answer: object = answers.ack_last
    if missing == "fork":
        monkeypatch.delattr(os, "fork", raising=False)
    else:
        answer = functools.partial(answers.ack_last)
    shown = str(check(NAME, answer))
    assert shown.startswith("✓ Passed")
    assert "So a crash was only played" in shown


def test_an_unknown_exercise_is_an_error() -> None:
    """A wrong name is the caller's mistake and no verdict."""
    with pytest.raises(UnknownExercise, match="did you mean"):
        check("toy/mend_worker", answers.ack_last)


def test_hints_go_one_step_further_at_each_call() -> None:
    """Three hints, then word that this was all."""
    titles = [hint(NAME).title for _ in range(4)]
    assert [title.partition(":")[0] for title in titles] == [
        "Hint 1 of 3",
        "Hint 2 of 3",
        "Hint 3 of 3",
        "No more hints",
    ]


def test_hints_and_the_solution_work_where_nothing_can_be_written(course: Path) -> None:
    """A step at each call, the model answer after a pass; each says that it was not saved."""
    (course / ".eip").rename(course / "read-only")
    (course / ".eip").write_text("a file where the folder should be")
    hints = [hint(NAME) for _ in range(2)]
    assert [each.title.partition(":")[0] for each in hints] == ["Hint 1 of 3", "Hint 2 of 3"]
    shown = [*hints, check(NAME, answers.ack_last), solution(NAME)]
    assert "async def worker(orders, charge):" in str(shown[-1])
    assert ["progress was not saved" in str(each) for each in shown] == [True] * 4


def test_the_solution_waits_for_a_pass() -> None:
    """Before it there is no code, after it there is, with an explanation."""
    assert "charge(order)" not in str(solution(NAME))
    check(NAME, answers.ack_last)
    assert "    await charge(order)\n        await orders.ack(order)" in str(solution(NAME))
    assert "a crash leaves it in the channel" in str(solution(NAME))


def test_the_solution_is_shown_on_explicit_request() -> None:
    """It has neither markers nor the broken code."""
    shown = str(solution(NAME, show=True))
    assert "async def worker(orders, charge):" in shown
    assert "SOLUTION" not in shown
    assert "#~" not in shown


def _work(course: Path, source: str) -> Path:
    """The learner changes and saves the answer cell."""
    path = course / "my" / "exercises" / "07_toy.ipynb"
    notebook = read(path)
    notebook["cells"][2]["source"] = source
    write(notebook, path)
    return path


def test_reset_brings_back_the_stub_and_keeps_a_copy(course: Path) -> None:
    """The other cells stay as they are, and the board counts the exercise as not begun."""
    before = read(course / "my" / "exercises" / "07_toy.ipynb")
    path = _work(course, "my work")
    check(NAME, answers.ack_last)
    shown = reset(NAME)
    assert read(path) == before
    assert read(course / ".eip" / "backups" / "07_toy-1.ipynb")["cells"][2]["source"] == "my work"
    assert ".eip/backups/07_toy-1.ipynb" in str(shown)
    assert not so_far().of(NAME).passed


def test_reset_brings_back_a_cell_that_was_deleted(course: Path) -> None:
    """It stands before its check again."""
    path = course / "my" / "exercises" / "07_toy.ipynb"
    before = read(path)
    write(before | {"cells": before["cells"][:2] + before["cells"][3:]}, path)
    reset(NAME)
    assert [cell["source"] for cell in read(path)["cells"]] == [cell["source"] for cell in before["cells"]]


def test_a_course_without_model_answers_can_reset(course: Path) -> None:
    """As a teacher may hand it out; who asks for a model answer is told."""
    before = read(course / "my" / "exercises" / "07_toy.ipynb")
    path = _work(course, "my work")
    shutil.rmtree(course / "solutions")
    reset(NAME)
    assert read(path) == before
    with pytest.raises(LookupError, match=r"solutions/07_toy\.ipynb is not in this course"):
        solution(NAME, show=True)


def test_reset_without_a_copy_changes_nothing(course: Path) -> None:
    """The course's own notebook is never written to; the error tells how to get a copy."""
    (course / "my" / "exercises" / "07_toy.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match="`eip start` makes your copy"):
        reset(NAME)


def test_a_second_reset_keeps_the_first_copy(course: Path) -> None:
    """Copies are counted, never written over."""
    for work in ("first", "second"):
        _work(course, work)
        reset(NAME)
    kept = [
        read(course / ".eip" / "backups" / f"07_toy-{number}.ipynb")["cells"][2]["source"]
        for number in (1, 2)
    ]
    assert kept == ["first", "second"]


def test_the_command_line_resets_and_shows_progress(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`eip reset` does what `reset` does, `eip progress` what `board` does."""
    _work(course, "my work")
    check(NAME, answers.ack_last)
    assert main(["progress"]) == 0
    assert "1 of 3 exercises" in capsys.readouterr().out
    assert main(["reset", NAME]) == 0
    assert "backups/07_toy-1.ipynb" in capsys.readouterr().out


def test_the_command_line_says_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name is one line and exit code 1."""
    assert main(["reset", "toy/mend"]) == 1
    assert capsys.readouterr().err.startswith("eip: there is no exercise 'toy/mend'")
