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

    Says in one line what to do when its port is taken, a library is missing, or its files are not its own.
    """
    try:
        application = import_module(f"{__name__}.{APPS[name]}.serve")
    except ModuleNotFoundError as error:
        print(
            f"{error.name} is missing; install it with: python -m pip install -e '.[field]'", file=sys.stderr
        )
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as after Ctrl-C: clean up, and say so
    try:
        anyio.run(partial(application.serve, port, **settings))
    except KeyboardInterrupt:
        pass
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in PORT_REFUSED:
            raise
        print(f"port {port} is {PORT_REFUSED[error.errno]}; choose another one with --port", file=sys.stderr)
        return 1
    print("stopped")
    return 0
