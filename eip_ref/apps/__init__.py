"""Applications: patterns at work on one machine, for lessons and workshops. `eip app NAME` starts one.

An application is a package here with a module `serve`, whose `serve(port, …)` runs it until it is cancelled.
"""

from __future__ import annotations

import errno
import signal
import sys
from functools import partial
from importlib import import_module
from typing import Any

import anyio

__all__ = ["APPS", "CannotStart", "start"]

PORT_REFUSED = {errno.EADDRINUSE: "taken", errno.EACCES: "not for everybody"}
APPS = {"dashboard": "shop_dashboard", "gateway": "gateway_shop"}


class CannotStart(Exception):
    """The application has not begun; the words say what to do."""


def start(name: str, port: int, **settings: Any) -> int:
    """Run an application with its settings on loopback until Ctrl-C or SIGTERM; the answer is the exit code.

    Says in one line what to do when its port is none or taken, a library is missing, or its files are not
    its own.
    """
    if not 0 <= port < 65_536:
        return _fail(f"{port} is no port; choose one from 1 to 65535 with --port, or 0 for a free one")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # stop as after Ctrl-C
    try:
        application = import_module(f"{__name__}.{APPS[name]}.serve")
        anyio.run(partial(application.serve, port, **settings))
    except KeyboardInterrupt:
        pass
    except CannotStart as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is missing; install it with: python -m pip install -e '.[field]'")
    except OSError as error:
        if error.errno not in PORT_REFUSED:
            raise
        return _fail(f"port {port} is {PORT_REFUSED[error.errno]}; choose another one with --port")
    print("stopped")
    return 0


def _fail(words: str) -> int:
    print(words, file=sys.stderr)
    return 1
