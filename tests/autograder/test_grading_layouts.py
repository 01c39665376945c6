"""Finding out whose notebook it is, of which lesson, in whatever folder a teacher has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from eip_ref.autograder.check_command import _lesson
from eip_ref.autograder.grading import safe_files
from eip_ref.autograder.grading.layouts import Found, find_submissions
from eip_ref.autograder.grading.safe_files import NotRead, read
from eip_ref.autograder.registry import UnknownExercise, lessons

LESSONS = lessons()
NAMES = ("01_point_to_point.ipynb", "02b_acks_and_leases.ipynb")


def hand_in(folder: Path, *names: str, text: str = "{}") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def found(folder: Path, lesson: str = "") -> Found:
    return find_submissions(folder, LESSONS, lesson=lesson)


def whose(folder: Path, lesson: str = "") -> list[tuple[str, str, str]]:
    """Learner, lesson and file of each submission."""
    return [
        (each.learner, each.lesson, str(each.path.relative_to(folder)))
        for each in found(folder, lesson).submissions
    ]


def problems(folder: Path) -> dict[str, str]:
    return {problem.where: problem.words for problem in found(folder).problems}


@pytest.mark.parametrize(
    ("name", "learner"),
    [
        ("alice_02b_acks_and_leases.ipynb", "alice"),
        ("alice-acks-and-leases.ipynb", "alice"),
        ("02b_acks_and_leases_alice.ipynb", "alice"),
        ("Zoë Ångström 02b_acks_and_leases (1).ipynb", "Zoë Ångström"),
        ("smith_123_02b_acks_and_leases-Copy1.ipynb", "smith_123"),
        ("alice_02b_ACKS_AND_LEASES.IPYNB", "alice"),
    ],
)
def test_a_file_for_each_learner(tmp_path: Path, name: str, learner: str) -> None:
    """What is left of the file's name without the lesson is the learner."""
    assert whose(hand_in(tmp_path, name)) == [(learner, "acks_and_leases", name)]


def test_a_file_of_the_lessons_own_name_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    """One learner's folder alone can be graded."""
    folder = hand_in(tmp_path / "alice", *NAMES)
    assert whose(folder) == [("alice", "point_to_point", NAMES[0]), ("alice", "acks_and_leases", NAMES[1])]


def test_a_folder_for_each_learner_at_any_depth(tmp_path: Path) -> None:
    """The folder's name is the learner, however deep the notebooks lie."""
    hand_in(tmp_path, f"bob/{NAMES[1]}", f"alice/a/b/c/{NAMES[0]}", f"alice/{NAMES[1]}")
    assert whose(tmp_path) == [
        ("alice", "point_to_point", f"alice/a/b/c/{NAMES[0]}"),
        ("alice", "acks_and_leases", f"alice/{NAMES[1]}"),
        ("bob", "acks_and_leases", f"bob/{NAMES[1]}"),
    ]


def test_nbgraders_folder(tmp_path: Path) -> None:
    """`submitted/` is looked into, and the rest of nbgrader's course is not."""
    hand_in(tmp_path, f"submitted/alice/ps1/{NAMES[1]}", f"source/ps1/{NAMES[1]}", f"release/ps1/{NAMES[1]}")
    assert whose(tmp_path) == [("alice", "acks_and_leases", f"submitted/alice/ps1/{NAMES[1]}")]


def test_the_repositories_of_github_classroom(tmp_path: Path) -> None:
    """The assignment is cut off the names; the lessons and model answers of the course are nobody's work."""
    for name in ("queues-alice", "queues-bob-x"):
        hand_in(tmp_path, *(f"{name}/{part}/{NAMES[1]}" for part in ("exercises", "notebooks", "solutions")))
    assert whose(tmp_path) == [
        ("alice", "acks_and_leases", f"queues-alice/exercises/{NAMES[1]}"),
        ("bob-x", "acks_and_leases", f"queues-bob-x/exercises/{NAMES[1]}"),
    ]
    assert found(tmp_path).submissions[0].notes == ()


def test_clones_of_the_course_in_which_learners_worked(tmp_path: Path) -> None:
    """Their copy is graded, and the course's own notebook beside it is nobody's work."""
    parts = ("exercises", "notebooks", "solutions", "my/exercises", "my/notebooks", ".eip/base/exercises")
    hand_in(tmp_path, *(f"alice/{part}/{NAMES[1]}" for part in parts))
    assert whose(tmp_path) == [("alice", "acks_and_leases", f"alice/my/exercises/{NAMES[1]}")]
    assert found(tmp_path).submissions[0].notes == ()


