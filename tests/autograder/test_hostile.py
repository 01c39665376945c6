"""Hostile answers gain nothing, take nothing from others, and leave the machine as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from eip_ref.autograder.grading import pictures
from eip_ref.autograder.isolation.isolated import grade_notebook
from eip_ref.autograder.isolation.sandbox import Isolation, Limits, best_isolation, weak_isolation
from eip_ref.autograder.marks import Mark
from eip_ref.autograder.registry import find, lesson_of

from .exercise_cases import ROOT
from .hostile import HOSTILE, Hostile
from .hostile.submissions import HONEST, answering, batches, in_bytes

pytestmark = pytest.mark.filterwarnings(  # of a scenario that was ended before all its tasks had begun
    "ignore:coroutine .* was never awaited:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
ROOMY = Limits(wall=60.0)
SHORT = Limits(wall=4.0)
MODES = {
    mode.words: mode for mode in (best_isolation(), weak_isolation())
}  # one mode where there is no bubblewrap
LEFT_BEHIND = Path("/tmp/left-behind")


@dataclass(frozen=True)
class Outcome:
    """What became of all attacks in one mode."""

    marks: dict[str, Mark]  #: by the words of the attack
    others: list[Mark]  #: of the exercises that were answered well
    strong: bool  #: true when they had a file system of their own


def _course() -> dict[Path, tuple[int, int]]:
    """Every file of the course, with its size and the time of its last change."""
    folders = [ROOT / name for name in ("exercises", "solutions")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def _homes() -> Iterator[str]:
    """The home folder of every process that tells it."""
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = each.read_bytes().split(b"\0")
        except OSError:
            continue
        yield from (os.fsdecode(part[5:]) for part in variables if part.startswith(b"HOME="))


def _attack(batch: dict[str, Hostile], isolation: Isolation) -> list[Mark]:
    """The marks of a notebook with these attacks, and with honest answers unless they use up its time."""
    found = lesson_of(find(next(iter(batch))))
    slow = any(hostile.slow for hostile in batch.values())
    names = {*batch} if slow else {*batch, *HONEST}
    found = replace(found, exercises=tuple(each for each in found.exercises if each.name in names))
    data = in_bytes(answering(found, {name: hostile.source(name) for name, hostile in batch.items()}))
    limits = SHORT if slow else ROOMY
    return list(grade_notebook(data, found, secret=b"hidden" * 6, isolation=isolation, limits=limits).marks)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for all that is temporary, so that one sees what is left there."""
    folder = tmp_path_factory.mktemp("machine")
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def before(temporary: Path) -> dict[Path, tuple[int, int]]:
    """The files of the course before any attack."""
    return _course()


@pytest.fixture(scope="module", params=MODES)
def outcome(request: pytest.FixtureRequest, temporary: Path, before: dict[Path, tuple[int, int]]) -> Outcome:
    """All attacks in one mode. The slow ones are each in a notebook of its own."""
    isolation = MODES[request.param]
    LEFT_BEHIND.unlink(missing_ok=True)
    slow = [batch for each in HOSTILE if each.slow for batch in batches([each])]
    shared = [*slow, *batches(each for each in HOSTILE if not each.slow)]
    with ThreadPoolExecutor(4) as pool:
        all_marks = list(pool.map(lambda batch: _attack(batch, isolation), shared))
    marked: dict[str, Mark] = {}
    others: list[Mark] = []
    for batch, marks in zip(shared, all_marks, strict=True):
        marked.update((batch[mark.exercise].words, mark) for mark in marks if mark.exercise in batch)
        others += [mark for mark in marks if mark.exercise not in batch]
    return Outcome(marked, others, isolation.strong)


def test_there_are_enough_attacks_each_with_a_name_of_its_own() -> None:
    """At least a hundred, and no two are called alike."""
    assert len({hostile.words for hostile in HOSTILE}) == len(HOSTILE) >= 100


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_an_attack_gains_nothing_and_its_verdict_has_a_name(hostile: Hostile, outcome: Outcome) -> None:
    """It scores what its answer is worth, which is nothing, and says why."""
    mark = outcome.marks[hostile.words]
    assert mark.points == 0, hostile.words
    assert mark.mistake, hostile.words
    assert mark.title
    assert 0 < len(mark.seen) < 5_000
    if mark.trace:
        assert json.loads(pictures.draw(mark.exercise, mark.trace)).keys()
    assert not hostile.becomes or mark.mistake in hostile.becomes, f"{mark.mistake}: {mark.seen}"


def test_the_other_answers_of_the_notebook_keep_their_marks(outcome: Outcome) -> None:
    """What one answer does is no matter for the others."""
    assert outcome.others
    assert [mark for mark in outcome.others if not mark.passed] == []


def test_the_machine_is_as_before(
    outcome: Outcome, temporary: Path, before: dict[Path, tuple[int, int]]
) -> None:
    """No file is left or changed, and no process lives on.

    In the weaker mode an answer may write where everybody may, as docs/threat_model.md says.
    """
    assert _course() == before
    assert not (outcome.strong and LEFT_BEHIND.exists())
    assert list(temporary.iterdir()) == []
    assert [home for home in _homes() if home.startswith(str(temporary))] == []
