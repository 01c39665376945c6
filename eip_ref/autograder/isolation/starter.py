"""The zygote for one notebook: in the sandbox, and started anew when an answer has ended it."""

from __future__ import annotations

import atexit
import os
import tempfile
from threading import Lock, current_thread

from ..process.start import NotStarted, Zygote
from ..registry import Lesson
from .sandbox import PYTHON, Isolation, environment

__all__ = ["SandboxFailed", "Starter", "end_kept"]


class SandboxFailed(RuntimeError):
    """The sandbox could not be started: a fault of this machine, not of the notebook."""


class Starter:
    """Starts processes for the answers of one notebook, through a zygote in the sandbox.

    Where no answer can reach the zygote, the next notebook of the lesson gets it as well. Elsewhere one may
    end or change it: so each notebook gets a new one, and another one when it has been ended.
    """

    def __init__(self, lesson: Lesson, isolation: Isolation) -> None:
        self._lesson, self._isolation = lesson, isolation
        self._use = lesson.package, isolation, current_thread()  # bubblewrap ends with the thread it is from
        self._zygote = _kept.take(self._use)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def zygote(self) -> Zygote:
        """A zygote that lives. Raises `SandboxFailed`."""
        if self._zygote is None or not self._zygote.lives():
            self._end()
            self._zygote = self._started()
        return self._zygote

    def _started(self) -> Zygote:
        if not hasattr(os, "fork"):
            raise SandboxFailed("notebooks are graded on Linux and macOS; on Windows, use WSL")
        self._folder = tempfile.TemporaryDirectory(prefix="eip-")
        os.chmod(self._folder.name, 0o711)  # each process gets a folder in it
        command = [*self._isolation.before, *PYTHON]
        zygote = Zygote(command, environment(self._folder.name), [f"eip_ref.course.{self._lesson.package}"])
        try:
            zygote.await_ready()
        except NotStarted as error:
            zygote.close()
            words = f"the sandbox did not start; `eip doctor teacher` may say why. {error}"
            raise SandboxFailed(words) from None
        return zygote

    def close(self) -> None:
        """End all that it has started, but for a zygote that the next notebook may have. Idempotent."""
        if self._isolation.strong and self._zygote is not None and self._zygote.lives():
            _kept.put(self._use, self._zygote)
            self._zygote = None
        self._end()

    def _end(self) -> None:
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        if self._folder is not None:
            self._folder.cleanup()


class _Kept:
    """The zygote that was used last. Threads may ask for it."""

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
    """End the zygote that is kept for a next notebook, when none comes soon."""
    _kept.put(None, None)