def test_folders_that_are_no_repositories_keep_their_whole_names(tmp_path: Path) -> None:
    """Two learners of one family are not an assignment."""
    hand_in(tmp_path, f"de-boer/{NAMES[1]}", f"de-vries/{NAMES[1]}")
    assert found(tmp_path).learners == ("de-boer", "de-vries")


@pytest.mark.parametrize(
    "source", ['check("message_queue/mend_the_worker", work)', "check('message_queue/mend_the_worker', work)"]
)
def test_the_lesson_is_told_by_the_checks_in_the_notebook(tmp_path: Path, source: str) -> None:
    """When the file's name does not say."""
    hand_in(tmp_path, "alice.ipynb", text=json.dumps({"cells": [{"source": source}]}))
    assert whose(tmp_path) == [("alice", "acks_and_leases", "alice.ipynb")]


def test_the_lesson_is_told_by_the_ids_of_answer_cells(tmp_path: Path) -> None:
    """Also when all checks were deleted."""
    hand_in(tmp_path, "alice.ipynb", text=json.dumps({"nbgrader": {"grade_id": "fence_the_store"}}))
    assert whose(tmp_path) == [("alice", "acks_and_leases", "alice.ipynb")]


def test_the_lesson_is_named_for_notebooks_that_do_not_tell(tmp_path: Path) -> None:
    """Only for these."""
    hand_in(tmp_path, "alice.ipynb", f"bob_{NAMES[0]}")
    assert [each[:2] for each in whose(tmp_path, "acks_and_leases")] == [
        ("alice", "acks_and_leases"),
        ("bob", "point_to_point"),
    ]


def test_the_lesson_is_that_of_the_class_when_there_is_one(tmp_path: Path) -> None:
    """A broken file in a class of one lesson is of this lesson, and says so."""
    hand_in(tmp_path, "alice.ipynb", f"bob_{NAMES[1]}")
    assert whose(tmp_path)[0] == ("alice", "acks_and_leases", "alice.ipynb")
    assert "does not tell its lesson" in found(tmp_path).submissions[0].notes[0]


def test_an_unclear_lesson_is_a_problem_and_the_learner_is_still_there(tmp_path: Path) -> None:
    """Nobody vanishes from a class."""
    hand_in(tmp_path, "alice.ipynb", *(f"bob/{name}" for name in NAMES))
    assert found(tmp_path).learners == ("alice", "bob")
    assert "--lesson" in problems(tmp_path)["alice.ipynb"]


def test_of_two_notebooks_of_a_lesson_the_one_with_the_lessons_own_name_counts(tmp_path: Path) -> None:
    """And the learner is told which one was left out."""
    hand_in(tmp_path, f"alice/{NAMES[1]}", "alice/02b_acks_and_leases-Copy1.ipynb", f"alice/old/{NAMES[1]}")
    (only,) = found(tmp_path).submissions
    assert only.path == tmp_path / "alice" / NAMES[1]
    assert "02b_acks_and_leases-Copy1.ipynb" in " ".join(only.notes)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither to files nor to folders, at the top or below; each is named."""
    secret = hand_in(tmp_path / "elsewhere", NAMES[1])
    folder = hand_in(tmp_path / "class", f"bob/{NAMES[1]}")
    (folder / f"alice_{NAMES[1]}").symlink_to(secret / NAMES[1])
    (folder / "carol").symlink_to(secret)
    (folder / "bob" / "more").symlink_to(secret)
    assert whose(folder) == [("bob", "acks_and_leases", f"bob/{NAMES[1]}")]
    assert set(problems(folder)) == {f"alice_{NAMES[1]}", "carol", "bob/more"}
    with pytest.raises(NotRead):
        read(folder / f"alice_{NAMES[1]}")


def test_archives_are_named_and_not_opened(tmp_path: Path) -> None:
    """The teacher unpacks them."""
    hand_in(tmp_path, "alice.zip", "bob/answers.tar.gz")
    assert "archive" in problems(tmp_path)["alice.zip"]
    assert "archive" in problems(tmp_path)["bob/answers.tar.gz"]
    assert problems(tmp_path)["bob"] == "no notebook in it"


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    """A pipe would wait for ever, a folder is none, and a file has a largest size."""
    os.mkfifo(tmp_path / "pipe.ipynb")
    hand_in(tmp_path, f"folder.ipynb/{NAMES[1]}", "large.ipynb", text="x" * 101)
    for name in ("pipe.ipynb", "folder.ipynb", "large.ipynb", "none.ipynb"):
        with pytest.raises(NotRead):
            read(tmp_path / name, largest=100)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "up").symlink_to(tmp_path)
    assert problems(tmp_path)["pipe.ipynb"] == "named like a notebook, but no file"
    assert [problems(tmp_path)[name].partition(";")[0] for name in ("circle", "bob/up")] == ["a link"] * 2


def test_a_folder_that_holds_too_much_for_a_class_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody named another one; the words say so."""
    monkeypatch.setattr(safe_files, "MOST_ENTRIES", 3)
    hand_in(tmp_path, *(f"{name}.ipynb" for name in "abcd"))
    with pytest.raises(ValueError, match="name the folder of submissions, or grade it in parts"):
        found(tmp_path)


