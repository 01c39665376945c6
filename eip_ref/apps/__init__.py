"""Applications: patterns at work on one machine, for lessons and workshops. `eip app NAME` starts one.

An application is a package here with a module `serve`, whose `running(port, …)` runs it while it is open,
and gives its URL and what to say about it.
"""

from __future__ import annotations

import errno
import signal
import sys
from contextlib import AbstractAsyncContextManager, ExitStack
from importlib import import_module
from typing import Any, Self

import anyio
from anyio.from_thread import start_blocking_portal

__all__ = ["APPS", "CannotStart", "Opened", "start"]

PORT_REFUSED = {errno.EADDRINUSE: "taken", errno.EACCES: "not for everybody"}
APPS = {"dashboard": "shop_dashboard", "gateway": "gateway_shop"}


class CannotStart(Exception):
    """The application has not begun; the words say what to do."""


def _running(name: str, port: int, settings: dict[str, Any]) -> AbstractAsyncContextManager[tuple[str, str]]:
    """The application, to be entered: its URL, and what to say about it."""
    running = import_module(f"{__name__}.{APPS[name]}.serve").running
    return running(port, **settings)  # type: ignore[no-any-return]


class Opened:
    """An application that runs beside a notebook: opened in one cell, asked in others, closed in the last.

    It has a thread and an event loop of its own, so a cell may wait for its answers in any way. Its
    settings are those of `running` in its module `serve`. Raises ValueError for a name that is none, and
    what starting it raises: `CannotStart`, ModuleNotFoundError without the extra `course`, OSError for a
    port that is taken.
    """

    def __init__(self, name: str, port: int = 0, **settings: Any) -> None:
        if name not in APPS:
            raise ValueError(f"{name!r} is no application; there are {', '.join(APPS)}")
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            application = portal.wrap_async_context_manager(_running(name, port, settings))
            self.url, self.says = stack.enter_context(application)
            self._open = stack.pop_all()

    def close(self) -> None:
        """Stop it, and wait until it has stopped. Idempotent."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(name: str, port: int, **settings: Any) -> int:
    """Run an application with its settings on loopback until Ctrl-C or SIGTERM; the answer is the exit code.

    Says in one line what to do when its port is none or taken, a library is missing, or its files are not
    its own.
    """
    if not 0 <= port < 65_536:
        return _fail(f"{port} is no port; choose one from 1 to 65535 with --port, or 0 for a free one")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # stop as after Ctrl-C
    try:
        anyio.run(_until_stopped, name, port, settings)
    except KeyboardInterrupt:
        pass
    except CannotStart as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f'{error.name} is missing; install it with: python -m pip install -e ".[course]"')
    except OSError as error:
        if error.errno not in PORT_REFUSED:
            raise
        return _fail(f"port {port} is {PORT_REFUSED[error.errno]}; choose another one with --port")
    print("stopped")
    return 0


async def _until_stopped(name: str, port: int, settings: dict[str, Any]) -> None:
    async with _running(name, port, settings) as (_, says):
        print(f"{says}\nCtrl-C stops it.", flush=True)
        await anyio.sleep_forever()


def _fail(words: str) -> int:
    print(words, file=sys.stderr)
    return 1
