"""Starting the learner's processes, from a process that has imported all ahead."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from glob import glob
from pathlib import Path

from .wire import FAILED, READY_IN_SPACES, WORD, Budget, Ended, Wire

__all__ = ["NotStarted", "Zygote"]

PATIENCE = 60.0  #: seconds that its start, its end or an answer of it may take on a busy machine


class NotStarted(RuntimeError):
    """The process that starts the others did not start: a fault of this machine."""


class Zygote:
    """Starts processes of learners. Use it as a block, or `close` it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        modules: Sequence[str] = (),
        *,
        process_group: int | None = None,
    ) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the rest
        self._folder = tempfile.TemporaryDirectory(prefix="eip-")  # bubblewrap puts another one in its place
        os.chmod(self._folder.name, 0o711)  # each process gets a folder in it
        mine, theirs = socket.socketpair(socket.AF_UNIX)
        script = str(Path(__file__).with_name("zygote.py"))
        self._process = subprocess.Popen(
            [*command, script, str(theirs.fileno()), *modules],
            pass_fds=[theirs.fileno()],
            env={**environment, "HOME": self._folder.name, "TMPDIR": self._folder.name},
            stdin=subprocess.DEVNULL,
            stderr=self._complaints,
            process_group=process_group,
        )
        theirs.close()
        mine.settimeout(PATIENCE)
        self._socket = mine
        self._ready = b""
        self._ahead: tuple[int, int] | None = None  # the files of a process that was asked for already

    def lives(self) -> bool:
        """True while it can start processes."""
        return self._process.poll() is None

    @property
    def in_spaces(self) -> bool:
        """True where each process gets namespaces: then none reaches another one, or this zygote."""
        return self._ready == READY_IN_SPACES

    def await_ready(self) -> None:
        """Wait until it can start processes. Raises `NotStarted`."""
        try:
            self._ready = self._ready or self._word()
        except OSError:
            self._process.kill()
        if not self._ready:
            self._process.wait(PATIENCE)
            self._complaints.seek(0)
            said = self._complaints.read()[-2000:].decode(errors="replace").strip()
            raise NotStarted(f"the process that starts the others did not start. {said}".strip())

    def start(self, budget: Budget) -> tuple[Wire, Callable[[], None]]:
        """A new process: its wire, and what ends it. Raises `NotStarted`, and `Ended` when it is gone.

        Where no answer reaches another process, the next one is begun at once, while this one works.
        """
        self.await_ready()
        wire = None
        try:
            files, self._ahead = self._ahead or self._asked(), None
            wire = Wire(*files, budget)
            number = self._word()
            if not number:
                raise ConnectionResetError
            if self.in_spaces and number != FAILED:
                self._ahead = self._asked()
        except OSError as error:
            self._process.kill()
            self._process.wait(PATIENCE)
            if wire is not None:
                wire.close()
            if self.in_spaces or not isinstance(error, ConnectionError | TimeoutError):
                raise NotStarted(f"what starts the processes is gone: {error}") from None
            raise Ended("died", "So did the process that starts all others.") from None  # an answer ended it
        if number == FAILED:
            wire.close()
            raise NotStarted("no process could be started: the machine lacks memory or processes")
        return wire, lambda: self._end(number)

    def _asked(self) -> tuple[int, int]:
        """Ask for a process. Returns the files that it is heard and told by. Raises OSError."""
        theirs_in, mine_out = os.pipe()
        mine_in, theirs_out = os.pipe()
        try:
            socket.send_fds(self._socket, [b"start".ljust(WORD)], [theirs_in, theirs_out])
        except OSError:
            os.close(mine_in)
            os.close(mine_out)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        return mine_in, mine_out

    def holds_more(self, bytes_: int) -> bool:
        """True when it and all that it has started hold more bytes together, as far as the system tells."""
        found = [*_with_children(self._process.pid)]
        return sum(map(_resident, found)) > bytes_ and sum(map(_share, found)) > bytes_

    def await_memory(self, bytes_: int) -> None:
        """Wait until what was ended has given back its memory: it is no matter of who comes next."""
        until = time.monotonic() + PATIENCE
        while self.holds_more(bytes_) and time.monotonic() < until:
            time.sleep(0.01)

    def _word(self) -> bytes:
        return self._socket.recv(WORD, socket.MSG_WAITALL).rstrip()

    def _end(self, number: bytes) -> None:
        try:
            self._socket.send(number.ljust(WORD))
        except OSError:
            return  # it has ended, and so have all

    def close(self) -> None:
        """End all. Idempotent."""
        for file in self._ahead or ():
            os.close(file)
        self._ahead = None
        self._socket.close()
        self._complaints.close()
        try:
            self._process.wait(PATIENCE)  # it ends the others and removes their folders
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _with_children(process: int) -> Iterator[int]:
    """The numbers of a process and of all that descend from it."""
    waiting = [process]
    while waiting:
        yield (each := waiting.pop())
        for file in glob(f"/proc/{each}/task/*/children"):
            waiting += map(int, _read(file).split())


def _resident(process: int) -> int:
    """The bytes of a process that are in memory, with all that it shares with others. Quick to tell."""
    pages = _read(f"/proc/{process}/statm").split()[1:2]
    return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")


def _share(process: int) -> int:
    """The bytes that a process holds, in memory or not, with its share of what it has in common with others.

    One that hides it is counted with all of them.
    """
    found = re.findall(r"^(?:Swap)?Pss: +(\d+) kB$", _read(f"/proc/{process}/smaps_rollup"), re.MULTILINE)
    return 1024 * sum(map(int, found)) or _resident(process)


def _read(file: str) -> str:
    with suppress(OSError), open(file) as lines:
        return lines.read()
    return ""  # it has ended
