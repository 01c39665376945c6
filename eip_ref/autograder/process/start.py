"""Starting the learner's processes, from a process that has imported all ahead."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .wire import Budget, Wire

__all__ = ["Zygote"]

PATIENCE = 10.0  #: seconds that the end of all processes may take


class Zygote:
    """Starts processes of learners. Use it as a block, or `close` it."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], modules: Sequence[str] = ()
    ) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = str(Path(__file__).with_name("zygote.py"))
        self._process = subprocess.Popen(
            [*command, script, str(theirs.fileno()), *modules],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._socket = mine
        self._ready = False

    def start(self, budget: Budget) -> tuple[Wire, Callable[[], None]]:
        """A new process: its wire, and what ends it."""
        if not self._ready:
            self._ready = self._socket.recv(16) == b"ready"
            if not self._ready:
                raise RuntimeError("the process that starts the others did not start")
        theirs_in, mine_out = os.pipe()
        mine_in, theirs_out = os.pipe()
        try:
            socket.send_fds(self._socket, [b"start"], [theirs_in, theirs_out])
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        number = self._socket.recv(16)
        return Wire(mine_in, mine_out, budget), lambda: self._end(number)

    def _end(self, number: bytes) -> None:
        try:
            self._socket.send(number)
        except OSError:
            return  # it has ended, and so have all

    def close(self) -> None:
        """End all. Idempotent."""
        self._socket.close()
        try:
            self._process.wait(PATIENCE)  # it ends the others and removes their folders
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