def test_hidden_folders_are_left_out(tmp_path: Path) -> None:
    """JupyterLab keeps older copies in one."""
    hand_in(tmp_path, f"alice/.ipynb_checkpoints/{NAMES[1]}", f".git/{NAMES[1]}", f"alice/{NAMES[1]}")
    assert whose(tmp_path) == [("alice", "acks_and_leases", f"alice/{NAMES[1]}")]


def test_a_flood_of_problems_is_cut(tmp_path: Path) -> None:
    """One learner cannot fill the overview."""
    hand_in(tmp_path, *(f"alice/{number}.zip" for number in range(50)))
    assert len(found(tmp_path).problems) == 7


def test_a_name_that_is_no_text_is_shown_as_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, ends of lines, and marks that turn the reading order are escaped."""
    folder = os.fsencode(tmp_path) + b"/\xff\n\xe2\x80\xaelice"
    os.mkdir(folder)
    with open(folder + b"/02b_acks_and_leases.ipynb", "wb"):
        pass
    assert found(tmp_path).learners == (r"\udcff\n\u202elice",)


def test_the_results_are_not_a_submission(tmp_path: Path) -> None:
    """Results may lie in the folder of submissions."""
    hand_in(tmp_path, f"alice/{NAMES[1]}", f"results/{NAMES[1]}")
    only = find_submissions(tmp_path, LESSONS, leave_out=[tmp_path / "results"])
    assert only.learners == ("alice",)


def test_eip_check_tells_the_lesson_as_eip_grade_does() -> None:
    """By the file's name however it is written, else by what is inside; else it says what to do."""
    inside = b'check("message_queue/mend_the_worker", work)'
    assert _lesson(Path("02b-Acks-and-Leases (1).ipynb"), b"") == "acks_and_leases"
    assert _lesson(Path("homework.ipynb"), inside) == "acks_and_leases"
    with pytest.raises(UnknownExercise, match="--lesson"):
        _lesson(Path("homework.ipynb"), b"")


@pytest.mark.parametrize(
    ("names", "learners"),
    [
        (("student-1", "student-2", "student-3"), ("student-1", "student-2", "student-3")),
        (("12345678-5",), ("12345678-5",)),
        (("alice", "alice (1)"), ("alice", "alice (1)")),
        (("alice-Copy1",), ("alice",)),
        ((f"alice_{NAMES[1]}", f"alice_{NAMES[0]}"), ("alice",)),
        (("02b_acks_and_leases (1)", "02b_acks_and_leases (2)"), ("here (1)", "here (2)")),
        (("02b_acks_and_leases-1", "02b_acks_and_leases-2"), ("1", "2")),
        (("student-01_point_to_point", "student-02_point_to_point"), ("student-01", "student-02")),
        (("student-1_point_to_point",), ("student-1",)),
        (("student-1_01_point_to_point", "student-2_01_point_to_point"), ("student-1", "student-2")),
        (("alice_", "alice"), ("alice", "alice_")),
        (("yan_02b_acks_and_leases.ipynb",), ("yan",)),
        (("anna.maria",), ("anna.maria",)),
    ],
)
def test_no_two_learners_become_one(
    tmp_path: Path, names: tuple[str, ...], learners: tuple[str, ...]
) -> None:
    """A number may be a part of a name: it stays, and a copy's mark is cut only where it is alone."""
    folder = hand_in(tmp_path / "here", *(f"{name.removesuffix('.ipynb')}.ipynb" for name in names))
    assert found(folder).learners == learners
    assert len(found(folder, "acks_and_leases").submissions) == len(names)


def test_what_was_cut_off_a_name_is_said(tmp_path: Path) -> None:
    """To the learner for a copy's mark, to the teacher for what all folders begin with."""
    hand_in(tmp_path / "files", f"alice_{NAMES[1].removesuffix('.ipynb')}-Copy1.ipynb")
    assert "`-Copy1` in the file's name" in " ".join(found(tmp_path / "files").submissions[0].notes)
    hand_in(tmp_path / "clones", *(f"queues-{name}/exercises/{NAMES[1]}" for name in ("alice", "bob")))
    (only,) = found(tmp_path / "clones").problems
    assert (only.where, only.harmless) == ("queues-", True)


