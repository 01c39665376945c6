"""The zygote for one notebook: in the sandbox, and started anew when an answer has ended it."""

from __future__ import annotations

import atexit
import os
import pkgutil
from threading import Lock, current_thread

from ... import course
from ..process.start import NotStarted, Zygote
from ..registry import Outline
from .sandbox import PYTHON, Isolation, environment

__all__ = ["SandboxFailed", "Starter", "end_kept", "rooms"]


class SandboxFailed(RuntimeError):
    """The sandbox could not be started: a fault of this machine, not of the notebook."""

    def __init__(self, why: object) -> None:
        super().__init__(f"the sandbox failed; `eip doctor teacher` may say why. {why}")


def rooms(lesson: Outline | None) -> list[str]:
    """The modules that a zygote loads ahead: the package of a lesson, or all of the course."""
    packages = [lesson.package] if lesson else [each.name for each in pkgutil.iter_modules(course.__path__)]
    return [f"{course.__name__}.{each}" for each in packages]


class Starter:
    """Starts processes for the answers of one notebook, or check, through a zygote in the sandbox.

    Where no answer can reach the zygote, who comes next gets it as well. Elsewhere one may end or change it:
    so everybody gets a new one, and another one when it has been ended.
    """

    def __init__(self, lesson: Outline | None, isolation: Isolation) -> None:
        self._modules = rooms(lesson)
        # A kernel that is to end kills its group until that is empty; a grader is killed with its group.
        self._group = 0 if lesson is None else None
        self._isolation = isolation
        self._use = (*self._modules, isolation, current_thread())  # bubblewrap ends with its thread
        self._zygote: Zygote | None = None

    def begin(self) -> None:
        """Have a zygote at hand for who comes next, and do not wait for it. Raises `SandboxFailed`."""
        _kept.put(self._use, self._living())

    def zygote(self) -> Zygote:
        """A zygote that lives and is ready. Raises `SandboxFailed`."""
        self._zygote = self._living()
        try:
            self._zygote.await_ready()
        except NotStarted as error:
            self.close()
            raise SandboxFailed(error) from None
        if self._isolation.spaces not in (None, self._zygote.in_spaces):
            self.close()
            raise SandboxFailed(f"It is no more what it was: {self._isolation.words}.")
        return self._zygote

    def _living(self) -> Zygote:
        if not hasattr(os, "fork"):
            raise SandboxFailed("Answers run on Linux and macOS; on Windows, use WSL.")
        found, self._zygote = self._zygote or _kept.take(self._use), None
        if found is not None and found.lives():
            return found
        if found is not None:
            found.close()
        command = [*self._isolation.before, *PYTHON]
        return Zygote(command, environment("/tmp"), self._modules, process_group=self._group)

    def close(self) -> None:
        """End all that it has started, but for a zygote that no answer can reach. Idempotent."""
        zygote, self._zygote = self._zygote, None
        if zygote is not None and zygote.in_spaces and zygote.lives():
            _kept.put(self._use, zygote)
        elif zygote is not None:
            zygote.close()


class _Kept:
    """The zygote for who comes next. Threads may ask for it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._zygote: Zygote | None = None
        self._use: object = None

    def take(self, use: object) -> Zygote | None:
        """The one that is kept for this use, which is not kept any more; None when there is none."""
        with self._lock:
            if self._use != use:
                return None
            found, self._zygote = self._zygote, None
            return found

    def put(self, use: object, zygote: Zygote | None) -> None:
        """Keep this one, and end the one that was kept."""
        with self._lock:
            last, self._zygote, self._use = self._zygote, zygote, use
        if last is not None:
            last.close()


_kept = _Kept()


@atexit.register
def end_kept() -> None:
    """End the zygote that is kept, when nobody comes soon."""
    _kept.put(None, None)
