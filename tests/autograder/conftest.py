"""A course with one toy lesson, so that the framework is tested without the real exercises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from eip_ref.autograder import derive, registry
from eip_ref.autograder.learner_copy import edition_in, plan
from eip_ref.autograder.notebooks import write
from eip_ref.autograder.process.table import TABLE

from .answers import SOLUTION, notebook

HERE = Path(__file__).parent
TOYS = HERE / "toys"
GRADER = (
    "test_grading",
    "test_hostile",
    "test_isolated",
    "test_process",
    "test_teaching_files",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the grader's tests where it cannot run: it forks, sets limits, and ends processes by signals."""
    if sys.platform == "win32":
        skip = pytest.mark.skip(reason="Windows cannot run the grader, see docs/teachers.md")
        for item in items:
            if item.path.parent == HERE and item.path.name.startswith(GRADER):
                item.add_marker(skip)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[registry.Lesson]:
    """The lesson of `toys/toy.py` is the only one that has exercises."""
    package = ModuleType(registry.PACKAGE)
    package.__path__ = [str(TOYS)]
    monkeypatch.setitem(sys.modules, registry.PACKAGE, package)
    monkeypatch.setitem(TABLE, "course.toy.Box", "take ack")
    yield registry.lesson("toy")
    sys.modules.pop(f"{registry.PACKAGE}.toy", None)


@pytest.fixture
def course(toys: registry.Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a course with the toy lesson's notebooks; a learner works in their copy, `my/`."""
    folder = tmp_path / "course"
    (folder / "solutions").mkdir(parents=True)
    (folder / "exercises").mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "eip-ref"\n')
    write(notebook(*SOLUTION), folder / "solutions" / toys.notebook)
    assert derive.update(folder) == 0
    monkeypatch.setenv("EIP_HOME", str(folder))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))  # whatever else is open here
    plan(edition_in(folder), whole=True, source="the course").apply()
    monkeypatch.chdir(folder / "my" / "exercises")
    return folder
