"""What watches over an answer inside its process: the trace is written by us, and by nobody else.

An answer and the scenario that tries it share one Python, so this cannot be a wall. It makes the ways
that forge a trace fail, or show:

- An audit hook, which no code can remove, refuses what no answer needs: processes, sockets, signals,
  files outside the temporary folder, code made from text, and looking into frames and memory.
- Facts are kept out of the answer's reach, and only those that `eip_ref` itself records are kept.
- The functions and classes that a run rests on are compared, by identity, with what they were.

*Left out:* what `docs/threat_model.md` names. The walls are the process and `bubblewrap`.
"""

from __future__ import annotations

import asyncio
import dis
import os
import socket
import sys
import threading
from collections.abc import Iterable
from functools import cache
from itertools import islice
from types import CodeType, FrameType
from typing import Any

from ... import trace
from ...trace import Event, Recorder
from .integrity import Part, parts, top
from .screening import reaches_in

__all__ = ["Forbidden", "Ground", "Guard"]

REFUSED = (
    "code.__new__", "cpython.run_", "ctypes.", "fcntl.", "ftplib.", "gc.", "mmap.", "os.chmod", "os.chown",
    "os.exec", "os.fork", "os.kill", "os.link", "os.posix_spawn", "os.putenv", "os.setxattr", "os.spawn",
    "os.startfile", "os.symlink", "os.system", "os.unsetenv", "pty.spawn", "resource.", "shutil.",
    "signal.pthread_kill", "smtplib.", "socket.", "sqlite3.enable_load_extension", "sqlite3.load_extension",
    "subprocess.", "sys._current_", "sys._setprofileall", "sys._settraceall", "sys.addaudithook",
    "sys.monitoring.", "sys.setprofile", "sys.settrace", "syslog.", "urllib.",
)  # fmt: skip
"""How the names of audit events begin that are refused to everybody once the guard stands."""
ANSWERS_ONLY = (
    "compile",
    "exec",
    "function.__new__",
    "object.__delattr__",
    "object.__setattr__",
    "sys._getframe",
)
"""Events that libraries need, and that are refused when the answer's own code raises them."""
INNER = ("__code__", "__defaults__", "__kwdefaults__", "ag_frame", "cr_frame", "gi_frame", "tb_frame")
FILES = (
    "glob.glob", "open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir",
    "os.truncate", "os.utime", "sqlite3.connect", "tempfile.mkdtemp", "tempfile.mkstemp",
)  # fmt: skip
MODULES = (
    "ctypes", "_ctypes", "_posixsubprocess", "eip_ref.autograder", "eip_ref.course", "multiprocessing",
    "subprocess",
)  # fmt: skip
TRUSTED_TEXT = ("collections", "dataclasses", "importlib", "zipimport")
"""Modules that make code from text in which an answer can put nothing but names."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FIRST = 8  #: facts until the guard looks at all that the run rests on; then again at 16, 32, 64 …
EVERY = 32  #: facts between two looks in between, each at one part of it
KEEP, KEPT = "eip_ref.keep", "eip_ref.kept"


class Forbidden(PermissionError):
    """An answer did what no answer needs."""


class GuardedRecorder(Recorder):
    """Hands every fact to the guard, and has none itself: what it shows as `events` is a copy."""

    @property
    def events(self) -> list[Event]:
        copy: list[Event] = []
        sys.audit(KEPT, self, copy)
        return copy

    @events.setter
    def events(self, events: list[Event]) -> None:
        """Nobody can put other facts in their place."""

    def keep(self, event: Event) -> None:
        sys.audit(KEEP, self, event)


_ADD, _KEEP = Recorder.add.__code__, GuardedRecorder.keep.__code__
_RECORD, _EVENTS = trace.record.__code__, GuardedRecorder.events.fget.__code__  # type: ignore[attr-defined]


class Ground:
    """The things that every run in this process rests on, as it is before the first learner's line runs."""

    def __init__(self) -> None:
        trace.Recorder = GuardedRecorder  # type: ignore[misc]
        self.ours = {name: vars(module) for name, module in sys.modules.items() if top(name) == "eip_ref"}
        self.readable = tuple({os.path.realpath(path) + os.sep for path in _library()})
        self.parts = parts()


