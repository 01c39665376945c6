"""Who is in a class, who handed in late, and one learner graded again."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eip_ref.autograder.grade_command import add_arguments, run
from eip_ref.autograder.grading.class_record import ClassRecord
from eip_ref.autograder.grading.grade import UnknownLearner, grade_class
from eip_ref.autograder.grading.gradebook import OtherColumns, with_rows_of
from eip_ref.autograder.grading.jobs import Job
from eip_ref.autograder.grading.late import deadline, lateness
from eip_ref.autograder.grading.layouts import Found, find_submissions
from eip_ref.autograder.grading.roster import BadRoster, Roster
from eip_ref.autograder.marks import Mark, Marks
from eip_ref.autograder.registry import lesson, lessons

LESSON = lesson("point_to_point")
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)

Grade = Callable[..., ClassRecord]


def by_length(job: Job) -> str:
    """Marks that differ with what was handed in."""
    first, *rest = LESSON.exercises
    passed = Mark(first.name, first.points, first.points)
    wrong = [Mark(each.name, 0, each.points, "wrong", f"Wrong {len(job.data)}") for each in rest]
    if b"pass" in job.data:
        wrong[0] = Mark(rest[0].name, rest[0].points, rest[0].points)
    return Marks(LESSON.module, (passed, *wrong)).to_json()


@pytest.fixture
def grade(tmp_path: Path) -> Iterator[Grade]:
    """Grades the folder `class` into `results`."""
    with ThreadPoolExecutor(1) as threads:

        def graded(**options: object) -> ClassRecord:
            return grade_class(
                tmp_path / "class",
                tmp_path / "results",
                executor=threads,
                grade=by_length,
                **options,  # type: ignore[arg-type]
            )

        yield graded


def hand_in(folder: Path, *learners: str, text: str = "{}") -> Path:
    for learner in learners:
        path = folder / learner / LESSON.notebook
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def roster(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "roster.csv"
    path.write_bytes(text.encode(encoding))
    return path


def found(folder: Path, text: str) -> Found:
    return find_submissions(folder, lessons(), roster=Roster.read(roster(folder.parent, text)))


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "gradebook.csv", encoding="utf-8-sig", newline="") as file:
        return {row["Learner"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "text",
    [
        "learner,name,folder\r\nada,Ada Lovelace,x1\r\nbob,,\r\n",
        "\ufefflearner;name;folder\r\nada;Ada Lovelace;x1\r\nbob;;\r\n",
        '"folder" ; "Learner";name\nx1; ada ;"Ada Lovelace"\n\n;bob\n'.replace(" ;", ";").replace("; ", ";"),
    ],
)
def test_a_roster_as_spreadsheets_write_it(tmp_path: Path, text: str) -> None:
    """Comma or semicolon, with or without the mark of UTF-8, the columns in any order."""
    read = Roster.read(roster(tmp_path, text))
    assert read.names == {"ada": "Ada Lovelace", "bob": ""}
    assert read.folders == {"x1": "ada", "bob": "bob"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("learner,group\nada,1\n", "no column is called 'group'"),
        ("name\nAda\n", "lacks the column `learner`"),
        ("learner,learner\nada,ada\n", "a column twice"),
        ("learner\nada\nbob\nADA\n", "line 2 and in line 4"),
        ("learner,folder\nada,x\nbob,x\n", "folder 'x' stands in line 2 and in line 3"),
        ("learner,name\nada,Lovelace, Ada\n", "line 2: more cells"),
        ("learner,name\n,Ada\n", "line 2: no `learner`"),
        ('learner\n"ada\n', "line 2"),
    ],
)
def test_a_roster_that_is_wrong_says_where(tmp_path: Path, text: str, words: str) -> None:
    """And it names the file."""
    with pytest.raises(BadRoster, match=r"roster\.csv") as error:
        Roster.read(roster(tmp_path, text))
    assert words in str(error.value)


def test_a_roster_in_another_encoding_says_what_to_do(tmp_path: Path) -> None:
    """As spreadsheets of some countries write it."""
    with pytest.raises(BadRoster, match="CSV UTF-8"):
        Roster.read(roster(tmp_path, "learner\nzoë\n", "latin-1"))
    with pytest.raises(BadRoster, match=r"none\.csv"):
        Roster.read(tmp_path / "none.csv")


def test_who_handed_in_nothing_is_in_the_class(tmp_path: Path) -> None:
    """And so is who is not in the roster; both are named."""
    folder = hand_in(tmp_path / "class", "ada", "x1", "stranger", "boc")
    those = found(folder, "learner,folder\nada,\nbob,x1\ncarol,\n")
    assert those.learners == ("ada", "bob", "boc", "carol", "stranger")
    assert those.missing == ("carol",)
    assert {each.where: each.words for each in those.problems} == {
        "boc": "not in the roster; near to it: bob",
        "stranger": "not in the roster",
    }
    assert {each.learner for each in those.submissions} == {"ada", "bob", "boc", "stranger"}


def test_a_roster_makes_no_two_learners_one(tmp_path: Path) -> None:
    """A folder with a learner's name is another's when the roster says that theirs is called otherwise."""
    folder = hand_in(tmp_path / "class", "ada", "x1", "Zoë", "zoë", "EVE")
    those = found(folder, "learner,folder\nada,x1\nZOË,\neve,\n")
    assert those.learners == ("ada", "ada (not in the roster)", "eve", "ZOË", "Zoë", "zoë")
    assert those.missing == ("ZOË",)
    assert len(those.submissions) == 5


def test_accents_are_the_same_however_a_file_system_writes_them(tmp_path: Path) -> None:
    """Some take a letter apart."""
    folder = hand_in(tmp_path / "class", "zoe\u0308")
    assert found(folder, "learner\nzo\u00eb\n").learners == ("zo\u00eb",)


def test_the_gradebook_has_names_and_says_who_is_missing(grade: Grade, tmp_path: Path) -> None:
    """The roster may lie among the submissions."""
    folder = hand_in(tmp_path / "class", "ada")
    book = grade(roster=roster(folder, "learner,name\nada,=Ada\ncarol,Carol\n"))
    assert not book.problems
    made = rows(tmp_path / "results")
    assert (made["ada"]["Name"], made["ada"]["Status"]) == ("'=Ada", "")
    assert (made["carol"]["Name"], made["carol"]["Status"]) == ("Carol", "handed in nothing")
    page = (tmp_path / "results/feedback/carol.html").read_text(encoding="utf-8")
    assert "Nothing was handed in." in page
    assert "<b>1</b>handed in nothing" in (tmp_path / "results/overview.html").read_text(encoding="utf-8")


def test_a_deadline_tells_its_offset() -> None:
    """Else a class in another country would be late."""
    assert deadline("2026-11-30T18:00+01:00") == deadline("2026-11-30T17:00Z")
    for text in ("2026-11-30T18:00", "tomorrow"):
        with pytest.raises(ValueError, match="2026-11-30T18:00"):
            deadline(text)


def changed_at(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (NOON.timestamp() + seconds,) * 2)
    return path


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, ""),
        (0, ""),
        (0.5, "late by 1 second"),
        (125, "late by 2 minutes"),
        (3 * 3600, "late by 3 hours"),
        (86_400 * 9, "late by 9 days"),
    ],
)
def test_late_is_what_was_changed_after_the_deadline(tmp_path: Path, seconds: float, words: str) -> None:
    """At the deadline itself it is in time."""
    assert lateness(changed_at(tmp_path / "a.ipynb", seconds), NOON) == words
    assert lateness(tmp_path / "a.ipynb", None) == ""


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ("2026-11-30 12:00:00.000000 UTC\n", ""),
        ("2026-11-30 14:00:00.5 UTC", "late by 2 hours"),
        ("2026-11-30 13:00:00 +0100", ""),
        ("2026-11-30 13:01:00 Europe/Paris", "late by 1 minute"),
        ("2026-11-30 12:01:00", "late by 1 minute"),
        ("yesterday", "late by 9 hours"),
        ("2026-11-30 10:00:00 Nowhere/Town", "late by 9 hours"),
        ("2026-11-30 10:00:00 ../../etc/passwd", "late by 9 hours"),
    ],
)
def test_in_nbgraders_folder_its_own_time_counts(tmp_path: Path, stamp: str, words: str) -> None:
    """Where it cannot be read, and elsewhere, the file's time counts."""
    path = changed_at(tmp_path / "a.ipynb", 9 * 3600)
    (tmp_path / "timestamp.txt").write_text(stamp)
    assert lateness(path, NOON, nbgrader=True) == words
    assert lateness(path, NOON) == "late by 9 hours"


