"""The inside of the sandbox: it reads a job and says what happened (`start` starts it).

For each exercise a child process is forked. It runs the cells of the notebook, lets the answer work
with each seed, and hands back traces as text, signed with a key that was made for it. The parent never
runs a line of the learner's; it waits, within bounds, and kills what is left.

*Left out:* judging. What comes out of here is evidence, not a mark.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NoReturn, TypeVar

import anyio

from ... import lab
from ...lab import Crash, Faults, simulate
from .. import registry
from ..exercise import Exercise
from ..judging import UNJUDGED, judge_trace, run_answer
from .cells import Cell, Notebook, read
from .guard import Ground, Guard
from .messages import KEY, Received, Sender
from .screening import IN_NOTEBOOKS, OURS

__all__ = ["main"]

NOBODY = 65534

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """The job of one run of the runner."""

    lesson: str
    cells: list[Cell]
    seeds: Mapping[str, list[int]]  #: by the exercise's name: which exercises, and with which seeds
    cpu: int  #: seconds per exercise
    wall: float  #: seconds per exercise
    memory: int  #: bytes
    output: int  #: bytes that one exercise may hand back
    file: int  #: bytes of a file
    processes: int


def main() -> int:
    """Read a job from standard input; write a line of JSON for each exercise to standard output."""
    told = json.load(sys.stdin)
    found = {name: registry.find(name) for name in told["seeds"]}
    job = Job(**{**told, "cells": read(told["cells"])})  # what a lesson hands out is known by now
    _without_pictures()
    _warm_up()
    _import_ahead(job.cells)
    threading.excepthook = _nothing
    ground = Ground()
    gc.freeze()  # what is here is not looked at, and so not copied, in every child
    alone = False
    for name in job.seeds:
        print(json.dumps({"begins": name}), flush=True)
        began = time.monotonic()
        said = _try(job, ground, found[name], alone)
        if not alone and _spoiled(said):
            said = _try(job, ground, found[name], True)
            alone = not _spoiled(said)  # then a cell that is no part of this exercise did it
        print(json.dumps({"exercise": name, "seconds": time.monotonic() - began, **said}), flush=True)
    return 0


def _spoiled(said: Mapping[str, Any]) -> bool:
    """True when it was the cells that ended the child or did what is refused, and not yet the answer."""
    return bool(said["spoiled"] if "cells" in said else said["ended"])


# The parent: it waits for the child, and believes what is signed


def _try(job: Job, ground: Ground, exercise: Exercise, alone: bool) -> dict[str, Any]:
    """The word of a child on one exercise, and in `ended` how it ended when not by itself."""
    key = os.urandom(KEY)
    folder = tempfile.mkdtemp(prefix="answer-")
    os.chmod(folder, 0o777)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        _child(job, ground, exercise, alone, folder, Sender(writes, key))
    os.close(writes)
    received = Received(key, job.output, partial(_passes, exercise))
    try:
        in_time = received.read(reads, time.monotonic() + job.wall)
    finally:
        os.close(reads)
        status, used = _end(child)
        shutil.rmtree(folder, ignore_errors=True)
    return {**received.said, "ended": received.problem or _ending(received, in_time, status, used, job)}


def _ending(received: Received, in_time: bool, status: int, used: Any, job: Job) -> str:
    if received.complete:
        return ""
    if not in_time or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return "out-of-time"
    if used.ru_maxrss * 1024 >= job.memory // 2:
        return "out-of-memory"
    return "died"


def _end(child: int) -> tuple[int, Any]:
    """Kill the child and whatever it left behind; return its status and what it used."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    if os.environ.get("EIP_OWN_PROCESSES"):  # a process space of our own: nobody else's is in sight
        for each in os.listdir("/proc"):
            if each.isdigit() and int(each) not in (1, os.getpid(), os.getppid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(each), signal.SIGKILL)
    return status, used


def _passes(exercise: Exercise, run: Mapping[str, Any]) -> bool:
    try:
        return judge_trace(exercise, run["trace"], run["seed"]).passed
    except UNJUDGED:
        return False


# The child


def _child(
    job: Job, ground: Ground, exercise: Exercise, alone: bool, folder: str, sender: Sender
) -> NoReturn:
    try:
        _limit(job, folder)
        _work(job, ground, exercise, alone, folder, sender)
    finally:
        os._exit(1)  # no `atexit`, and no thread that is still at work, has a say


def _work(job: Job, ground: Ground, exercise: Exercise, alone: bool, folder: str, sender: Sender) -> None:
    notebook = Notebook(job.cells, exercise, alone=alone)
    guard = Guard(ground, notebook.names, folder)
    guard.stand()
    problems = _apart(notebook.run)
    spoiled = bool(guard.refused or guard.changed)
    sender.send(cells=problems, answered=exercise.answer in notebook.names, spoiled=spoiled)
    for seed in job.seeds[exercise.name] if exercise.answer in notebook.names else ():
        answer = notebook.names[exercise.answer]
        text = _apart(partial(_run, exercise, answer, seed))
        if guard.refused or guard.changed or type(text) is not str:
            break
        sender.send(seed=seed, trace=text)
    sender.send(refused=guard.refused, changed=guard.changed)


def _run(exercise: Exercise, answer: object, seed: int) -> str:
    return run_answer(exercise, answer, seed).to_json()


def _apart(work: Callable[[], T]) -> T | None:
    """Run `work` in a thread of its own, so that no frame above it leads to ours; None when it fails."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0] if found else None


def _limit(job: Job, folder: str) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.chdir(folder)
    tempfile.tempdir = folder
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, job.file),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_AS, job.memory),
    ]
    for limit, most in limits:
        resource.setrlimit(limit, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (job.cpu, job.cpu + 1))  # first a signal that tells why
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # in a user space of its own, root is nobody already
            _give_up_rights()
            resource.setrlimit(resource.RLIMIT_NPROC, (job.processes, job.processes))


def _give_up_rights() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


# What a notebook imports and a grader does not need


class _Nothing(ModuleType):
    """A module whose every function does nothing, in place of one that draws."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


def _warm_up() -> None:
    """Load what a simulation loads, so that no child has to and nothing is new afterwards."""
    for name in anyio.__all__ if hasattr(anyio, "__all__") else dir(anyio):
        getattr(anyio, name, None)

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(Faults().participant("nobody", anyio.sleep, 2, crashes=(Crash(at=1),)).run)
        with anyio.move_on_after(1):
            await anyio.sleep_forever()

    simulate(scenario)


def _import_ahead(cells: Iterable[Cell]) -> None:
    """Import what cells import of Python's own: once, and while nothing is out of reach yet."""
    for name in {name for cell in cells for name in cell.modules} - {"this"}:  # which speaks
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _nothing(*_: object, **__: object) -> None:
    """In place of a picture, or of the check that a notebook calls."""


def _without_pictures() -> None:
    for name in ("figures", "player", "demo", "controls", "still"):
        module = _Nothing(f"eip_ref.lab.{name}")
        sys.modules[module.__name__] = module
        setattr(lab, name, module)
    for name in IN_NOTEBOOKS:
        setattr(sys.modules[OURS], name, _nothing)
