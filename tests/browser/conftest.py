"""Fixtures for tests in a real browser: one JupyterLab, one Chromium, and one page of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.lab import ROOT, LabPage, Server, jupyterlab

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PLACES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOW_TO_GET_ONE = (
    "no Chromium was found: install it (Debian, Ubuntu: apt-get install chromium), "
    "or set EIP_CHROMIUM to the path of Chromium, Chrome or Edge"
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a browser; without one the test is skipped, or fails under EIP_REQUIRE_BROWSER=1."""
    named = os.environ.get("EIP_CHROMIUM")
    path = next(filter(None, map(shutil.which, [named] if named else PLACES)), None)
    if path is None:
        if os.environ.get("EIP_REQUIRE_BROWSER") == "1":
            pytest.fail(HOW_TO_GET_ONE)
        pytest.skip(HOW_TO_GET_ONE)
    return path


@pytest.fixture(scope="session")
def server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on a copy of the course."""
    with jupyterlab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="package")  # not longer: while it lives, no other event loop can run in this thread
def browser(chromium: str) -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    flags = FLAGS + (["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else [])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def page(browser: Browser, server: Server) -> Iterator[LabPage]:
    """A page of JupyterLab, in which one notebook after the other is open."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield LabPage(context.new_page(), server)
    context.close()


@pytest.fixture
def lab(page: LabPage) -> Iterator[LabPage]:
    """JupyterLab for one notebook, which is closed in the end together with its kernel."""
    yield page
    page.leave()


@pytest.fixture(scope="module", params=LESSONS, ids=lambda path: path.stem)
def opened(page: LabPage, request: pytest.FixtureRequest) -> Iterator[LabPage]:
    """Each lesson of a learner's copy in turn, open and not yet run."""
    page.open(f"my/notebooks/{request.param.name}")
    yield page
    if folder := os.environ.get("EIP_SCREENSHOTS"):  # for people
        page.page.screenshot(path=Path(folder, f"{request.param.stem}.png"))
    page.leave()


@pytest.fixture(scope="module")
def lesson(opened: LabPage) -> LabPage:
    """The same lesson, run once from top to bottom for all that is tried on it."""
    opened.run_all()
    return opened