def test_late_is_marked_and_costs_no_point(grade: Grade, tmp_path: Path) -> None:
    """In gradebook, overview, feedback, and for Gradescope; a second run with no deadline has no mark."""
    hand_in(tmp_path / "class", "ada", "bob")
    changed_at(tmp_path / "class/ada" / LESSON.notebook, 3600)
    changed_at(tmp_path / "class/bob" / LESSON.notebook, -1)
    book = grade(deadline=NOON)
    results, late = tmp_path / "results", "late by 1 hour"
    assert (book.late, book.points("ada")) == (["ada"], book.points("bob"))
    assert {name: row["Status"] for name, row in rows(results).items()} == {"ada": late, "bob": ""}
    for name in ("overview.html", "feedback/ada.html"):
        assert late in (results / name).read_text(encoding="utf-8")
    assert late in json.loads((results / f"gradescope/ada/{LESSON.module}.json").read_text())["output"]
    assert "late by" not in (results / "feedback/bob.html").read_text(encoding="utf-8")
    again = grade()
    assert (again.late, again.run.kept) == ([], 2)


def test_one_learner_is_graded_again_and_every_other_byte_stays(grade: Grade, tmp_path: Path) -> None:
    """Though others changed what they handed in, and the teacher wrote into the gradebook."""
    folder, results = hand_in(tmp_path / "class", "ada", "bob", "carol"), tmp_path / "results"
    grade()
    book = results / "gradebook.csv"
    book.write_bytes(book.read_bytes().replace(b"carol,", b"carol,99"))
    lines = book.read_bytes().split(b"\r\n")
    pages = {each: each.read_bytes() for each in results.glob("*/bob*/**/*.json")}
    hand_in(folder, "bob", "carol", text="pass")
    hand_in(folder, "dora")
    hand_in(folder, "ada", text="pass all")
    assert grade(only=["ada"]).run.graded == 1
    after = book.read_bytes().split(b"\r\n")
    assert [first == second for first, second in zip(lines, after, strict=True)] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert pages == {each: each.read_bytes() for each in pages}
    assert "dora" not in {each.parent.name for each in results.glob("gradescope/*/*")}
    assert grade().run.graded == 3


