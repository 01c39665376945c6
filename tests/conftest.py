"""For all tests: what must stay together on one worker, and whose progress they see."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling  # type: ignore[import-untyped]

BROWSER = "tests/browser/"
HOMES = pytest.StashKey[dict[Path, str]]()


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """A file to a worker: cells of a notebook share a kernel. All browser tests share one JupyterLab."""

    def _split_scope(self, nodeid: str) -> str:
        return BROWSER if nodeid.startswith(BROWSER) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Under `-n`, whatever `--dist` says."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker waits for the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each file starts with no progress made, and none of it touches that of the person who runs it."""
    homes = item.config.stash.setdefault(HOMES, {})
    if item.path not in homes:
        folder = tempfile.TemporaryDirectory(prefix="eip-")
        item.config.add_cleanup(folder.cleanup)
        homes[item.path] = folder.name
    os.environ["EIP_HOME"] = homes[item.path]
