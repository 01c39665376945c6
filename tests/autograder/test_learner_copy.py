"""A learner works in a copy; a new edition reaches it, and nothing of the course's own is ever changed."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder import check, hint, predict, reset, solution
from eip_ref.autograder import course as places
from eip_ref.autograder.cli import main
from eip_ref.autograder.course import Mixture
from eip_ref.autograder.learner_copy import edition_in, handed_out, plan, unanswered
from eip_ref.autograder.notebooks import execute, read, write
from eip_ref.autograder.predict import Prediction

from . import answers

NAME = "toy/mend_the_worker"
TOY = "exercises/07_toy.ipynb"
ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\]\((?!https?:|#)([^)\s#]+)")
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
Cell = dict[str, Any]


def change(path: Path, cell: int, source: str) -> Cell:
    """Write `source` into a cell of the notebook at `path`, and return the notebook."""
    notebook = read(path)
    notebook["cells"][cell]["source"] = source
    write(notebook, path)
    return notebook


def git(folder: Path, *arguments: str) -> str:
    somebody = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    return subprocess.check_output(["git", "-C", str(folder), *somebody, *arguments], encoding="utf-8")


@pytest.fixture
def clone(course: Path) -> Path:
    """The toy course as a clone in which somebody works."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    shutil.copy(ROOT / ".gitignore", course)
    git(course, "init", "--quiet")
    git(course, "add", ".")
    git(course, "commit", "--quiet", "--message=The first edition")
    return course


# Hidden answers


def words(text: str) -> str:
    """The text as one reads it, in one line, without what is folded away."""
    return " ".join(re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL).replace("`", "").split())


@each_lesson
def test_between_a_prediction_and_the_end_of_its_section_no_answer_stands(lesson: Path) -> None:
    """Neither as an output nor in a sentence that is not folded away."""
    shown = list(unanswered(handed_out(read(lesson))["cells"]))
    asked = re.findall(r'^predict\("(.*?)"\)', "\n".join(text for _, text in shown), re.MULTILINE)
    assert [cell["id"] for cell, _ in shown if cell.get("outputs")] == []
    for name in asked:
        answer = words(predict(name).answer)
        told = [text for _, text in shown if len(answer) > 3 and answer.lower() in words(text).lower()]
        assert told == [], name


@each_lesson
def test_the_other_outputs_stay(lesson: Path) -> None:
    """A lesson is worth reading before it is run."""
    notebook = read(lesson)
    hidden = [cell["id"] for cell, _ in unanswered(notebook["cells"])]
    for before, after in zip(notebook["cells"], handed_out(notebook)["cells"], strict=True):
        assert after == before or (before["id"] in hidden and after["source"] == before["source"])


def test_a_section_ends_at_a_heading_and_not_at_a_comment() -> None:
    """A line of code that begins with a number sign is no heading."""
    cells = [
        {"cell_type": "code", "id": "a", "source": 'predict("x/y")'},
        {"cell_type": "markdown", "id": "b", "source": "Run it:\n\n```\n# a comment\n```"},
        {"cell_type": "code", "id": "c", "source": "# run\nrun()"},
        {"cell_type": "markdown", "id": "d", "source": "So it is.\n\n## The next thing\n\nMore."},
        {"cell_type": "code", "id": "e", "source": "more()"},
    ]
    shown = [(cell["id"], text) for cell, text in unanswered(cells)]
    assert [name for name, _ in shown] == ["a", "b", "c", "d"]
    assert shown[-1][1] == "So it is.\n\n"


# The copy


def test_the_links_of_the_copy_lead_to_its_own_notebooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a lesson to its exercises and to other lessons."""
    monkeypatch.setenv("EIP_HOME", str(tmp_path))
    plan(edition_in(ROOT), whole=True, source="the course").apply()
    copies = sorted((tmp_path / "my").glob("*/*.ipynb"))
    assert [path.parent.name for path in copies].count("notebooks") == len(LESSONS)
    for path in copies:
        for cell in read(path)["cells"]:
            if cell["cell_type"] == "markdown":
                for link in LINK.findall(cell["source"]):
                    assert (path.parent / link).is_file(), f"{path.name}: {link}"


def test_a_whole_course_leaves_the_working_tree_clean(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a learner does: run, check, hint, look, begin again, update."""
    monkeypatch.delenv("EIP_HOME")
    mine = clone / "my" / TOY
    asked = Prediction(question="?", options=("a", "b"), answer="a", why=".", name="toy/a")
    write(execute(mine, allow_errors=True), mine)
    for _ in range(2):
        check(NAME, answers.ack_last)
        hint(NAME)
        solution(NAME, show=True)
        asked.chosen(0)
        change(mine, 2, "my work")
        reset(NAME)
    change(mine, 2, "my work")
    assert main(["update"]) == 0
    assert main(["progress"]) == 0
    assert git(clone, "status", "--porcelain") == ""


