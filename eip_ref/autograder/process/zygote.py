"""The process from which the learner's processes are forked: it has imported all and never runs a cell.

It is a script, started without `site`. Its first argument is the file of a socket. Through it come the two
files of each new process, and the numbers of those that shall end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from eip_ref.autograder.process.cage import Cage

STAND_IN = "eip_ref.autograder"
NOTEBOOK = ("board", "check", "doctor", "hint", "predict", "reset", "solution")
AHEAD = (
    *("calendar", "cmath", "csv", "decimal", "fractions", "pprint"),
    *("sched", "secrets", "statistics", "timeit"),
)
"""Modules that answers import besides those of the course: later they may not be readable any more.

No cell says what is imported here, since here it would run with more rights than a cell has.
"""
PICTURES = ("figures", "player", "demo")


def main(file: int, modules: list[str]) -> None:
    """Import, then fork a process for each pair of files, until the socket is closed."""
    _stand_ins()
    from eip_ref.autograder.process.cage import best_cage

    cage = best_cage()
    from eip_ref.autograder.process import cell_run  # all that a process needs
    from eip_ref.autograder.process.wire import FAILED, READY, READY_IN_SPACES, WORD

    for name in (*modules, *AHEAD):
        importlib.import_module(name)
    _warm_up()
    gc.collect()
    gc.freeze()  # what is here is not looked at, and so not copied, in every process
    control = socket.socket(fileno=file)
    control.send((READY_IN_SPACES if cage.spaces else READY).ljust(WORD))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for whoever judges
    with contextlib.suppress(OSError):  # whoever judges may be gone without a word
        while (asked := socket.recv_fds(control, WORD, 2, socket.MSG_WAITALL))[0]:
            words, files, _, _ = asked
            if words.rstrip() == b"start":
                number = _start(cage, control, files, cell_run.run)
                control.send((str(number).encode() if number else FAILED).ljust(WORD))
            else:
                cage.end(int(words))
    cage.end_all()


def _start(cage: Cage, control: socket.socket, files: list[int], run: Any) -> int | None:
    """Start a process of the learner's between two files. Returns its number, None when there is none."""

    def live(give_up_rights: Callable[[], None]) -> None:
        control.close()
        run(*files, give_up_rights)

    try:
        return cage.fork(live)
    except OSError:
        return None
    finally:
        for each in files:
            os.close(each)


def _warm_up() -> None:
    """Load what is loaded when it is first used: later it may not be readable any more."""
    import anyio

    from eip_ref.lab import Crash, Faults, simulate

    for name in dir(anyio):
        getattr(anyio, name, None)

    async def scenario() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(Faults().participant("nobody", anyio.sleep, 2, crashes=(Crash(at=1),)).run)
        with anyio.move_on_after(1):
            await anyio.sleep_forever()

    simulate(scenario)


class _Nothing(ModuleType):
    """A module that gives something for every name, and is it: called or asked, it gives itself."""

    __path__: ClassVar[list[str]] = []  # type: ignore[misc]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> Any:
        return self


def _nothing(*_: object, **__: object) -> None:
    """In place of the check that a notebook calls."""


def _stand_ins() -> None:
    """Make stand-ins for what a notebook imports and an answer does not need: it takes long to load."""
    package = ModuleType(STAND_IN)
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules[STAND_IN] = package
    for name in NOTEBOOK:
        setattr(package, name, _nothing)
    from eip_ref import lab

    names = [
        *PICTURES,
        *(f"figures.{each.stem}" for each in Path(lab.__file__).parent.glob("figures/[a-z]*.py")),
    ]
    sys.modules["matplotlib"] = _Nothing("matplotlib")  # or a cell that imports it costs each process seconds
    for name in names:
        module = sys.modules[f"eip_ref.lab.{name}"] = _Nothing(name)
        if "." not in name:
            setattr(lab, name, module)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
