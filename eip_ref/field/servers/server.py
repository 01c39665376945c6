"""A server of one's own: found, started on loopback with its data in one folder, killed, started again.

A server counts as started when it answers in its own protocol, not when its port is open. `kill` is
SIGKILL to it and all its processes, so nothing that it has not given to the operating system is kept.

*Left out:* a failing machine. What a killed process had written is still in the memory of the operating
system, so a server that survives `kill` may yet lose messages when the power fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Self

HOST = "127.0.0.1"
START = 60.0  #: seconds that a server has to start, or to end
INTERVAL = 0.01  #: seconds between two looks at a condition


class NotOurs(RuntimeError):
    """This server runs for others too: nobody kills it from here."""


class Server(ABC):
    """One server of a kind. What `folder` holds is all that it keeps."""

    name: ClassVar[str]  #: of the product
    install: ClassVar[str]  #: the one command that brings it to a Debian machine, or into the environment

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = self._take_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _take_port(self) -> int:
        """A port that is nobody else's as long as this object is there, whether the server runs or not."""
        place = place_on_loopback()
        port = int(place.getsockname()[1])
        if sys.platform == "linux":
            weakref.finalize(self, place.close)
        else:  # there nobody could listen beside it
            place.close()
        return port

    # What a kind of server says about itself

    @classmethod
    @abstractmethod
    def program(cls) -> str | None:
        """The path of its program, or None where it is not installed."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The version that is installed here."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server needs to find before its first start."""

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    def environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """True when it answers in its protocol. May raise OSError while it does not."""

    @property
    def own_url(self) -> str:
        """The address for a client, when it was started here."""
        return f"{HOST}:{self.port}"

    # One that runs already

    @classmethod
    def variable(cls) -> str:
        """The environment variable with the address of one that runs already."""
        return f"EIP_FIELD_{cls.__name__.upper()}"

    @classmethod
    def given(cls) -> str:
        """The address of one that runs already and is used as it is, or ""."""
        return os.environ.get(cls.variable(), "")

    @property
    def url(self) -> str:
        """The address for a client."""
        return self.given() or self.own_url

    @classmethod
    def no_fresh_one(cls) -> str:
        """The reason why none is started here that is empty and may be killed, or ""."""
        if cls.given():
            return f"{cls.name} is at {cls.variable()}: this needs one of its own, empty, and to be killed"
        return cls.missing()

    @classmethod
    def version_used(cls) -> str:
        """The version for a table, or where the server is, when it was not started here."""
        return f"at {cls.variable()}" if cls.given() else cls.version()

    def _must_be_ours(self) -> None:
        if self.given():
            raise NotOurs(f"{self.name} is at {self.variable()}, and is not killed or stopped from here")

    # Its life

    @classmethod
    def missing(cls) -> str:
        """The reason why it cannot be started here, with the command that helps, or ""."""
        return "" if cls.given() or cls.program() else f"{cls.name} is not installed: {cls.install}"

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Start one in a temporary folder, and end it and remove the folder with the block.

        One that runs already is neither started nor ended.
        """
        with tempfile.TemporaryDirectory(prefix="eip-field-", ignore_cleanup_errors=True) as folder:
            os.chmod(folder, 0o755)  # some servers give up the rights of root
            server = cls(Path(folder))
            if cls.given():
                yield server
                return
            server.prepare()
            try:
                server.start()
                yield server
            finally:
                server.stop()

    def start(self) -> None:
        """Start it on the data that are there, and return when it answers.

        Raises RuntimeError with the end of its log when it ends, or is silent for a minute.
        """
        self._must_be_ours()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if not holds(lambda: self._answers() or self._has_ended(), START) or self._has_ended():
            self.kill()
            raise RuntimeError(f"{self.name} did not start: {self._end_of_log()}")

    def kill(self) -> None:
        """SIGKILL: it can do nothing more, not even write what it holds. Idempotent.

        Raises `NotOurs` for one that runs already; so do `freeze` and `stop`.
        """
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: its connections stay, and it hears and does nothing until it is killed."""
        self._must_be_ours()
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """End it as its operator would. Idempotent."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        self._must_be_ours()
        process, self._process = self._process, None
        if process is None:
            return
        family = descendants(process.pid)  # some leave the group
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        if how == signal.SIGKILL:
            kill_all(family)
        try:
            process.wait(START)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):  # whoever of its processes is still there
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kill_all(family)
        if not holds(lambda: not is_open(self.port), START):
            raise RuntimeError(f"{self.name} was ended, and yet its port {self.port} is open")

    def _answers(self) -> bool:
        try:
            return self.is_ready()
        except OSError:
            return False

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _end_of_log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]


def descendants(parent: int) -> list[int]:
    """The processes that a process has started, and those that they have started; Linux only."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            child, rest = stat.parent.name, stat.read_text().rpartition(")")[2]
            children.setdefault(int(rest.split()[1]), []).append(int(child))
    family, found = [parent], []
    while family:
        found += (born := children.get(family.pop(), []))
        family += born
    return found


def kill_all(processes: list[int]) -> None:
    """SIGKILL to those that are still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def holds(condition: Callable[[], bool], timeout: float) -> bool:
    """Look at a condition until it holds, or until the time is over; return whether it does."""
    end = time.monotonic() + timeout
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(INTERVAL)
    return found


def place_on_loopback() -> socket.socket:
    """A port that the operating system gives to nobody else until this is closed.

    Nobody is answered there. On Linux a server that says SO_REUSEADDR, as all of them do, may listen on it.
    """
    place = socket.socket()
    place.bind((HOST, 0))
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return place


def is_open(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((HOST, port)) == 0


def ask(port: int, question: bytes, size: int = 64) -> bytes:
    """The beginning of the answer of a server to some bytes; with none, of what it says by itself."""
    with socket.create_connection((HOST, port), timeout=1) as one:
        if question:
            one.sendall(question)
        return one.recv(size)


def which(program: str, *folders: str) -> str | None:
    """The path of a program in the search path or in one of these folders, or None."""
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(folders))


def says(*command: str) -> str:
    """The text that a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
