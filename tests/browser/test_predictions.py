"""Predictions in JupyterLab: chosen first, then told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.lab import ROOT, LabPage

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_each_prediction_is_chosen_by_keyboard_and_only_then_told(lab: LabPage, lesson: Path) -> None:
    """The answer is not on the page before."""
    lab.open(f"notebooks/{lesson.name}")
    lab.run_all()
    for prediction in lab.page.locator(".eip-predict").all():
        verdict = prediction.get_by_text(re.compile("✓ Right|✗ Not so"))
        expect(verdict).to_have_count(0)
        prediction.get_by_role("radio").first.press("Space")
        prediction.get_by_role("button", name="This is my prediction").press("Enter")
        expect(verdict).to_have_count(1)
    assert lab.errors() == []
