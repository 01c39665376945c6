"""A lesson that is run again shows what is stored of it. Solutions are run again in kernels, by nbval."""

from __future__ import annotations

from pathlib import Path

import pytest

from eip_ref.autograder.notebooks import normalise, read
from tests.notebooks.lessons import LESSONS, marks, run


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=marks(path)) for path in LESSONS], ids=lambda path: path.stem
)
def test_a_lesson_shows_again_what_is_stored(path: Path) -> None:
    """Each cell the same words, tables and pictures, byte by byte."""
    stored, again = read(path), read(path)
    code = [cell for cell in again["cells"] if cell["cell_type"] == "code"]
    for cell, outputs in zip(code, run(path).outputs, strict=True):
        cell["outputs"] = outputs
    assert normalise(again)["cells"] == stored["cells"]
