"""The process from which the learner's processes are forked: it has imported all and never runs a cell.

It is a script, started without `site`. Its first argument is the file of a socket. Through it come the two
files of each new process, and the numbers of those that shall end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NoReturn

STAND_IN = "eip_ref.autograder"
NOTEBOOK = ("board", "check", "doctor", "hint", "predict", "reset", "solution")
PICTURES = ("figures", "player", "demo", "controls", "still")
MIB = 2**20
NOBODY = 65534
LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: MIB,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_AS: 1024 * MIB,
    resource.RLIMIT_CPU: 20,
}


def main(file: int, modules: list[str]) -> None:
    """Import, then fork a process for each pair of files, until the socket is closed."""
    _stand_ins()
    from eip_ref.autograder.process import cell_run  # all that a process needs

    for name in modules:
        importlib.import_module(name)
    _warm_up()
    gc.collect()
    gc.freeze()  # what is here is not looked at, and so not copied, in every process
    control = socket.socket(fileno=file)
    control.send(b"ready")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for whoever judges
    folders: dict[int, str] = {}  # of the processes that have not been ended
    while True:
        words, files, _, _ = socket.recv_fds(control, 64, 2)
        if not words:
            break
        if words == b"start":
            folder = tempfile.mkdtemp(prefix="answer-")  # a new name: a number comes again one day
            child = os.fork()
            if child == 0:
                control.close()
                _live(cell_run.run, folder, *files)
            folders[child] = folder
            control.send(str(child).encode())
            for each in files:
                os.close(each)
        else:
            _end(int(words), folders)
    for child in [*folders]:
        _end(child, folders)


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


def _end(child: int, folders: dict[int, str]) -> None:
    """End a process, once. It is not waited for before, so its number cannot be another's."""
    folder = folders.pop(child, None)
    if folder is None:
        return
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _live(run: Any, folder: str, reads: int, writes: int) -> NoReturn:
    """The life of a process of the learner's."""
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        os.chmod(folder, 0o777)
        os.chdir(folder)
        tempfile.tempdir = folder
        for limit, most in LIMITS.items():
            resource.setrlimit(limit, (most, most))
        run(reads, writes, _give_up_rights)
    finally:
        os._exit(0)


def _give_up_rights() -> None:
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # in a user space of its own, root is nobody already
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)


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
    for name in ("matplotlib", "matplotlib.artist"):
        sys.modules[name] = _Nothing(name)
    for name in names:
        module = sys.modules[f"eip_ref.lab.{name}"] = _Nothing(name)
        if "." not in name:
            setattr(lab, name, module)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