def test_one_learner_is_graded_again_though_nothing_changed(grade: Grade, tmp_path: Path) -> None:
    """Somebody asked for it."""
    hand_in(tmp_path / "class", "ada", "bob")
    grade()
    before = (tmp_path / "results/gradebook.csv").read_bytes()
    book = grade(only=["ada", "bob"])
    assert (book.run.graded, book.run.kept) == (2, 0)
    assert (tmp_path / "results/gradebook.csv").read_bytes() == before


def test_a_learner_whom_nobody_knows_is_an_error_with_near_names(grade: Grade, tmp_path: Path) -> None:
    """Nothing is graded; neither before there is a gradebook."""
    hand_in(tmp_path / "class", "alice", "bob")
    with pytest.raises(OtherColumns, match="whole class first"):
        grade(only=["alice"])
    grade()
    with pytest.raises(UnknownLearner, match="near to it: alice"):
        grade(only=["alicia"])


def test_a_row_fits_only_into_its_own_columns() -> None:
    """Else a number would stand under another exercise; who is new is put at the end."""
    with pytest.raises(OtherColumns, match="whole class"):
        with_rows_of(["a"], "Learner,x\r\na,1\r\n", "Learner,y\r\na,1\r\n")
    made = with_rows_of(["'=b", "=b"], "Learner,x\r\na,2\r\n'=b,3\r\n", "Learner,x\r\na,1\r\n")
    assert made == "Learner,x\r\na,1\r\n'=b,3\r\n"


def test_wrong_words_on_the_command_line_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """In words that say what is right."""
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for option, value in (("--deadline", "2026-11-30T18:00"), ("--jobs", "0")):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(["x", option, value])
        assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "offset from UTC" in said
    assert "a whole number from 1 on" in said


def test_nothing_to_grade_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a script notices a wrong folder."""
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    (tmp_path / "class").mkdir()
    assert run(parser.parse_args([str(tmp_path / "class"), "--out", str(tmp_path / "out")])) == 1
    assert "0 notebooks" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "out")
