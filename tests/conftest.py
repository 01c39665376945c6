"""For all tests: what must stay together on one worker, and whose progress they see."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

BROWSER = Path(__file__).parent / "browser"
HOMES = pytest.StashKey[dict[Path, str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `--dist loadgroup`: cells of one notebook share a kernel, and browser tests one JupyterLab."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.xdist_group(item.path.parent.name + "/" + item.path.stem))
        elif item.path.is_relative_to(BROWSER):
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each file starts with no progress made, and none of it touches that of the person who runs it."""
    homes = item.config.stash.setdefault(HOMES, {})
    if item.path not in homes:
        folder = tempfile.TemporaryDirectory(prefix="eip-")
        item.config.add_cleanup(folder.cleanup)
        homes[item.path] = folder.name
    os.environ["EIP_HOME"] = homes[item.path]
