"""Hostile submissions gain nothing, take nothing from others, and leave the machine as it was.

All of them are graded in the best way that there is here; those whose end depends on the way in all others:
by root and by a user, with bubblewrap, with namespaces alone and with limits alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder.grading import pictures
from eip_ref.autograder.isolation.sandbox import best_isolation
from eip_ref.autograder.registry import find

from .exercise_cases import ROOT, model_source
from .hostile import HOSTILE, Hostile, outside, protocol
from .hostile.run import mode_of
from .hostile.submissions import CHOOSE

ACCOUNTS = ("root", "a user") if os.name == "posix" and os.geteuid() == 0 else ("a user",)
MODES = ("bubblewrap", "namespaces", "limits")
WAYS = [f"{account}, {mode}" for account in ACCOUNTS for mode in MODES]
LEFT_BEHIND = Path("/tmp/left-behind")


BEST = f"{ACCOUNTS[0]}, {mode_of(best_isolation().words)}"
CASES = [
    *((BEST, each) for each in HOSTILE if each.elsewhere is None or each.depends_on(BEST)),
    *((way, each) for way in WAYS if way != BEST for each in HOSTILE if each.depends_on(way)),
]


@dataclass(frozen=True)
class Graded:
    """What became of all submissions, and what was left on the machine."""

    outcomes: dict[str, dict[str, Any]]  #: by the way, as `hostile/run.py` tells them
    before: dict[Path, tuple[int, int]]
    folder: Path
    left: list[Path]  #: before the weakest mode


def _course() -> dict[Path, tuple[int, int]]:
    """Every file of the course, with its size and the time of its last change."""
    folders = [ROOT / name for name in ("exercises", "solutions", "eip_ref")]
    paths = [path for folder in folders for path in folder.rglob("*.*") if path.suffix != ".pyc"]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()}


def _homes() -> Iterator[str]:
    """The home folder of every process that tells it."""
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = each.read_bytes().split(b"\0")
        except OSError:
            continue
        yield from (os.fsdecode(part[5:]) for part in variables if part.startswith(b"HOME="))


def _graded(way: str, chosen: Sequence[Hostile], folder: str) -> dict[str, Any]:
    """The marks of submissions, from a process that grades them in this way."""
    path = os.environ["PATH"] if way.endswith("bubblewrap") else "/nothing"
    asked = {"way": way, "words": [each.words for each in chosen]}
    ran = subprocess.run(
        [sys.executable, "-m", f"{__package__}.hostile.run"],
        input=json.dumps(asked),
        env={**os.environ, "PATH": path, "TMPDIR": folder, "EIP_SECRET": "of the grader"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(ran.stdout)) if ran.returncode == 0 else {}


def _left_behind() -> list[Path]:
    return [path for folder in ("/tmp", "/dev/shm") for path in Path(folder).glob("left-behind*")]


def _in_ways(ways: Sequence[str], folder: str) -> dict[str, dict[str, Any]]:
    """What is told of these ways, two processes at a time; the best way is parted between two."""
    work = [
        (way, [each for on, each in CASES if on == way][part :: 1 + (way == BEST)])
        for way in ways
        for part in range(1 + (way == BEST))
    ]
    outcomes: dict[str, dict[str, Any]] = {way: {"isolation": "", "marks": {}} for way in ways}
    with ThreadPoolExecutor(2) as pool:
        for (way, _), told in zip(
            work, pool.map(lambda each: _graded(each[0], each[1], folder), work), strict=True
        ):
            assert told, f"grading itself ended: {way}"
            outcomes[way]["isolation"] = told["isolation"]
            outcomes[way]["marks"] |= told["marks"]
    return outcomes


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for all that is temporary, so that one sees what is left there; any account may use it."""
    made = Path(tempfile.mkdtemp(prefix="eip-hostile-"))
    made.chmod(0o777)
    (made / "neighbour.py").write_text(model_source(find(CHOOSE)))
    (made / "neighbour.py").chmod(0o644)
    yield made
    shutil.rmtree(made)
    for path in _left_behind():
        path.unlink()


@pytest.fixture(scope="module")
def graded(folder: Path) -> Graded:
    """Everything, graded; the weakest mode last, since it may leave something."""
    before = _course()
    for path in _left_behind():
        path.unlink()
    outcomes = _in_ways([way for way in WAYS if "limits" not in way], str(folder))
    left = _left_behind()
    outcomes |= _in_ways([way for way in WAYS if "limits" in way], str(folder))
    return Graded(outcomes, before, folder, left)


def test_there_are_enough_submissions_each_with_a_name_of_its_own() -> None:
    """And enough of each kind."""
    assert len({each.words for each in HOSTILE}) == len(HOSTILE) >= 120
    assert len(protocol.ATTACKS) >= 40
    assert sum(each.harms for each in HOSTILE) >= 10
    assert len(outside.ATTACKS) >= 10


def test_each_says_why_it_gets_what_it_gets() -> None:
    """In a few words. A wrong answer has a verdict with a name; only a right one passes."""
    for each in HOSTILE:
        assert each.why, each.words
        assert bool(each.verdict) != each.right, each.words


@pytest.mark.parametrize(("way", "hostile"), CASES, ids=str)
def test_a_submission_gets_the_verdict_that_it_deserves(way: str, hostile: Hostile, graded: Graded) -> None:
    """A wrong answer scores nothing, whatever it tries; one that is right, and neighbours, score all."""
    told = _told(way, hostile, graded)
    mark, expected = told["mark"], hostile.verdict_in(way)
    assert mark["mistake"] == expected, mark["seen"]
    assert mark["points"] == (0 if expected else mark["most"])
    assert bool(mark["title"]) == bool(expected)
    assert len(mark["seen"]) < 5_000
    assert told["others"]
    assert not any(told["others"]), "an honest answer lost its mark"


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_what_a_submission_leaves_can_be_drawn(hostile: Hostile, graded: Graded) -> None:
    """Whoever draws is outside of the sandbox too."""
    mark = _told(BEST, hostile, graded)["mark"]
    if mark["trace"]:
        assert json.loads(pictures.draw(mark["exercise"], mark["trace"])).keys()


def test_the_machine_is_as_before(graded: Graded) -> None:
    """No file is left or changed, and no process lives on."""
    assert _course() == graded.before
    assert graded.left == []
    assert [path.name for path in graded.folder.iterdir()] == ["neighbour.py"]
    assert [home for home in _homes() if home.startswith(str(graded.folder))] == []


def test_with_limits_alone_files_stay_where_the_account_may_write(graded: Graded) -> None:
    """As docs/threat_model.md says. A process and its own folder are gone all the same, see above."""
    assert LEFT_BEHIND in _left_behind()


def _told(way: str, hostile: Hostile, graded: Graded) -> dict[str, Any]:
    """What is told of a submission; skips where this machine does not have the way."""
    outcome = graded.outcomes[way]
    if mode_of(outcome["isolation"]) != way.partition(", ")[2]:
        pytest.skip(f"this machine has no such way: {outcome['isolation']}")
    return dict(outcome["marks"][hostile.words])
