"""A lesson or solution that is run again shows what is stored of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eip_ref.autograder.notebooks import normalise, read
from tests.notebooks.lessons import LESSONS, ROOT, run

SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_notebook_shows_again_what_is_stored(path: Path) -> None:
    """Each cell the same words, tables and pictures, byte by byte."""
    stored, again = read(path), read(path)
    code = [cell for cell in again["cells"] if cell["cell_type"] == "code"]
    for cell, outputs in zip(code, run(path).outputs, strict=True):
        cell["outputs"] = outputs
    assert normalise(again)["cells"] == stored["cells"]
