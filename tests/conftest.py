"""For all tests: where an async test runs, what must stay together on one worker, whose progress they see."""

from __future__ import annotations

import atexit
import gc
import inspect
import os
import re
import signal
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler.loadfile import LoadFileScheduling  # type: ignore[import-untyped]

from tests.backends import SCHEDULERS, on_trio, on_virtual_asyncio

BROWSER, NOTEBOOKS, SEEDED = "tests/browser/", "tests/notebooks/", "tests/seeded/"
LESSON = re.compile(NOTEBOOKS + r".*\[(?:\w+/)?(\w+)")  #: a test of one lesson, by the name of its notebook
LESSONS = "tests/browser/test_lessons.py"
SECOND_HALF = "06b"  #: the lessons from here on take as long in a browser as all else there
HOMES = pytest.StashKey[dict[Path, str]]()

settings.register_profile("promises", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("promises")  # never judged by the clock of a machine that may be busy


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add two ways to run less, or more, than all tests once."""
    options = parser.getgroup("eip_ref")
    options.addoption("--quick", action="store_true", help="run nothing on trio, and no property")
    options.addoption("--rounds", type=int, default=0, help="run async tests alone, so often, shuffled")
    options.addoption("--order", type=int, default=0, help="the seed of that order")


def pytest_configure() -> None:
    """Show what is stored of real systems, as the notebooks do; hear Ctrl-C, and end so when told to end.

    A script that has started the tests in the background ignores it. Whoever is ended otherwise leaves the
    servers behind that it has started.
    """
    os.environ["EIP_FIELD"] = "stored"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """A file to a worker; those of a browser to two, which have a JupyterLab each."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(SEEDED):
            return nodeid.partition("[")[2]  # a run, which is played once for all that is asked of it
        if lesson := LESSON.match(nodeid):
            return NOTEBOOKS + lesson[1]  # which is run once for all that is asked of it
        if nodeid.startswith(BROWSER):
            later = nodeid.startswith(LESSONS) and nodeid.partition("[")[2] >= SECOND_HALF
            return f"{BROWSER} {later}"
        return str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Under `-n`, whatever `--dist` says."""
    config.option.loadscopereorder = False
    return None if config.getoption("rounds") else Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest begins first and the smallest parts come last, so that no worker waits for the other."""
    items.sort(key=lambda item: item.nodeid.startswith(SEEDED) - item.nodeid.startswith(BROWSER))
    if config.getoption("quick"):
        items[:] = [item for item in items if _scheduler(item) is not on_trio and not _property(item)]
    if config.getoption("rounds"):
        items[:] = [item for item in items if _scheduler(item)]
        Random(config.getoption("order")).shuffle(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """On a worker, spare the garbage collector ten thousand tests and all modules, which stay anyhow."""
    _spare(session.config)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After a file, spare it what stays of that file as well: who collects often pays for all there is."""
    if nextitem is None or nextitem.path != item.path:
        _spare(item.config)


def _spare(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        gc.collect()
        gc.freeze()


def _property(item: pytest.Item) -> bool:
    """True for a test that plays hundreds of examples."""
    return getattr(getattr(item, "obj", None), "is_hypothesis_test", False)


def _scheduler(item: pytest.Item) -> Any:
    """The scheduler that a test runs on, as `scheduler` or as `play`; None for one that needs none."""
    arguments = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return next((scheduler for scheduler in SCHEDULERS for each in arguments if each is scheduler), None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Each file starts with no progress made, and none of it touches that of the person who runs it."""
    homes = item.config.stash.setdefault(HOMES, {})
    if item.path not in homes:
        folder = tempfile.TemporaryDirectory(prefix="eip-")
        atexit.register(folder.cleanup)  # not pytest's own cleanup, which a worker may not come to
        homes[item.path] = folder.name
    os.environ["EIP_HOME"] = homes[item.path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An async test runs on every scheduler, or only in virtual time when it is marked so; in each round."""
    if inspect.iscoroutinefunction(metafunc.function):
        only_one = metafunc.definition.get_closest_marker("virtual_time_only")
        metafunc.fixturenames.append("scheduler")
        metafunc.parametrize("scheduler", [on_virtual_asyncio] if only_one else SCHEDULERS)
    if rounds := metafunc.config.getoption("rounds"):
        metafunc.fixturenames.append("round")
        metafunc.parametrize("round", range(rounds))


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
