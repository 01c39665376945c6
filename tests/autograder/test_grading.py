"""Grading a class: what is graded, what is kept, and that nobody's notebook stops it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eip_ref.autograder.grade_command import add_arguments, run
from eip_ref.autograder.grading import jobs
from eip_ref.autograder.grading.class_record import ClassRecord
from eip_ref.autograder.grading.grade import grade_class
from eip_ref.autograder.grading.jobs import Job
from eip_ref.autograder.registry import UnknownExercise, lesson

from . import trusting
from .class_of import LAYOUTS, learners, write_class
from .exercise_cases import ROOT

LESSON = "point_to_point"
NOTEBOOK = "01_point_to_point.ipynb"

Grade = Callable[..., ClassRecord]


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submissions of three learners, which no test changes."""
    folder = tmp_path_factory.mktemp("handed_in")
    write_class(folder, 3, modules=[LESSON])
    return folder


@pytest.fixture
def submissions(handed_in: Path, tmp_path: Path) -> Path:
    """The same, for a test to change."""
    return Path(shutil.copytree(handed_in, tmp_path / "submissions"))


@pytest.fixture
def grade(tmp_path: Path) -> Iterator[Grade]:
    """Grades in threads of this process, with a grader that is quick; results in `results`."""
    with ThreadPoolExecutor(1) as threads:

        def graded(folder: Path, **options: object) -> ClassRecord:
            chosen = {"out": tmp_path / "results", "executor": threads, "grade": trusting.grade} | options
            return grade_class(folder, **chosen)  # type: ignore[arg-type]

        yield graded


def files(folder: Path) -> dict[str, bytes]:
    """All that lies below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_class_has_all_results(grade: Grade, handed_in: Path, tmp_path: Path) -> None:
    """A page and a file for each learner, and three for all."""
    book = grade(handed_in)
    names = set(files(tmp_path / "results"))
    assert {"gradebook.csv", "junit.xml", "overview.html", ".secret"} <= names
    for learner in learners(3):
        assert f"feedback/{learner}.html" in names
        assert f"gradescope/{learner}/{LESSON}.json" in names
        assert f"marks/{learner}/{LESSON}.json" in names
    assert 0 < book.mean < book.most
    assert any(name.startswith(".pictures/") for name in names)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_marks(
    grade: Grade, handed_in: Path, tmp_path: Path, layout: str
) -> None:
    """Only the folder differs."""
    write_class(tmp_path / "class", 3, layout=layout, modules=[LESSON])
    marks = [graded.marks for graded in grade(tmp_path / "class").graded]
    assert marks == [graded.marks for graded in grade(handed_in).graded]


def test_a_second_run_grades_nothing_and_gives_the_same_bytes(
    grade: Grade, handed_in: Path, tmp_path: Path
) -> None:
    """But for the last section of the overview, which tells of the run."""
    results = tmp_path / "results"
    first, before = grade(handed_in), files(results)
    second, after = grade(handed_in), files(results)
    assert (first.run.graded, first.run.kept) == (3, 0)
    assert (second.run.graded, second.run.kept) == (0, 3)
    pages = [all.pop("overview.html").partition(b"<h2>This run</h2>")[0] for all in (before, after)]
    assert pages[0] == pages[1]
    assert before == after


def test_results_may_lie_among_the_submissions(submissions: Path) -> None:
    """They are nobody's submission in the next run."""
    with ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            book = grade_class(submissions, submissions / "results", executor=threads, grade=trusting.grade)
    assert list(book.files) == list(learners(3))


def test_only_what_changed_is_graded_again(grade: Grade, submissions: Path) -> None:
    """One notebook was handed in anew, one is new."""
    grade(submissions)
    ada, bayo, _ = sorted(submissions.iterdir())
    shutil.copy(ada / NOTEBOOK, bayo / NOTEBOOK)
    shutil.copytree(ada, submissions / "new")
    book = grade(submissions)
    assert (book.run.graded, book.run.kept) == (2, 2)


def test_all_is_graded_again_on_request(grade: Grade, handed_in: Path, tmp_path: Path) -> None:
    """Or when the secret is another one, since the hidden inputs follow from it."""
    secret = tmp_path / "secret"
    secret.write_text("another secret of a teacher")
    assert grade(handed_in).run.graded == 3
    assert grade(handed_in, again=True).run.graded == 3
    assert grade(handed_in, secret_file=secret).run.graded == 3


