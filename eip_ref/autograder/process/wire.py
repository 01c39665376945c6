"""Lines between the judge and the learner's process: one JSON array each, within bounds.

The judge writes and reads without ever being held up: a process that reads nothing, says nothing or says too
much comes to an `Ended`, which names why. It is no `Exception`, so no scenario swallows it.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...lab.clock import Runaway

__all__ = ["MAX_LINE", "WORD", "Budget", "Ended", "Wire", "misunderstood", "read_line", "write_line"]

WORD = 16  #: bytes of each thing that is said to the process which starts the others, and by it
READY, READY_IN_SPACES = b"ready", b"ready in spaces"  #: its first word
FAILED = b"0"  #: in place of the number of a process: the system gave none
MAX_LINE = 2**20  #: bytes of one line
MAX_WORDS = 300  #: characters of what an ending says
QUOTED = 60  #: bytes of a line that is no line, in the words of its ending
TO_JSON = json.JSONEncoder(separators=(",", ":")).encode
SLICE = 0.1  #: seconds after which the judge looks again at memory, and whether somebody wants it to stop
SELDOM = 20  #: times as long as a look took, at least: to look at many processes takes long


class Ended(BaseException):
    """The learner's process came to an end before the run did, or was ended: `name` is one of `WORDS`."""

    WORDS: ClassVar = {
        "died": "The process ended before the run was over.",
        "out-of-time": "The run took longer than it may, and was ended.",
        "garbled": "The process of the answer wrote to the place where it is asked what it wants.",
        "too-much": "The answer handed over or held more than it may.",
    }

    def __init__(self, name: str, detail: str = "") -> None:
        super().__init__(f"{self.WORDS[name]} {detail[:MAX_WORDS]}".rstrip())
        self.name = name


@dataclass
class Budget:
    """The bounds of one run, over all its processes."""

    wall: float  #: seconds from the first start on
    lines: int = 200_000
    size: int = 4 * 2**20  #: bytes that the answer may say
    references: int = 20_000  #: objects, functions and methods of the answer that the judge may hear of
    handed_out: int = 20_000  #: objects and functions of the judge's that one process may have
    operations: int = 5_000  #: of one process that are not over
    silence: float = math.inf  #: seconds that a process may work, or hear nothing, at a stretch
    cut_off: bool = False  #: true when a process has ended the run
    forgotten: tuple[int, str] | None = None  #: the first call without an await: its line, or 0, and its text
    memory: int = 2**30  #: bytes that all processes together may hold, where the system tells
    stopped: Callable[[], bool] = lambda: False  #: true when somebody wants it to stop
    _until: float = field(default=0.0, repr=False)
    _look_at: float = field(default=0.0, repr=False)
    _holds_more: Callable[[int], bool] = field(default=lambda bytes_: False, repr=False)

    def begin(self, holds_more: Callable[[int], bool] | None = None) -> None:
        """The time runs from now on, if it does not run already. `holds_more` tells of all processes."""
        self._holds_more = holds_more or self._holds_more
        if not self._until:
            self._until, self._look_at = time.monotonic() + self.wall, time.monotonic() + SLICE

    def left(self) -> float:
        """The seconds that are left. Raises `Ended` when something is used up, or when it shall stop."""
        now = time.monotonic()
        if now >= self._until:
            raise Ended("out-of-time")
        if now >= self._look_at:
            self._look()
            took = time.monotonic() - now
            self._look_at = now + took + max(SLICE, took * SELDOM)
        return self._until - now

    def _look(self) -> None:
        if self.stopped():
            raise Ended("out-of-time", "It was interrupted.")
        if self._holds_more(self.memory):
            raise Ended("too-much", f"Its processes hold more than {self.memory >> 20:,} MiB of memory.")

    def hear_of(self, number: int) -> None:
        """The judge hears of so many more objects, functions and methods. Raises `Ended`."""
        self.references -= number
        if self.references < 0:
            raise Ended("too-much", "Too many objects and functions.")

    def spend(self, size: int) -> None:
        """One line of so many bytes was said."""
        self.lines -= 1
        self.size -= size
        if self.size < 0:
            raise Ended("too-much")
        if self.lines < 0:
            raise Runaway("the answer asks for more and more without an end")


