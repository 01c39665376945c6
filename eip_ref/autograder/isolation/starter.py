"""The zygote of one notebook: in the sandbox, and started anew when an answer has ended it."""

from __future__ import annotations

import os
import tempfile

from ..process.start import NotStarted, Zygote
from ..registry import Lesson
from .sandbox import PYTHON, Isolation, environment

__all__ = ["SandboxFailed", "Starter"]


class SandboxFailed(RuntimeError):
    """The sandbox could not be started: a fault of this machine, not of the notebook."""


class Starter:
    """Starts processes for the answers of one notebook, through a zygote in the sandbox.

    Where the answers run with the rights of the grader one may end the zygote, so the next gets a new one.
    """

    def __init__(self, lesson: Lesson, isolation: Isolation) -> None:
        self._lesson, self._isolation = lesson, isolation
        self._zygote: Zygote | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def zygote(self) -> Zygote:
        """A zygote that lives. Raises `SandboxFailed`."""
        if self._zygote is None or not self._zygote.lives():
            self.close()
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
        """End all that it has started. Idempotent."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None
        if self._folder is not None:
            self._folder.cleanup()