def test_what_draws_the_overview_is_loaded_while_workers_work(handed_in: Path, tmp_path: Path) -> None:
    """Else all would wait for it at the end."""
    code = """if True:
        import os, sys, threading
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from eip_ref.autograder.grading import grade_class
        from tests.autograder import trusting

        loaded = threading.Event()
        sys.addaudithook(lambda event, told: told[:1] == ("matplotlib.figure",) and loaded.set())

        def grade(job):
            loaded.wait(60) or os._exit(1)
            return trusting.grade(job)

        with ThreadPoolExecutor(2) as threads:
            options = {"executor": threads, "at_once": 2, "grade": grade, "draw": trusting.draw_or_hang}
            print(grade_class(Path(sys.argv[1]), Path(sys.argv[2]), **options).run.graded)"""
    command = [sys.executable, "-c", code, str(handed_in), str(tmp_path / "results")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "3\n", done.stderr


def test_a_broken_notebook_costs_no_other_learner(grade: Grade, submissions: Path) -> None:
    """What is no JSON, no file, no notebook or a link is named, and its learner is in the gradebook."""
    whole = grade(submissions)
    for name, text in (("empty", ""), ("no json", "{"), ("no notebook", "{}"), ("binary", "\0\1")):
        (submissions / name).mkdir()
        (submissions / name / NOTEBOOK).write_text(text)
    (submissions / "nothing").mkdir()
    (submissions / "link").symlink_to("/etc")
    (submissions / "all.zip").write_bytes(b"PK")
    book = grade(submissions)
    assert [book.get(name, book.lessons[0]) for name in whole.files] == list(whole.graded)
    assert {"empty", "no json", "no notebook", "binary", "nothing"} < set(book.files)
    assert {problem.where for problem in book.problems} >= {"nothing", "link", "all.zip"}


def test_a_file_that_cannot_be_read_has_a_named_mark(grade: Grade, submissions: Path) -> None:
    """For each exercise, and the teacher is told."""
    huge = submissions / "huge" / NOTEBOOK
    huge.parent.mkdir()
    with open(huge, "wb") as file:
        file.truncate(17 * 2**20)
    book = grade(submissions)
    marks = next(graded.marks for graded in book.graded if graded.learner == "huge")
    assert {mark.mistake for mark in marks.marks} == {"unreadable-notebook"}
    assert "larger than 16 MB" in marks.marks[0].seen
    assert [problem.where for problem in book.problems] == [f"huge, {NOTEBOOK}"]


def test_a_notebook_that_kills_its_grader_costs_no_other_learner(
    grade: Grade, submissions: Path, tmp_path: Path
) -> None:
    """It is tried twice, then named; it is graded again in the next run."""
    alone = grade(submissions)
    (submissions / "killer").mkdir()
    (submissions / "killer" / NOTEBOOK).write_text("die, grader")
    book = grade_class(submissions, tmp_path / "killed", at_once=2, grade=trusting.grade_or_die)
    assert [graded for graded in book.graded if graded.learner != "killer"] == list(alone.graded)
    assert book.points("killer") == 0
    assert [problem.where for problem in book.problems] == [f"killer, {NOTEBOOK}"]
    again = grade(submissions, out=tmp_path / "killed")
    assert (again.run.graded, again.run.kept) == (1, 3)


def test_a_job_that_hangs_is_named_and_the_class_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In reading and judging, or in drawing, beside honest notebooks; for the learner and the teacher."""
    monkeypatch.setattr(jobs, "seconds", lambda job: 3.0 if b"hang" in repr(job).encode() else 600.0)
    folder, results = tmp_path / "class", tmp_path / "results"
    for learner, text in {"ada": "a", "bea": "hang in reading", "cid": "hang in drawing", "dan": "d"}.items():
        (folder / learner).mkdir(parents=True)
        (folder / learner / NOTEBOOK).write_text(text)
    work = {"grade": trusting.grade_or_hang, "draw": trusting.draw_or_hang}
    book = grade_class(folder, results, at_once=2, **work)  # type: ignore[arg-type]
    ended = "it did not come back within 3 seconds, and was ended"
    assert book.not_graded == ["bea"]
    assert {each.where: each.words for each in book.problems} == {
        f"bea, {NOTEBOOK}": f"could not be graded: {ended}",
        f"cid, {lesson(LESSON).exercises[0].name}": f"The picture is missing: {ended}.",
    }
    page = (results / "feedback/bea.html").read_text(encoding="utf-8")
    assert f"The grader stopped over it: {ended}." in page
    assert ended in (results / "feedback/cid.html").read_text(encoding="utf-8")
    assert ended in (results / "overview.html").read_text(encoding="utf-8")
    for learner in ("ada", "dan"):
        assert ended not in (results / f"feedback/{learner}.html").read_text(encoding="utf-8")


def test_an_interrupted_run_goes_on_where_it_stopped(handed_in: Path, grade: Grade) -> None:
    """What was graded is kept at once."""
    began: list[Job] = []

    def interrupted(job: Job) -> str:
        began.append(job)
        if len(began) == 3:
            raise KeyboardInterrupt
        return trusting.grade(job)

    with pytest.raises(KeyboardInterrupt):
        grade(handed_in, grade=interrupted)
    assert grade(handed_in).run.kept == 2


INTERRUPTED = """
import os, signal, sys, tqdm
from pathlib import Path
from eip_ref.autograder import grade_command
from eip_ref.autograder.grading import grade
from tests.autograder import trusting

class Bar:
    def __init__(self, **options): self.done = 0
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def update(self):
        os.killpg(0, signal.SIGINT)  # as a terminal does at Ctrl-C

if __name__ == "__main__":
    import argparse
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background takes away
    tqdm.tqdm = Bar
    grade.grade_class.__kwdefaults__["grade"] = trusting.grade
    parser = argparse.ArgumentParser()
    grade_command.add_arguments(parser)
    sys.exit(grade_command.run(parser.parse_args()))
"""


def test_ctrl_c_ends_the_command_and_keeps_what_is_done(handed_in: Path, tmp_path: Path) -> None:
    """In words, without a traceback of any process, and with the exit code that shells use."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    ended = subprocess.run(
        [sys.executable, script, handed_in, "--out", tmp_path / "results", "--jobs", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
    )
    assert ended.returncode == 130
    assert ended.stderr.strip() == (
        "Interrupted. What was graded is kept; the same command goes on from there."
    )
    assert list((tmp_path / "results" / "marks").rglob("*.json"))


def test_the_command_says_how_the_class_did(
    handed_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where to look; no bar where nobody watches."""
    assert grade_class.__kwdefaults__
    monkeypatch.setitem(grade_class.__kwdefaults__, "grade", trusting.grade)
    assert command(handed_in, "--out", tmp_path / "results", "--jobs", 1) == 0
    said = capsys.readouterr()
    assert "3 notebooks of 3 learners: 3 graded" in said.out
    assert said.out.rstrip().endswith("overview.html")
    assert said.err == ""


def test_something_that_could_not_be_graded_is_in_the_exit_code(
    submissions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a script notices what the overview lists."""
    assert grade_class.__kwdefaults__
    monkeypatch.setitem(grade_class.__kwdefaults__, "grade", trusting.grade)
    (submissions / "kim.html").write_text("an export")
    assert command(submissions, "--out", tmp_path / "results", "--jobs", 1) == 3
    assert "\nkim," in (tmp_path / "results" / "gradebook.csv").read_text(encoding="utf-8").replace("\r", "")


def command(*arguments: object) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*map(str, arguments)]))


