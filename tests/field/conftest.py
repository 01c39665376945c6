"""Starts the servers that the promises need, one of a kind for all of them, and stores the table."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import pytest

from eip_ref.field import table
from eip_ref.field.servers import Server

from .systems import SYSTEMS
from .verdicts import System

PATTERNS = {  #: by the module of its promises, in the order of the page
    "test_queues": "queue",
    "test_channels": "publish–subscribe",
    "test_durable_subscriptions": "durable subscription",
    "test_requests": "request–reply",
    "test_event_stores": "event store",
    "test_logs": "log",
    "test_gateways": "API gateway",
    "test_breakers": "circuit breaker",
}


PROMISES = pytest.StashKey[dict[str, dict[str, str]]]()  #: all of those whose files are run, by pattern


class Servers:
    """The running servers, each started when it is first needed."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self._running: dict[type[Server], Server] = {}

    def running(self, kind: type[Server]) -> Server:
        if kind not in self._running:
            self._running[kind] = self.stack.enter_context(kind.running())
        return self._running[kind]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    with servers.stack:
        yield servers


@pytest.fixture
def server(system: System, servers: Servers) -> Server:
    if missing := system.server.missing():
        pytest.skip(missing)
    return servers.running(system.server)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A connection that nobody has closed is told of at the test that opened it, not at a later one."""
    yield
    gc.collect()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each promise is asked of every system of its pattern."""
    if "system" in metafunc.fixturenames:
        pattern = _pattern(metafunc.module.__name__)
        systems = [system for system in SYSTEMS if system.pattern == pattern]
        says = (metafunc.function.__doc__ or "").partition("\n")[0]
        metafunc.config.stash.setdefault(PROMISES, {}).setdefault(pattern, {})[metafunc.function.__name__] = (
            says
        )
        metafunc.parametrize("system", systems, ids=[system.id for system in systems])


def _pattern(module: str) -> str:
    return PATTERNS[module.rpartition(".")[2]]


# The table


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--table", action="store_true", help="store what was found; cells that were not run stay"
    )
    parser.addoption("--runs", action="store_true", help="store the runs of lessons; then `make notebooks`")


class Cells:
    """The cells that this run has found."""

    def __init__(self, promises: dict[str, dict[str, str]], items: list[pytest.Function]) -> None:
        self._promises = promises
        self._places = {item.nodeid: _place(item) for item in items if "system" in item.fixturenames}
        self._found: dict[str, table.Cell] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        verdict = dict(report.user_properties).get("verdict")
        if report.when == "call" and report.passed and verdict is not None:
            found, _, words = str(verdict).partition("|")
            self._found[report.nodeid] = table.Cell(found, words, report.nodeid)

    def pytest_sessionfinish(self) -> None:
        old = {each.pattern: each for each in table.load()}
        table.store([self._table(pattern, old.get(pattern)) for pattern in PATTERNS.values()])

    def _table(self, pattern: str, old: table.Table | None) -> table.Table:
        systems = {system.id: _label(system, old) for system in SYSTEMS if system.pattern == pattern}
        promises = self._promises.get(pattern) or (dict(old.promises) if old else {})
        cells = dict(old.cells) if old else {}
        cells.update(
            ((self._places[id][1], self._places[id][2]), cell)
            for id, cell in self._found.items()
            if self._places[id][0] == pattern
        )
        known = {place: cell for place, cell in cells.items() if place[0] in systems and place[1] in promises}
        return table.Table(pattern, systems, promises, dict(sorted(known.items())))


def _place(item: pytest.Function) -> tuple[str, str, str]:
    """Pattern, system and promise."""
    system = cast(System, item.callspec.params["system"])
    return _pattern(item.module.__name__), system.id, item.originalname


def _label(system: System, old: table.Table | None) -> str:
    if system.server.missing():
        return old.systems.get(system.id, system.label) if old else system.label
    return f"{system.label} {system.server.version_used()}"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the garbage collector all modules, and find a place for what `--table` stores."""
    gc.freeze()
    if session.config.getoption("table"):
        items = [item for item in session.items if isinstance(item, pytest.Function)]
        session.config.pluginmanager.register(Cells(session.config.stash.get(PROMISES, {}), items), "cells")
