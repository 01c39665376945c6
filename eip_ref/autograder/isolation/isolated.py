"""Grading one notebook: its answers run in a sandbox, and what comes back is judged here.

This process never imports, unpickles or runs anything of the learner's. It sends the cells as JSON to
`runner`, with seeds that the learner could not know, and reads traces as text.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from .. import course
from ..exercise import Exercise, Mistake
from ..judging import UNJUDGED, judge_trace
from ..marks import Mark, Marks
from ..registry import Lesson
from . import submission
from .sandbox import LIMITS, PYTHON, Isolation, Limits, environment

__all__ = ["HIDDEN", "MISTAKES", "SandboxFailed", "grade_notebook", "seeds_for"]

HIDDEN = 3  #: hidden seeds per exercise, after those that the notebook's check uses
ADDRESS = re.compile(rb" at 0x[0-9a-f]+")  #: in the text of an object: another one in every run
START = 60.0  #: seconds that a sandbox may need beyond the time of its exercises

MISTAKES = {
    mistake.name: mistake
    for mistake in (
        Mistake(
            "no-answer",
            "The answer was not found",
            "No cell of the notebook defines it. The answer must keep its name and be in its own cell; "
            "`reset` brings a deleted cell back.",
        ),
        Mistake(
            "syntax-error",
            "The answer's cell is not valid Python",
            "Python could not read the cell, so nothing of it ran. Run it: the message points to the place.",
        ),
        Mistake(
            "cell-error",
            "The answer's cell raised an error before the answer was defined",
            "The notebook is run from top to bottom in a fresh kernel. Restart yours and run all cells: "
            "something that the cell uses is gone or is made in another way.",
        ),
        Mistake(
            "died",
            "The process ended while the answer ran",
            "The answer, or something that it started, ended Python itself. Look for `os._exit`, for a "
            "signal, and for a recursion without an end.",
        ),
        Mistake(
            "out-of-time",
            "The answer did not come back in time",
            "A hundredth of the time is enough. Look for a loop that never awaits, and for a wait in real "
            "time: use `anyio.sleep`, which costs none here.",
        ),
        Mistake(
            "out-of-memory",
            "The answer needs more memory than there is",
            "A gigabyte is there. Look for something that only ever grows.",
        ),
        Mistake(
            "too-much-output",
            "The answer recorded more than can be judged",
            "Far more happened than the exercise calls for. Look for a loop without a pause.",
        ),
        Mistake(
            "forbidden",
            "The answer does what no answer may do",
            "While it is graded, an answer may not start processes, use the network, touch files outside "
            "its temporary folder, or reach into Python's insides. It needs none of this.",
        ),
        Mistake(
            "tampered",
            "Something that the grading rests on was changed",
            "After the answer ran, a part of `eip_ref` or of Python was not what it had been. An answer "
            "uses what it is given and leaves it as it is.",
        ),
        Mistake(
            "unreadable-notebook",
            "The notebook could not be read",
            "Nothing of it was run.",
        ),
        Mistake(
            "no-trace",
            "The run left no record that can be judged",
            "What came back is not what a run of this exercise with these seeds writes.",
        ),
    )
}
IN_WORDS = {
    "died": "The process ended before the run was over.",
    "out-of-time": "The time for this exercise was over before the run was.",
    "out-of-memory": "The run needed more memory than its process may have.",
    "too-much-output": "The run recorded more than its process may hand over.",
    "forged": "Somebody else wrote to the place where the traces are handed over.",
}


class SandboxFailed(RuntimeError):
    """The sandbox could not be started: a fault of this machine, not of the notebook."""


def grade_notebook(
    data: bytes, lesson: Lesson, *, secret: bytes, isolation: Isolation, limits: Limits = LIMITS
) -> Marks:
    """Run and judge the notebook whose bytes are given, as one of `lesson`.

    Whatever the notebook holds or does, it returns a mark for each exercise. The same bytes and secret
    give the same marks, but for `seconds`. Raises `SandboxFailed` when this machine cannot run it.
    """
    try:
        found = submission.read(data, lesson, _course_cells(lesson.notebook))
    except submission.Unreadable as problem:
        marks = tuple(_missed(exercise, "unreadable-notebook", str(problem)) for exercise in lesson.exercises)
        return Marks(lesson.module, marks, isolation=isolation.words)
    seeds = {exercise.name: seeds_for(exercise, secret) for exercise in lesson.exercises}
    known = {exercise.name: exercise for exercise in lesson.exercises}
    marked: dict[str, Mark] = {}
    seconds: dict[str, float] = {}
    for said in _run_all(lesson.module, found.cells, seeds, isolation, limits):
        name = said["exercise"]
        marked[name] = _mark(known[name], said, seeds[name])
        seconds[name] = round(float(said.get("seconds", 0.0)), 3)
    return Marks(lesson.module, tuple(marked[name] for name in known), found.notes, isolation.words, seconds)


def seeds_for(exercise: Exercise, secret: bytes) -> list[int]:
    """The seeds of the check, then hidden ones that follow from the secret: the same for a whole class."""
    drawn = (
        hmac.digest(secret, f"{exercise.name} {number}".encode(), hashlib.sha256) for number in range(HIDDEN)
    )
    return [*exercise.seeds, *(int.from_bytes(each[:4], "big") for each in drawn)]


@cache
def _course_cells(name: str) -> frozenset[str]:
    """The code of the course's own cells, which need not be run when they only show something."""
    try:
        data = (course.root() / "exercises" / name).read_bytes()
    except FileNotFoundError:
        return frozenset()
    return frozenset(submission.sources(data))