class Guard:
    """Stands over one process from `stand()` until the process ends.

    `theirs` is the namespace of the learner's cells, `folder` the only one that they may write to.
    """

    def __init__(self, ground: Ground, theirs: dict[str, Any], folder: str) -> None:
        self.refused = ""  #: the first thing that was refused, in words
        self._changed = ""
        self._ground = ground
        self._theirs = theirs
        self._folder = os.path.realpath(folder) + os.sep
        self._facts: dict[int, tuple[Recorder, Any, list[Event]]] = {}
        self._calls: dict[tuple[str, int, int], tuple[CodeType, bool]] = {}
        self._count = 0
        self._busy: set[int] = set()  # threads inside the hook, which raises events itself

    def stand(self) -> None:
        """Install it. There is no way back in this process."""
        sys.addaudithook(self._hook)

    @property
    def changed(self) -> str:
        """The first thing that the run rests on and that is not what it was, in words, or ""."""
        self._look(self._ground.parts)
        return self._changed

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "builtins.id":  # far the most frequent, and harmless
            return
        me = threading.get_ident()
        if me in self._busy:
            return
        self._busy.add(me)
        try:
            problem = self._problem(event, arguments, sys._getframe().f_back)
        finally:
            self._busy.discard(me)
        if problem:
            self.refused = self.refused or problem
            raise Forbidden(f"{problem} is refused while an answer is graded")

    def _problem(self, event: str, arguments: tuple[Any, ...], caller: FrameType | None) -> str:
        if event == KEEP:
            self._keep(arguments[0], arguments[1], caller)
        elif event == KEPT:
            self._show(arguments[0], arguments[1], caller)
        elif event == "object.__getattr__":
            return f"`{arguments[1]}`" if arguments[1] in INNER and self._is_theirs(caller) else ""
        elif event in ANSWERS_ONLY and self._is_theirs(caller):
            return f"`{event}`"
        elif event == "exec":
            return "" if not _made_of_text(arguments[0], caller) else "running code made from text"
        elif event == "import":
            return f"importing `{arguments[0]}`" if _within(arguments[0], MODULES) else ""
        elif event in FILES:
            paths = arguments[:2] if event == "os.rename" else arguments[:1]
            return next(filter(None, (self._file(event, path, arguments) for path in paths)), "")
        elif event == "socket.__new__":  # every asyncio loop wakes itself through a pair of these
            return "" if arguments[1] == socket.AF_UNIX else "a network socket"
        elif event.startswith(REFUSED):
            return f"`{event}`"
        return ""

    def _is_theirs(self, frame: FrameType | None) -> bool:
        """True when the learner's code asks, itself or through `inspect`."""
        while frame is not None and frame.f_globals.get("__name__") in ("inspect", "traceback"):
            frame = frame.f_back
        return frame is not None and frame.f_globals is self._theirs

    def _file(self, event: str, path: object, arguments: tuple[Any, ...]) -> str:
        if not isinstance(path, str | bytes) or type(path) not in (str, bytes):
            return "" if event == "open" else f"`{event}`"
        real = os.path.realpath(os.fsdecode(path))
        inside = real.startswith(self._folder) or real + os.sep == self._folder or real == os.devnull
        reads = event in ("open", "os.listdir", "os.scandir") and not (event == "open" and _writes(arguments))
        if event == "open" and os.path.isdir(real):
            return "opening a folder"  # from there, paths would lead anywhere
        if inside or (path == ":memory:" and event == "sqlite3.connect"):
            return ""
        if reads and (real + os.sep).startswith(self._ground.readable):
            return ""
        return f"`{event}` of a file outside the temporary folder"

    def _keep(self, recorder: Recorder, event: Event, caller: FrameType | None) -> None:
        for code in (_KEEP, _ADD, _RECORD):
            if caller is None or caller.f_code is not code:
                return
            caller = caller.f_back
        if (
            caller is None
            or self._ground.ours.get(caller.f_globals.get("__name__", "")) is not caller.f_globals
        ):
            return  # what an answer records itself counts for nothing
        if not self._calls_record(caller):
            return  # `eip_ref` called something of the answer's, which turned out to be `record`
        clock = vars(recorder).get("_clock")
        _, first, facts = self._facts.setdefault(id(recorder), (recorder, clock, []))
        if clock is not first or (facts and event.at < facts[-1].at) or _patched(asyncio._get_running_loop()):
            self._changed = self._changed or "the clock"
        facts.append(Event(*event[:-1], _copied(event.data)))
        self._count += 1
        if self._count >= FIRST and self._count & (self._count - 1) == 0:
            self._look(self._ground.parts)
        elif self._count % EVERY == 0:
            self._look([self._ground.parts[self._count // EVERY % len(self._ground.parts)]])

    def _calls_record(self, caller: FrameType) -> bool:
        code, place = caller.f_code, caller.f_lasti
        key = code.co_qualname, code.co_firstlineno, place  # to hash the code takes longer than all else here
        known, calls = self._calls.get(key, (None, False))
        if known is not code:
            calls = _calls_record(code, place)
            self._calls[key] = code, calls
        return calls

    def _show(self, recorder: Recorder, copy: list[Event], caller: FrameType | None) -> None:
        if caller is not None and caller.f_code is _EVENTS and id(recorder) in self._facts:
            copy.extend(self._facts[id(recorder)][2])

    def _look(self, parts: Iterable[Part]) -> None:
        self._changed = self._changed or next(filter(None, (part.changed() for part in parts)), "")


def _library() -> Iterable[str]:
    """The places from which Python and the packages are read, which lazy imports need."""
    package = os.path.dirname(trace.__file__)  # and not the course around it, with its solutions
    return [
        sys.prefix,
        sys.base_prefix,
        package,
        *(p for p in sys.path if p and p != os.path.dirname(package)),
    ]


def _within(name: object, modules: Iterable[str]) -> bool:
    return isinstance(name, str) and any(name == each or name.startswith(each + ".") for each in modules)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = (*arguments, None, None, None)[:3]
    written = isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return written or bool(isinstance(flags, int) and flags & WRITES)


def _calls_record(code: CodeType, place: int) -> bool:
    """True when the call at this place is written as a call of `record`."""
    line, _, column, _ = next(islice(code.co_positions(), place // 2, None))
    return (line, column) in _loads_of_record(code)


@cache
def _loads_of_record(code: CodeType) -> frozenset[tuple[int | None, int | None]]:
    """The places where the text of the code says `record`: lines and columns."""
    if "record" not in code.co_names:
        return frozenset()
    steps = (step for step in dis.get_instructions(code) if step.opname.startswith("LOAD_GLOBAL"))
    places = (step.positions for step in steps if step.argval == "record")
    return frozenset((place.lineno, place.col_offset) for place in places if place)


def _patched(thing: object) -> bool:
    """True when an object has something of its own in place of what its class gives it."""
    kind: Any = type(thing)
    return not _methods(kind).isdisjoint(getattr(thing, "__dict__", ()))


@cache
def _methods(kind: type) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name)))


def _made_of_text(code: object, caller: FrameType | None) -> bool:
    """True when a library runs text as code that reaches into Python, as answers themselves may not."""
    if not isinstance(code, CodeType) or not code.co_filename.startswith("<"):
        return False
    by = caller.f_globals.get("__name__", "") if caller else ""
    return not by.startswith((*TRUSTED_TEXT, "eip_ref.")) and reaches_in(code)


def _copied(value: Any) -> Any:
    """A copy that later changes do not reach, of plain containers; other things are kept as they are."""
    if type(value) is dict:
        return {key: _copied(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return [_copied(each) for each in value]
    return value