def test_a_cut_makes_no_two_learners_one(tmp_path: Path) -> None:
    """A file of alice and a clone of alice stay two: then nothing is cut."""
    hand_in(tmp_path, *(f"queues-{name}/exercises/{NAMES[1]}" for name in ("alice", "bob")))
    hand_in(tmp_path, f"alice_{NAMES[1]}")
    assert found(tmp_path).learners == ("alice", "queues-alice", "queues-bob")


CELLS = json.dumps({"nbformat": 4, "cells": []})


@pytest.mark.parametrize(
    ("name", "text", "learner", "words"),
    [
        ("kim.ipynb.txt", CELLS, "kim", "name it `kim.ipynb`"),
        ("lee.json", CELLS, "lee", "name it `lee.ipynb`"),
        ("uwe_01_point_to_point", CELLS, "uwe", "name it `uwe_01_point_to_point.ipynb`"),
        ("mona.py", "print()", "mona", "an export"),
        ("nora.html", "<p>", "nora", "an export"),
        ("otto_01_point_to_point.txt", "print()", "otto", "no notebook"),
        ("zoe.py", "", "zoe", "an empty file"),
        ("wim.tar.gz", "x", "wim", "Unpack it"),
    ],
)
def test_who_handed_in_something_else_is_in_the_class(
    tmp_path: Path, name: str, text: str, learner: str, words: str
) -> None:
    """The file is listed with what to do, at the top and in a learner's own folder."""
    hand_in(tmp_path / "top", name, text=text)
    assert found(tmp_path / "top").learners == (learner,)
    assert words in problems(tmp_path / "top")[name]
    hand_in(tmp_path / "below", f"ada/{name}", text=text)
    assert found(tmp_path / "below").learners == ("ada",)
    assert words in problems(tmp_path / "below")[f"ada/{name}"]


def test_the_mark_of_a_copy_on_an_export_makes_no_second_learner(tmp_path: Path) -> None:
    """The notebook of the same learner lies beside it."""
    hand_in(tmp_path, f"alice_{NAMES[1]}", f"alice_{NAMES[1].removesuffix('.ipynb')} (1).html")
    assert found(tmp_path).learners == ("alice",)


def test_names_that_would_be_shown_alike_stay_two(tmp_path: Path) -> None:
    """One has an unseen character, the other has its escape as text."""
    hand_in(tmp_path, f"a\x1b/{NAMES[1]}", rf"a\x1b/{NAMES[1]}")
    first, second = found(tmp_path).learners
    assert first.startswith(r"a\x1b ")
    assert second.startswith(r"a\x1b ")


def test_a_folder_with_the_files_of_several_learners_is_asked_about(tmp_path: Path) -> None:
    """It is taken for one learner's, and does not pass in silence."""
    hand_in(tmp_path, f"week 1/alice_{NAMES[1]}", f"week 1/bob_{NAMES[1]}", f"carol/{NAMES[1]}")
    assert found(tmp_path).learners == ("carol", "week 1")
    assert "grade this folder by itself" in problems(tmp_path)["week 1"]


def test_a_notebook_with_another_ending_is_listed_beside_notebooks(tmp_path: Path) -> None:
    """Whatever lesson it is of, if it is not one of those that are there."""
    hand_in(tmp_path, f"ada/{NAMES[0]}")
    hand_in(tmp_path, "ada/homework.ipynb.txt", "ada/01_point_to_point.json", text=CELLS)
    assert set(problems(tmp_path)) == {"ada/homework.ipynb.txt"}


def test_a_flood_of_files_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither notebooks nor others of one learner; it is said."""
    monkeypatch.setattr(safe_files, "MOST_READ", 3)
    hand_in(tmp_path, *(f"alice/{number}_{NAMES[1]}" for number in range(5)))
    assert "more than 3 notebooks" in " ".join(problem.words for problem in found(tmp_path).problems)


def test_a_file_of_the_teachers_is_listed_and_nobody(tmp_path: Path) -> None:
    """Whatever it is, it is not passed over."""
    hand_in(tmp_path, "read me.md", "grades.csv", text="text")
    assert found(tmp_path).learners == ()
    assert set(problems(tmp_path)) == {"read me.md", "grades.csv"}


def test_an_export_of_a_lesson_beside_notebooks_of_others_is_listed(tmp_path: Path) -> None:
    """What a learner has beside a notebook of the same lesson is theirs alone."""
    hand_in(tmp_path, f"ada/{NAMES[0]}", "ada/01_point_to_point.py", "ada/02b_acks_and_leases.py", "ada/x.py")
    assert set(problems(tmp_path)) == {"ada/02b_acks_and_leases.py"}