def test_eip_check_grades_the_copy(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the course's own notebook is named, which nobody works in."""
    monkeypatch.chdir(course)
    assert course / "my" / TOY == places.own(Path(TOY)).resolve()
    assert places.own(Path("my") / TOY) == Path("my") / TOY
    assert places.own(Path("pyproject.toml")) == Path("pyproject.toml")


# Updates


def test_a_new_edition_reaches_the_copy(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By cell; with a backup before and a list after. The second time there is nothing new."""
    mine = change(course / "my" / TOY, 2, "my work")
    write(mine | {"cells": mine["cells"][:-1]}, course / "my" / TOY)
    change(course / TOY, 0, "# Corrected")
    change(course / TOY, 2, "a better stub")
    capsys.readouterr()
    assert main(["update"]) == 0
    told = f"{TOY}: 1 cell corrected, 1 kept as yours, with the new one folded below\n"
    assert capsys.readouterr().out == told
    sources = [cell["source"] for cell in read(course / "my" / TOY)["cells"]]
    assert sources[0] == "# Corrected"
    assert sources[2] == "my work"
    assert "a better stub" in sources[3]
    assert read(course / ".eip" / "backups" / TOY.replace(".", "-1."))["cells"] == mine["cells"][:-1]
    before = (course / "my" / TOY).read_bytes()
    assert main(["update"]) == 0
    assert capsys.readouterr().out == "Nothing is new.\n"
    assert (course / "my" / TOY).read_bytes() == before


def test_a_notebook_that_left_the_course_goes_unless_it_was_touched(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a learner wrote is theirs."""
    for name in ("08_a.ipynb", "09_b.ipynb"):
        shutil.copy(course / TOY, course / "exercises" / name)
    assert main(["update"]) == 0
    for name in ("08_a.ipynb", "09_b.ipynb"):
        (course / "exercises" / name).unlink()
    change(course / "my" / "exercises" / "09_b.ipynb", 2, "my work")
    capsys.readouterr()
    assert main(["update"]) == 0
    told = "exercises/08_a.ipynb: no longer in the course, removed\n"
    assert capsys.readouterr().out == told + "exercises/09_b.ipynb: no longer in the course; yours is kept\n"
    assert sorted(path.name for path in (course / "my" / "exercises").iterdir()) == [
        "07_toy.ipynb",
        "09_b.ipynb",
    ]
    assert (course / ".eip" / "backups" / "exercises" / "08_a-1.ipynb").exists()
    assert main(["update"]) == 0
    assert capsys.readouterr().out == "Nothing is new.\n"


def test_a_copy_that_was_deleted_comes_back(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So one begins a notebook again."""
    (course / "my" / TOY).unlink()
    assert main(["update"]) == 0
    assert (course / "my" / TOY).exists()


@contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on this machine for a while; gives the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class OneOpenNotebook(http.server.BaseHTTPRequestHandler):
    """Answers as a Jupyter server on which one notebook is open."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/sessions" else 404)
        self.end_headers()
        self.wfile.write(json.dumps([{"id": "1", "path": TOY}]).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_notebook_that_is_open_is_not_written_to(
    course: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learner is told what to do; nothing at all is changed. When it is closed, it is."""
    runtime, before = course / "runtime", (course / "my" / TOY).read_bytes()
    runtime.mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    change(course / TOY, 0, "# Corrected")
    with serving(OneOpenNotebook) as address:
        facts = {"pid": os.getpid(), "url": f"{address}/", "token": "", "root_dir": str(course / "my")}
        (runtime / "jpserver-1.json").write_text(json.dumps(facts))
        assert main(["update"]) == 1
    assert "Close and Shut Down Notebook" in capsys.readouterr().err
    assert (course / "my" / TOY).read_bytes() == before
    assert main(["update"]) == 0
    assert read(course / "my" / TOY)["cells"][0]["source"] == "# Corrected"


def test_a_broken_notebook_is_named(course: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the way out, and without a change to any other."""
    (course / "my" / TOY).write_text("{")
    change(course / TOY, 0, "# Corrected")
    assert main(["update"]) == 1
    assert "07_toy.ipynb cannot be read as a notebook" in capsys.readouterr().err


# Corrections by a teacher


@pytest.fixture(params=["folder", "address"])
def correction(request: pytest.FixtureRequest, course: Path, tmp_path: Path) -> Iterator[str]:
    """A folder with a corrected notebook, as it is or served to a room."""
    folder = tmp_path / "correction"
    (folder / "exercises").mkdir(parents=True)
    shutil.copy(course / TOY, folder / TOY)
    change(folder / TOY, 0, "# Corrected")
    if request.param == "folder":
        yield str(folder)
        return
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with serving(functools.partial(quiet, directory=str(folder))) as address:
        yield address


def test_a_correction_is_shown_and_then_taken(
    course: Path, correction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a word of agreement nothing is changed. An update of the course leaves it there."""
    before = read(course / TOY)["cells"][0]["source"].split("\n")[0]
    capsys.readouterr()
    assert main(["update", correction]) == 0
    shown = capsys.readouterr().out
    assert f"-{before}\n" in shown
    assert "+# Corrected\n" in shown
    assert f"To take it: eip update {correction} --yes" in shown
    assert read(course / "my" / TOY)["cells"][0]["source"].startswith(before)
    for command in (["update", correction, "--yes"], ["update"]):
        assert main(command) == 0
        assert read(course / "my" / TOY)["cells"][0]["source"] == "# Corrected"
    assert main(["update", correction, "--yes"]) == 0
    assert capsys.readouterr().out.endswith(f"Nothing in {correction} is new.\n")


@pytest.mark.parametrize("source", ["nowhere", "http://127.0.0.1:1"])
def test_a_source_without_notebooks_is_said(
    course: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with exit code 1."""
    assert main(["update", source]) == 1
    assert source in capsys.readouterr().err


# Editions


def test_a_correction_of_another_edition_is_refused(
    course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the way out."""
    (tmp_path / "exercises").mkdir()
    notebook = read(course / TOY)
    write(notebook | {"metadata": notebook["metadata"] | {"eip": {"edition": "99"}}}, tmp_path / TOY)
    assert main(["update", str(tmp_path), "--yes"]) == 1
    error = capsys.readouterr().err
    assert "is of edition 99" in error
    assert "`git pull`" in error


@pytest.mark.parametrize("use", [lambda: check(NAME, None), lambda: predict("start_here/links")])
def test_a_copy_of_another_edition_than_the_package_is_refused(
    course: Path, use: Callable[[], object]
) -> None:
    """Who pulled and forgot to update is told so where they work."""
    (course / ".eip" / "base" / "edition").write_text("0.0.1")
    with pytest.raises(Mixture, match="run `eip update`"):
        use()


def test_the_package_has_the_version_of_its_edition() -> None:
    """One number, for both."""
    told = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{places.EDITION}"' in told


# From before there was a copy


@pytest.fixture
def old_tree(clone: Path) -> Path:
    """A clone whose own notebook was worked in, and of which there is no copy."""
    shutil.rmtree(clone / "my")
    shutil.rmtree(clone / ".eip")
    change(clone / TOY, 2, "my old work")
    return clone


def test_work_in_a_tracked_notebook_is_brought_over_once(
    old_tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the first start; then the tracked one is restored, and each step is said."""
    monkeypatch.chdir(old_tree)
    monkeypatch.setattr(subprocess, "call", lambda *_, **__: 0)
    capsys.readouterr()
    assert main(["start"]) == 0
    assert git(old_tree, "status", "--porcelain") == ""
    assert read(old_tree / "my" / TOY)["cells"][2]["source"] == "my old work"
    said = capsys.readouterr().out
    assert f"{TOY}: what you wrote is in my/{TOY} now" in said
    assert f"{TOY}: restored, as it was it is kept in .eip/backups/exercises/07_toy-1.ipynb\n" in said
    assert main(["start"]) == 0
    assert "restored" not in capsys.readouterr().out


def test_work_that_was_stashed_for_a_pull_is_brought_over(
    old_tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And merged with the edition that came; a copy that was begun is not written over."""
    monkeypatch.chdir(old_tree)
    git(old_tree, "stash")
    change(old_tree / TOY, 0, "# Corrected")
    git(old_tree, "commit", "--all", "--quiet", "--message=The next edition")
    assert main(["update", "--bring-over", "stash@{0}"]) == 0
    sources = [cell["source"] for cell in read(old_tree / "my" / TOY)["cells"]]
    assert (sources[0], sources[2]) == ("# Corrected", "my old work")
    assert main(["update", "--bring-over", "stash@{0}"]) == 0
    assert "not brought over, since you have begun a copy" in capsys.readouterr().out
    assert main(["update", "--bring-over", "nothing"]) == 1
