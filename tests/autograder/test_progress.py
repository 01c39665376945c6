"""Progress is a file of events; whatever is shown is folded from them."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eip_ref.autograder import course as places
from eip_ref.autograder.board import board, project
from eip_ref.autograder.progress import Fact, Standing, Store, fold, remember, so_far
from eip_ref.autograder.registry import Lesson

NAME = "toy/mend_the_worker"


def _store(path: Path) -> Store:
    return Store(path / ".eip" / "progress.jsonl", now=lambda: datetime(2030, 1, 1, tzinfo=UTC))


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    """The store keeps kind, name and data of each event."""
    store = _store(tmp_path)
    store.append(Fact("checked", NAME, {"mistake": "ack-first"}))
    store.append(Fact("hinted", NAME), Fact("passed", NAME))
    assert [fact.kind for fact in store.read()] == ["checked", "hinted", "passed"]
    assert store.read()[0].data["mistake"] == "ack-first"


def test_a_store_without_a_file_is_empty(tmp_path: Path) -> None:
    """Reading makes nothing."""
    assert _store(tmp_path).read() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [b'{"kind": "pas', b"\xff\xfe", b'["checked"]', b'{"kind": "x"}', b"7"])
def test_a_torn_last_line_costs_that_line_alone(tmp_path: Path, torn: bytes) -> None:
    """What was written before and what is written after it stay readable."""
    store = _store(tmp_path)
    store.append(Fact("checked", NAME))
    with store.path.open("ab") as file:
        file.write(torn)
    store.append(Fact("passed", NAME))
    assert [fact.kind for fact in store.read()] == ["checked", "passed"]


def _write_many(path: Path, writer: int) -> None:
    for number in range(100):
        _store(path).append(Fact("checked", f"{writer}/{number}", {"text": "x" * 5_000}))


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    """Each event of each notebook is there once, in its writer's order."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, writer)) for writer in (1, 2)]
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    names = [fact.name for fact in _store(tmp_path).read()]
    for writer in (1, 2):
        assert [name for name in names if name.startswith(f"{writer}/")] == [
            f"{writer}/{number}" for number in range(100)
        ]


def test_the_fold_counts_checks_hints_and_passes() -> None:
    """An exercise stays passed when a later check fails."""
    facts = [
        Fact(kind, NAME) for kind in ("checked", "hinted", "checked", "passed", "checked", "solution shown")
    ]
    assert fold(facts).of(NAME) == Standing(checks=3, hints=1, passed=True, shown=True)


def test_a_reset_exercise_is_not_begun() -> None:
    """After a reset the hints begin again."""
    facts = [Fact(kind, NAME) for kind in ("hinted", "passed", "reset")]
    assert fold(facts).of(NAME) == Standing()


def test_the_first_prediction_counts(toys: Lesson) -> None:
    """Running the cell again and choosing what is now known changes nothing."""
    facts = [Fact("predicted", "toy/x", {"right": right}) for right in (False, True)]
    assert fold(facts).predicted(toys) == [False]


def test_events_of_a_later_version_change_nothing() -> None:
    """A kind that this version does not know is passed over."""
    assert fold([Fact("praised", NAME)]) == fold([])


def test_a_board_without_events_suggests_the_first_lesson(toys: Lesson) -> None:
    """Not its exercises. It is the same for everybody, so a notebook may store it."""
    assert str(project(fold([]), [toys])) == (
        "Your progress\n"
        "07 Toys  0 of 3 exercises, 0 of 6 points, predictions: none yet\n"
        + "".join(f"    ○ {each.title}: {each.size}\n" for each in toys.exercises)
        + "Next: the lesson Toys, in `notebooks/07_toy.ipynb`, and then its exercises."
    )


@pytest.mark.parametrize("fact", [Fact("predicted", "toy/a"), Fact("checked", NAME), Fact("hinted", NAME)])
def test_who_has_begun_a_lesson_is_sent_to_its_exercises(toys: Lesson, fact: Fact) -> None:
    """With kind, difficulty, points and minutes of the next one."""
    shown = project(fold([fact]), [toys]).next
    assert shown == f"Next: Mend the worker ({toys.exercises[0].size}), in `exercises/07_toy.ipynb`."
    assert "minutes" in shown


def test_each_exercise_stands_below_its_lesson_with_its_size(toys: Lesson) -> None:
    """Those of the lesson that comes next are unfolded."""
    page = project(fold([Fact("passed", NAME)]), [toys])._repr_mimebundle_()["text/html"]
    assert page.count("<details open>") == 1
    for each in toys.exercises:
        assert f"<b>{each.title}</b> · {each.size}" in page
    assert page.count('aria-label="passed"') == 1


def test_the_board_shows_what_was_passed_and_predicted(toys: Lesson) -> None:
    """Points, counts and the next step follow the events."""
    facts = [Fact("passed", NAME), Fact("predicted", "toy/a", {"right": True}), Fact("predicted", "toy/b")]
    shown = str(project(fold(facts), [toys]))
    assert "1 of 3 exercises, 3 of 6 points, predictions: 1 of 2 right" in shown
    assert "Next: Choose the mode" in shown


