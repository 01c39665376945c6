"""The graders that `benchmarks.graders` compares, each as the command that its user would type.

Each takes a class, as notebooks by learner, and lays it out in a folder of its own; then it grades all
of them or one, and tells the points that it gave.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat

from eip_ref.autograder.registry import lesson

__all__ = ["AT_ONCE", "CHECK", "LESSON", "PEERS", "ROOT", "Eip", "Nbgrader", "Notebook", "Otter"]

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "peers" / "bin"
AT_ONCE = 2
LESSON = lesson("acks_and_leases")
ASSIGNMENT = f"lesson-{LESSON.number}"

Notebook = dict[str, Any]
Marks = Mapping[str, float]  #: points by learner


def run(*command: object, cwd: Path = ROOT, fine: Container[int] = (0,)) -> None:
    """Run a command, silently unless its exit code is not among the `fine` ones.

    Python keeps what it compiles, as it does unless told otherwise: the peers came compiled.
    """
    env = {**os.environ, "PATH": os.pathsep.join([str(PEERS), os.environ["PATH"]])}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, capture_output=True)
    if done.returncode not in fine:
        raise SystemExit(f"{command} failed:\n{done.stderr.decode(errors='replace')[-3000:]}")


class Eip:
    """`eip grade` and `eip check`."""

    def __init__(self, folder: Path, notebooks: Mapping[str, Notebook]) -> None:
        self.submissions, self.out = folder / "class", folder / "results"
        for learner, notebook in notebooks.items():
            write(self.submissions / learner / LESSON.notebook, notebook)

    def grade(self) -> None:
        """Grade all anew. Exit code 3 says that something was no notebook, as some hostile ones are."""
        shutil.rmtree(self.out, ignore_errors=True)
        eip("grade", self.submissions, "--out", self.out, "--jobs", AT_ONCE, fine=(0, 3))

    def grade_one(self, learner: str) -> None:
        eip("check", self.submissions / learner / LESSON.notebook, fine=(0, 1))  # 1: not all has passed

    def marks(self) -> Marks:
        with open(self.out / "gradebook.csv", encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        total = f"{LESSON.module} total ({LESSON.points})"
        return {row["Learner"]: float(row[total] or 0) for row in rows}


def eip(*words: object, fine: Container[int] = (0,)) -> None:
    run(sys.executable, "-m", "eip_ref.autograder.cli", *words, fine=fine)


class Nbgrader:
    """`nbgrader autograde`, in a course folder whose source is the solution."""

    def __init__(self, folder: Path, notebooks: Mapping[str, Notebook]) -> None:
        self.folder = folder / "nbgrader"
        source = self.folder / "source" / ASSIGNMENT
        source.mkdir(parents=True)
        shutil.copy(ROOT / "solutions" / LESSON.notebook, source)
        for learner, notebook in notebooks.items():
            write(self.folder / "submitted" / learner / ASSIGNMENT / LESSON.notebook, notebook)
        self._run("generate_assignment", ASSIGNMENT)

    def grade(self) -> None:
        self._run("autograde", ASSIGNMENT, "--force")

    def grade_one(self, learner: str) -> None:
        self._run("autograde", ASSIGNMENT, "--force", "--student", learner)

    def marks(self) -> Marks:
        self._run("export")
        with open(self.folder / "grades.csv", newline="") as file:
            return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}

    def _run(self, *words: object) -> None:
        run(PEERS / "nbgrader", *words, cwd=self.folder)


class Otter:
    """`otter run`, with a test for each exercise and `grader.check("exercise")` in the notebook."""

    def __init__(self, folder: Path, notebooks: Mapping[str, Notebook]) -> None:
        self.folder, self.learners = folder / "otter", list(notebooks)
        for exercise in LESSON.exercises:
            test = TEST.format(slug=exercise.slug, points=exercise.points, answer=exercise.answer)
            path = self.folder / "tests" / f"{exercise.slug}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(test)
        for learner, notebook in notebooks.items():
            write(self.folder / f"{learner}.ipynb", for_otter(notebook))
        run(PEERS / "otter", "generate", "-t", "tests", "-o", "autograder.zip", cwd=self.folder)

    def grade(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.grade_one, self.learners))

    def grade_one(self, learner: str) -> None:
        out = self.folder / "results" / learner
        out.mkdir(parents=True, exist_ok=True)
        words = ("run", "--no-logo", "-a", "autograder.zip", "-o", out, f"{learner}.ipynb")
        run(PEERS / "otter", *words, cwd=self.folder)

    def marks(self) -> Marks:
        return {learner: self._points(learner) for learner in self.learners}

    def _points(self, learner: str) -> float:
        found = json.loads((self.folder / "results" / learner / "results.json").read_text())
        return sum(float(test.get("score", 0)) for test in found["tests"])


TEST = f"""\
from otter.test_files import test_case

OK_FORMAT = False
name = "{{slug}}"
points = {{points}}


@test_case()
def test_{{slug}}({{answer}}):
    from eip_ref.autograder.judging import judge_answer
    from eip_ref.autograder.registry import find

    verdict = judge_answer(find("{LESSON.package}/{{slug}}"), {{answer}})
    assert verdict.passed, verdict.seen
"""
CHECK = re.compile(rf'^check\("{LESSON.package}/(\w+)", \w+\)$')


def for_otter(notebook: Notebook) -> Notebook:
    """The notebook with otter's checks in place of ours."""
    begin = nbformat.v4.new_code_cell("import otter\n\ngrader = otter.Notebook()")  # type: ignore[no-untyped-call]
    cells = [
        {**cell, "source": CHECK.sub(r'grader.check("\1")', cell["source"])} for cell in notebook["cells"]
    ]
    return {**notebook, "cells": [begin, *cells]}


def write(path: Path, notebook: Notebook) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
