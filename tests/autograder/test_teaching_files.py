"""The files in docs/teaching/ that teachers copy to other places do there what docs/teachers.md says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from traitlets.config import Config

from eip_ref.autograder.registry import lesson

ROOT = Path(__file__).parents[2]
TEACHING = ROOT / "docs" / "teaching"
LESSON = lesson("acks_and_leases")
SOLUTION = ROOT / "solutions" / LESSON.notebook
BIN = Path(sys.executable).parent
SCRIPTS = ("gradescope/setup.sh", "gradescope/run_autograder")


def run(
    *command: object, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env={**os.environ, "PATH": path, **(env or {})}, capture_output=True, check=False
    )


def put(notebook: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(notebook, path)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# Gradescope


@pytest.fixture
def autograder(tmp_path: Path) -> Path:
    """A folder laid out as Gradescope's /autograder before a submission is graded."""
    for folder in ("source", "submission", "results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "source" / "secret").write_text("a secret of more than sixteen bytes")
    shutil.copy(TEACHING / "gradescope" / "run_autograder", tmp_path)
    return tmp_path


def gradescope_results(autograder: Path) -> Any:
    """What `run_autograder` tells Gradescope of the submission."""
    done = run("./run_autograder", cwd=autograder, env={"EIP": str(BIN / "eip")})
    assert done.returncode == 0, done.stderr.decode()
    return load(autograder / "results" / "results.json")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_shell_script_is_valid_and_may_be_run(name: str, tmp_path: Path) -> None:
    """Gradescope starts its scripts directly, and a broken one would only show there."""
    assert run("bash", "-n", TEACHING / name, cwd=tmp_path).returncode == 0
    assert os.access(TEACHING / name, os.X_OK)


def test_gradescope_gets_a_score_for_each_exercise(autograder: Path) -> None:
    """Model answers earn all points, in the fields that Gradescope reads, also beside a scratch pad."""
    put(SOLUTION, autograder / "submission" / LESSON.notebook)
    (autograder / "submission" / "a scratch pad.ipynb").write_text('{"cells": [], "nbformat": 4}')
    results = gradescope_results(autograder)
    assert [test["name"] for test in results["tests"]] == [each.title for each in LESSON.exercises]
    assert [test["max_score"] for test in results["tests"]] == [each.points for each in LESSON.exercises]
    assert sum(test["score"] for test in results["tests"]) == LESSON.points
    assert {test["status"] for test in results["tests"]} == {"passed"}


def test_gradescope_is_told_when_there_is_no_notebook(autograder: Path) -> None:
    """A submission without a notebook gets a score of 0 and a sentence."""
    (autograder / "submission" / "answers.pdf").write_bytes(b"%PDF")
    results = gradescope_results(autograder)
    assert results["score"] == 0
    assert ".ipynb" in results["output"]


# GitHub


def workflow() -> Any:
    return yaml.safe_load((TEACHING / "github" / "check.yml").read_text(encoding="utf-8"))


def steps() -> list[Any]:
    return list(workflow()["jobs"]["check"]["steps"])


def test_the_workflow_holds_valid_steps(tmp_path: Path) -> None:
    """Each step either uses an action of a fixed version or runs a valid script."""
    for step in steps():
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        else:
            (tmp_path / "step.sh").write_text(step["run"])
            assert run("bash", "-n", "step.sh", cwd=tmp_path).returncode == 0, step["name"]


@pytest.mark.parametrize(
    ("notebook", "code"), [(SOLUTION, 0), (ROOT / "exercises" / LESSON.notebook, 1)], ids=["right", "stubs"]
)
def test_the_workflow_checks_the_answers(tmp_path: Path, notebook: Path, code: int) -> None:
    """The step that checks is green when all exercises pass, else red, and keeps what was said."""
    told = workflow()["env"]
    put(notebook, tmp_path / "answers" / told["NOTEBOOK"])
    (tmp_path / "course").mkdir()
    check = next(step for step in steps() if step.get("name") == "Check")
    done = run("bash", "-e", "-c", check["run"], cwd=tmp_path / check["working-directory"], env=told)
    assert done.returncode == code, done.stderr.decode()
    points = sum(test["score"] for test in load(tmp_path / "results.json")["tests"])
    assert f"{points} of {LESSON.points} points" in (tmp_path / "report.txt").read_text(encoding="utf-8")


# Classroom 50

GIVEN = {
    "CLASSROOM": "patterns",
    "ASSIGNMENT": "lesson-2",
    "SUBMISSION_TAG": "submit/2026-01-01T00-00-00Z-0000000",
    "COMMIT_URL": "commit",
    "RELEASE_URL": "release",
}
FIELDS = {"schema", "classroom", "assignment", "submission", "commit", "release", "review", "datetime"}


def classroom50_result(checkout: Path) -> Any:
    """What the autograder says in a learner's checkout."""
    done = run(sys.executable, TEACHING / "classroom50" / "autograder.py", cwd=checkout, env=GIVEN)
    assert done.returncode == 0, done.stderr.decode()
    return load(checkout / "result.json")


def test_classroom_50_gets_a_score_for_each_exercise(tmp_path: Path) -> None:
    """Model answers earn all points, in the fields of Classroom 50's result.json."""
    put(SOLUTION, tmp_path / "exercises" / LESSON.notebook)
    result = classroom50_result(tmp_path)
    assert set(result) == FIELDS | {"score", "max-score", "tests"}
    assert (result["score"], result["max-score"]) == (LESSON.points, LESSON.points)
    assert [test["test-name"] for test in result["tests"]] == [each.title for each in LESSON.exercises]


def test_classroom_50_does_not_believe_results_that_a_learner_brought(tmp_path: Path) -> None:
    """Without a notebook there are no points, even when the checkout holds a file of results."""
    (tmp_path / "eip-results.json").write_text('{"tests": [{"score": 28, "max_score": 28}]}')
    assert classroom50_result(tmp_path)["score"] == 0


# nbgrader


def test_nbgrader_keeps_the_code_that_learners_are_to_mend() -> None:
    """nbgrader's settings leave the notebooks of exercises/ as they are."""
    config = Config()
    exec((TEACHING / "nbgrader" / "nbgrader_config.py").read_text(), {"get_config": lambda: config})
    assert config.ClearSolutions.enabled is False
    assert config.ExecutePreprocessor.interrupt_on_timeout is True


# The page


def test_the_page_names_every_file_and_no_other() -> None:
    """All links of the teachers' page lead somewhere, and no file is left unmentioned."""
    page = (ROOT / "docs" / "teachers.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", page) if "://" not in link}
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    files = {path.relative_to(ROOT / "docs").as_posix() for path in TEACHING.rglob("*") if path.is_file()}
    assert files <= links