def test_a_wrong_call_is_answered_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there, a weak secret, and a lesson that nobody knows."""
    assert command(tmp_path / "none", "--out", tmp_path / "results") == 1
    assert "none" in capsys.readouterr().err
    (tmp_path / "secret").write_text("short")
    assert command(tmp_path, "--out", tmp_path / "results", "--secret", tmp_path / "secret") == 1
    assert "at least 16 bytes" in capsys.readouterr().err
    with pytest.raises(UnknownExercise, match="acks_and_leases"):
        command(tmp_path, "--out", tmp_path / "results", "--lesson", "acks_and_lease")


def test_dask_gives_the_same_marks(handed_in: Path, tmp_path: Path, grade: Grade) -> None:
    """A class that outgrows one machine is graded by the same jobs on a cluster."""
    distributed = pytest.importorskip("distributed")
    results = tmp_path / "by dask"
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        book = grade_class(handed_in, results, executor=client.get_executor(), grade=trusting.grade)
    assert [graded.marks for graded in book.graded] == [graded.marks for graded in grade(handed_in).graded]
    assert len(list((results / ".pictures").iterdir())) > 0


def test_marks_are_kept_as_json(grade: Grade, handed_in: Path, tmp_path: Path) -> None:
    """For other tools: the digest, and the marks with their traces."""
    grade(handed_in)
    (kept, *_) = sorted((tmp_path / "results" / "marks").rglob("*.json"))
    document = json.loads(kept.read_text(encoding="utf-8"))
    assert set(document) == {"digest", "marks"}
    assert document["marks"]["lesson"] == LESSON