class Wire:
    """The judge's end of the two pipes of one process."""

    def __init__(self, reads: int, writes: int, budget: Budget) -> None:
        self._reads, self._writes, self._budget = reads, writes, budget
        self._bytes = bytearray()
        self._poll_in, self._poll_out = select.poll(), select.poll()
        self._poll_in.register(reads, select.POLLIN)
        self._poll_out.register(writes, select.POLLOUT)
        os.set_blocking(reads, False)
        os.set_blocking(writes, False)
        self._open = True

    def send(self, *lines: Sequence[Any]) -> None:
        """Write lines at once: each write may wake the other side. Raises `Ended`."""
        data = b"".join(map(_written, lines))
        while data:
            try:
                data = data[os.write(self._writes, data) :]
            except BlockingIOError:
                self._wait(self._poll_out)
            except OSError:
                raise Ended("died") from None

    def receive(self) -> list[Any]:
        """The next line. Raises `Ended`."""
        while (end := self._bytes.find(b"\n")) < 0:
            if len(self._bytes) >= MAX_LINE:
                raise Ended("too-much")
            self._budget.left()  # also of a process that never lets the judge wait
            try:
                data = os.read(self._reads, 2**16)
            except BlockingIOError:
                self._wait(self._poll_in)
                continue
            except OSError:
                data = b""
            if not data:
                raise Ended("died")
            self._bytes += data
        if end >= MAX_LINE:
            raise Ended("too-much")
        self._budget.left()
        text = bytes(self._bytes[:end])
        del self._bytes[: end + 1]
        self._budget.spend(len(text))
        return _read(text)

    def _wait(self, poll: select.poll) -> None:
        until = time.monotonic() + self._budget.silence
        while not poll.poll(min(SLICE, self._budget.left()) * 1000):
            if time.monotonic() > until:
                raise Ended("out-of-time", f"It said nothing for {self._budget.silence:g} s.")

    def close(self) -> None:
        """Hear and say no more. Idempotent."""
        if self._open:
            self._open = False
            os.close(self._reads)
            os.close(self._writes)


def garbled(text: bytes) -> Ended:
    """The ending of a process that wrote what is no line."""
    return Ended("garbled", f"It wrote {text[:QUOTED]!r}.")


def misunderstood(line: Any) -> Ended:
    """The ending of a process that said what means nothing."""
    return Ended("garbled", f"It said {reprlib.repr(line)}.")


def _written(line: Sequence[Any]) -> bytes:
    return TO_JSON(line).encode() + b"\n"


def _read(text: bytes) -> list[Any]:
    try:
        line = json.loads(text)
        if b"\\u" in text or not text.isascii():
            json.dumps(line, ensure_ascii=False).encode()  # half of a surrogate can be written nowhere
    except (ValueError, RecursionError):
        raise garbled(text) from None
    if not isinstance(line, list) or not line:
        raise garbled(text)
    return line


def write_line(file: int, line: Sequence[Any]) -> None:
    """For the learner's side: write a line. Raises OSError when nobody hears it, ValueError when too long."""
    data = _written(line)
    if len(data) > MAX_LINE:
        raise ValueError(f"{len(data):,} bytes are too much to hand over at once")
    while data:
        data = data[os.write(file, data) :]


def read_line(file: int, rest: bytearray) -> list[Any]:
    """For the learner's side: the next line. Raises EOFError when nobody speaks any more."""
    while (end := rest.find(b"\n")) < 0:
        data = os.read(file, 2**16)
        if not data:
            raise EOFError
        rest += data
    text = bytes(rest[:end])
    del rest[: end + 1]
    line: list[Any] = json.loads(text)
    return line