def test_a_lesson_without_exercises_is_suggested_until_it_is_begun(toys: Lesson) -> None:
    """Then the next one is."""
    first = dataclasses.replace(toys, title="Start", number=6, package="start", exercises=())
    assert project(fold([]), [first, toys]).next == "Next: the lesson Start, in `notebooks/06_toy.ipynb`."
    begun = project(fold([Fact("predicted", "start/a")]), [first, toys])
    assert begun.next.startswith("Next: the lesson Toys")
    assert "06 Start  no exercises, predictions: 0 of 1 right" in str(begun)


def test_the_board_says_when_all_is_done(toys: Lesson) -> None:
    """There is nothing left to suggest."""
    assert project(fold(Fact("passed", each.name) for each in toys.exercises), [toys]).next == (
        "All exercises have passed their checks. A teacher's grading adds seeds of its own."
    )


def test_the_board_is_an_accessible_table(toys: Lesson) -> None:
    """Every number stands in a cell under a column's and beside a row's heading."""
    page = project(fold([]), [toys])._repr_mimebundle_()["text/html"]
    assert page.count('<th scope="col"') == 4
    assert page.count('<th scope="row"') == 1


def test_a_learner_works_in_the_courses_folder(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without EIP_HOME the folder is found by walking up from where the notebook is."""
    monkeypatch.delenv("EIP_HOME")
    remember(Fact("passed", NAME))
    assert (course / ".eip" / "progress.jsonl").is_file()
    assert so_far().of(NAME).passed
    assert board().rows[0].passed == 1


def test_what_a_solution_passes_is_nobodys_progress(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running the model answers leaves the board as it was."""
    monkeypatch.chdir(course / "solutions")
    remember(Fact("passed", NAME))
    assert not (course / ".eip" / "progress.jsonl").exists()


def test_what_cannot_be_written_is_said_and_counts_until_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written, once, as soon as that works."""
    refusing = tmp_path / ".eip"
    refusing.write_text("a file where the folder should be")
    monkeypatch.setenv("EIP_HOME", str(tmp_path))
    said = remember(Fact("checked", NAME), Fact("passed", NAME))
    assert said.startswith(f"Your progress was not saved (File exists: {refusing}).")
    assert so_far().of(NAME) == Standing(checks=1, passed=True)
    refusing.unlink()
    assert remember(Fact("hinted", NAME)) == ""
    assert [fact.kind for fact in Store(refusing / "progress.jsonl").read()] == [
        "checked",
        "passed",
        "hinted",
    ]
    assert so_far().of(NAME) == Standing(checks=1, passed=True, hints=1)


def test_outside_the_course_progress_counts_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words say where to go."""

    monkeypatch.setattr(places, "__file__", "/lib/site-packages/eip_ref/autograder/course.py")
    monkeypatch.delenv("EIP_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert "(the folder of the course is neither here nor above; go to it" in remember(Fact("hinted", "x/y"))
    assert so_far().of("x/y").hints == 1


@pytest.mark.parametrize(
    "told", ['[project]\nname = "shop"', "[project]", "[tool.eip-ref]", 'project = "eip-ref"', "[", "\0"]
)
@pytest.mark.parametrize("inside", ["", "exercises", "solutions", "solutions/my"])
def test_another_project_is_not_taken_for_the_course(
    told: str, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its folders are called: nothing is written there, and its `solutions` are a learner's work."""
    monkeypatch.setattr(places, "__file__", "/lib/site-packages/eip_ref/autograder/course.py")
    monkeypatch.delenv("EIP_HOME", raising=False)
    for folder in ("exercises", "notebooks", "solutions/my"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(told)
    monkeypatch.chdir(tmp_path / inside)
    assert not places.in_solutions()
    assert "was not saved" in remember(Fact("passed", NAME))
    assert not (tmp_path / ".eip").exists()
    with pytest.raises(places.NoCourse):
        places.root()


@pytest.mark.parametrize("inside", ["", "exercises", "my/exercises", "src/other"])
def test_the_course_is_found_from_all_folders_in_it_also_with_the_package_elsewhere(
    course: Path, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it was installed from a wheel, and in another project within it."""
    monkeypatch.setattr(places, "__file__", "/lib/site-packages/eip_ref/autograder/course.py")
    monkeypatch.delenv("EIP_HOME")
    other = course / "src" / "other"
    (other / "exercises").mkdir(parents=True)
    (other / "pyproject.toml").write_text('[project]\nname = "other"\n')
    monkeypatch.chdir(course / inside)
    assert places.root() == course


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits for files")
def test_facts_for_which_the_disk_is_too_full_are_not_written_in_part(tmp_path: Path) -> None:
    """The file is as it was, and what was in it stays readable."""
    import resource

    store = _store(tmp_path)
    store.append(Fact("checked", NAME))
    before = store.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            store.append(Fact("hinted", NAME), Fact("passed", NAME, {"text": "x" * 1_000}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.path.read_bytes() == before


def test_eip_home_without_a_course_keeps_only_the_progress(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The course is still found from the working folder."""
    monkeypatch.setenv("EIP_HOME", str(tmp_path / "elsewhere"))
    assert places.root() == course
    assert places.progress_file() == tmp_path / "elsewhere" / ".eip" / "progress.jsonl"
