"""Predictions in JupyterLab, beside what `test_lessons` asks of each: the keyboard goes on."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LabPage


def position(lab: LabPage, words: str) -> int:
    """The index of the first cell with these words."""
    return next(index for index, source in enumerate(lab.sources()) if words in source)


def goes_on(lab: LabPage, after: int) -> None:
    """Shift and Enter runs what follows this cell, without a click."""
    classes = [cell.get_attribute("class") or "" for cell in lab.page.locator(".jp-Notebook .jp-Cell").all()]
    code = next(n for n in range(after + 1, len(classes)) if "jp-CodeCell" in classes[n])
    for _ in range(code - after):
        lab.page.keyboard.press("Shift+Enter")
    expect(lab.cell(code).locator(".jp-InputPrompt").first).to_have_text(re.compile(r"\[\d+\]:"))


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_after_a_prediction_the_keyboard_goes_on(lab: LabPage, by: str) -> None:
    """Nobody has to find the notebook again."""
    lab.open("my/notebooks/00_start_here.ipynb")
    index = position(lab, 'predict("start_here/an_hour")')
    for before in (position(lab, "import anyio"), index - 1, index):
        lab.run_cell(before)
    prediction = lab.cell(index).locator(".eip-predict")
    first, commit = prediction.get_by_role("radio").first, prediction.get_by_role("button")
    if by == "mouse":
        first.click()
        commit.click()
    else:
        first.press("Space")
        commit.press("Enter")
    expect(prediction.get_by_text(re.compile("✓ Right|✗ Not so"))).to_have_count(1)
    goes_on(lab, index)
    assert lab.errors() == []