# Running


def _run_all(
    lesson: str,
    cells: Sequence[Mapping[str, Any]],
    seeds: Mapping[str, list[int]],
    isolation: Isolation,
    limits: Limits,
) -> Iterator[dict[str, Any]]:
    """The word of the runner on each exercise; one that ends the runner itself costs only its own mark."""
    left = dict(seeds)
    while left:
        job = {"lesson": lesson, "cells": cells, "seeds": left, **asdict(limits)}
        begun = ""
        for said in _runner(job, isolation, limits.wall * 2 * len(left) + START):
            begun = said.get("begins", "")
            if "exercise" in said:
                del left[said["exercise"]]
                yield said
        if begun:
            del left[begun]
            yield {"exercise": begun, "ended": "died", "runs": []}


def _runner(job: Mapping[str, Any], isolation: Isolation, time: float) -> Iterator[dict[str, Any]]:
    """Start a runner, and give what it says, line by line, until its end."""
    if not hasattr(os, "fork"):
        raise SandboxFailed("notebooks are graded on Linux and macOS; on Windows, use WSL")
    from . import runner  # noqa: F401  only so that Python keeps what it compiles: the sandbox may not

    with tempfile.TemporaryDirectory(prefix="eip-") as folder, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [*isolation.before, *PYTHON, str(Path(__file__).with_name("quick_start.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=folder,
            env=environment(folder),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(time, process.kill)
        watch.start()
        heard = False
        try:
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
            for line in process.stdout:
                if line.endswith(b"\n"):
                    heard = True
                    yield json.loads(ADDRESS.sub(b"", line))
        except BrokenPipeError:
            pass
        finally:
            watch.cancel()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.kill()
            process.wait()
            process.stdout.close()
        if not heard:
            complaints.seek(0)
            said = complaints.read()[-2000:].decode(errors="replace").strip()
            raise SandboxFailed(f"the sandbox did not start; `eip doctor` may say why. {said}")


# Judging


def _mark(exercise: Exercise, said: Mapping[str, Any], seeds: Sequence[int]) -> Mark:
    if said["ended"]:
        name = "no-trace" if said["ended"] == "forged" else said["ended"]
        return _missed(exercise, name, IN_WORDS[said["ended"]])
    if said["refused"]:
        return _missed(exercise, "forbidden", f"{said['refused']}.")
    if said["changed"]:
        return _missed(exercise, "tampered", f"What was changed: `{said['changed']}`.")
    if not said["answered"]:
        problem = next(iter(said["cells"] or ()), None)
        if problem:
            return _missed(exercise, problem["kind"], problem["words"])
        return _missed(exercise, "no-answer", f"The notebook does not define `{exercise.answer}`.")
    runs = said["runs"]
    if [run.get("seed") for run in runs] != list(seeds[: len(runs)]):
        return _missed(exercise, "no-trace", "A run with one of the seeds is missing.")
    mark = _judged(exercise, runs)
    if mark.passed and len(runs) < len(seeds):
        return _missed(exercise, "no-trace", "A run with one of the seeds is missing.")
    return mark


def _judged(exercise: Exercise, runs: Sequence[Mapping[str, Any]]) -> Mark:
    for run in runs:
        try:
            verdict = judge_trace(exercise, run["trace"], run["seed"])
            if verdict.trace.seed != run["seed"]:
                return _missed(exercise, "no-trace", "The record belongs to other seeds.")
        except UNJUDGED:
            return _missed(exercise, "no-trace", "The record is not one that this exercise can write.")
        if verdict.diagnosis:
            mistake = verdict.diagnosis
            return _missed(exercise, mistake, verdict.seen, verdict.trace.to_json())
    return Mark(exercise.name, exercise.points, exercise.points)


def _missed(exercise: Exercise, mistake: Mistake | str, seen: str, trace: str = "") -> Mark:
    if isinstance(mistake, str):
        mistake = MISTAKES[mistake]
    return Mark(
        exercise.name, 0, exercise.points, mistake.name, mistake.title, mistake.explanation, seen, trace
    )
