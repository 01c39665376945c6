"""A promise: an async function of a `Site`, which becomes one test for each system of its pattern.

A promise holds when it ends, and is not kept when one of its assertions fails, or when the system has
nothing to keep it with. Any other error is a fault of the test or of the adapter, whatever the verdict.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from eip_ref.field import Unsupported
from eip_ref.field.servers import NotOurs, Server
from eip_ref.trace import recording

from .verdicts import Found, System, Verdict

__all__ = ["SOON", "Site", "promise"]

SOON = 10.0  #: seconds within which a busy machine does what it is to do at once
LIMIT = 120.0  #: seconds for one promise
TRIES = 3  #: of one that a system does not keep: it may win a race against its own delay


class Site:
    """Where a promise is asked: one system, its running server, and names that no other test uses."""

    def __init__(self, system: System, server: Server, settings: dict[str, Any]) -> None:
        self.system, self.server = system, server
        self.unit = system.unit  #: seconds of a short lease
        self.settings = settings  #: in place of those that the promise would have chosen
        self._suffix = uuid4().hex[:8]

    def name(self, name: str = "orders") -> str:
        return f"{name}-{self._suffix}"

    def open(self, name: str = "orders", **settings: Any) -> AbstractAsyncContextManager[Any]:
        """The adapter; with the same name again, another one to the same queue, by another connection."""
        return self.system.open(self.server, self.name(name), **{**settings, **self.settings})

    async def restart(self) -> None:
        """SIGKILL to the server, then start it on the same data."""
        await anyio.to_thread.run_sync(self.server.kill)
        await anyio.to_thread.run_sync(self.server.start)


Check = Callable[[Site], Awaitable[None]]


def promise(check: Check) -> Callable[[System, Server, pytest.FixtureRequest], None]:
    """The test of this promise, which runs it as the system's verdict says."""

    def test(system: System, server: Server, request: pytest.FixtureRequest) -> None:
        verdict = system.verdicts.get(check.__name__, Verdict())
        request.node.user_properties.append(("verdict", f"{verdict.found}|{verdict.words}"))
        if verdict.found is Found.NOT_APPLICABLE:
            return
        tries = TRIES if verdict.found is Found.NOT else 1
        sites = (Site(system, server, dict(verdict.settings)) for _ in range(tries))
        broken = next(filter(None, (_run_here(check, site) for site in sites)), "")
        if verdict.found is Found.NOT:
            assert broken, f"{system.label} keeps this now: give it another verdict"
            return
        assert not broken, f"{system.label} does not keep it: {broken}"
        if verdict.without is not None:
            broken = _run_here(check, Site(system, server, dict(verdict.without)))
            assert broken, f"{system.label} keeps it without the setting: {verdict.words}"

    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(test, name, getattr(check, name))
    test.__dict__["__wrapped__"] = check  # so that pytest names the line of the promise
    test.__dict__["__signature__"] = inspect.signature(test, follow_wrapped=False)
    return test


def _run_here(check: Check, site: Site) -> str:
    """As `_run`; not run when it would have to kill a server that others use."""
    refused: BaseException
    try:
        return _run(check, site)
    except* NotOurs as group:
        refused = group
    while isinstance(refused, BaseExceptionGroup):
        refused = refused.exceptions[0]
    pytest.skip(f"not run: {refused}")


def _run(check: Check, site: Site) -> str:
    """Run the promise in real time; return "" when it was kept, or what was seen instead."""

    async def main() -> str:
        try:
            with recording(), anyio.fail_after(LIMIT):
                await check(site)
        except (AssertionError, Unsupported) as error:
            return str(error) or type(error).__name__
        return ""

    return anyio.run(main, backend="asyncio")
