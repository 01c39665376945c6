"""For all tests: where an async test runs, what must stay together on one worker, whose progress they see."""

from __future__ import annotations

import inspect
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadfile import LoadFileScheduling  # type: ignore[import-untyped]

from tests.backends import SCHEDULERS, on_virtual_asyncio

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
    """The longest begins first, so that no worker waits for the other."""
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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An async test runs on every scheduler, or only in virtual time when it is marked so."""
    if inspect.iscoroutinefunction(metafunc.function):
        only_one = metafunc.definition.get_closest_marker("virtual_time_only")
        metafunc.fixturenames.append("scheduler")
        metafunc.parametrize("scheduler", [on_virtual_asyncio] if only_one else SCHEDULERS)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test on its scheduler."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    scheduler: Any = pyfuncitem.callspec.params["scheduler"]
    scheduler(lambda: pyfuncitem.obj(**arguments))
    return True
