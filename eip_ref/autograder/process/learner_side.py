"""The learner's side: the cells, a loop whose clock the judge sets, and proxies of what the judge hands
out.

The loop runs until all of its tasks wait. Then it tells the judge what they want, and is told what has become
of it and what time it is. Nothing here is trusted by anybody: an answer may do to it whatever it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import linecache
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from math import inf, isfinite, nextafter
from typing import Any

import anyio

from ... import trace
from ...lab.clock import VirtualLoop, place
from .crossing import Crossing
from .errors import CELL
from .stubs import DUNDERS, LEAVING, Stub, is_async, leaving, told_name
from .wire import read_line, write_line

__all__ = ["Side"]

SPINS = 20_000  #: turns of the loop in which no task waits for anything

_call: ContextVar[int] = ContextVar("call", default=0)


class _Operation:
    """The wish of a task that waits."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.kind = ""
        self.value: Any = None

    def end(self, kind: str, value: Any) -> None:
        self.kind, self.value = kind, value
        self.over.set()

    def result(self) -> Any:
        if self.kind == "error":
            raise self.value
        return self.value


class _Proxy(Stub):
    """Stands for an object of the judge's."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__!r} object lets nobody set {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Side(Crossing):
    """The learner's side of one process, between two files."""

    base = _Proxy

    def __init__(self, reads: int, writes: int) -> None:
        super().__init__(-1)
        self._reads, self._writes, self._rest = reads, writes, bytearray()
        self._outbox: list[list[Any]] = []
        self._operations: dict[int, _Operation] = {}
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._lanes: dict[asyncio.Task[Any], int] = {}
        self._calls: dict[asyncio.Task[Any], int] = {}  # of the tasks that are a call's own
        self._count = itertools.count(1)
        self._lane_count = itertools.count(1)
        self._loop = _Loop(self)
        self._loop.set_exception_handler(lambda loop, context: None)
        self._context = copy_context()
        self.tests = False  #: whether the answer is a test
        self._begun = False  # before that there is nothing to wait for

    # Lines

    def say(self, *line: Any) -> None:
        for each in self.with_changes(line):
            write_line(self._writes, each)

    def _tell(self, *line: Any) -> None:
        """Say what the judge waits for; what is too long to be said ends the run."""
        try:
            self.say(*line)
        except ValueError:
            self.say("too-much")

    def hear(self) -> list[Any]:
        said = read_line(self._reads, self._rest)
        while said[0] == "changed":
            self.unpack(said[1:])
            said = read_line(self._reads, self._rest)
        return said

    def run(self) -> None:
        """Do what the judge says until it says no more."""
        self._context.run(_prepare, self)
        asyncio._set_running_loop(None)
        while True:
            try:
                self._context.run(self._loop.run_forever)
            except EOFError:
                return
            except BaseException:  # such as the SystemExit of a task: it ends that task alone
                continue

    def wait(self, due: float) -> None:
        """All tasks wait: say for what, and take what has come of it."""
        outbox, self._outbox = self._outbox, []
        if self._begun:
            self._tell("wait", due, outbox)
        self._begun = True
        while True:
            match self.hear():
                case ["go", now, items]:
                    self._loop.now = now
                    for item in items:
                        self._take(item)
                    return
                case ["sync", *words]:
                    self._answer_sync(words)
                case ["where", lane, call, name]:
                    self.say("where", [*self._where(lane, call, name)])

    def _where(self, lane: int, call: int, name: str) -> Iterator[str]:
        """Say where a task waits; with the first call, also where those wait that asked for nothing."""
        for task in self._loop.unfinished():
            of_call = self._calls.get(task, 0)
            if task not in self._lanes:
                if lane == 0 and call == min(self._calls.values(), default=0):
                    yield f"{task.get_name()} waits in {place(task.get_coro())}"
            elif self._lanes[task] == lane and of_call in (0, call):
                yield f"{name if of_call else task.get_name()} waits in {place(task.get_coro())}"

    def runaway(self) -> None:
        """Say that the tasks go round without an end."""
        self.say("runaway")
        self.hear()

    def _take(self, item: list[Any]) -> None:
        match item:
            case ["call", number, target, args, named, who]:
                context = self._context.copy()
                context.run(trace._who.set, who)
                context.run(_call.set, number)
                self._loop.create_task(
                    self._called(number, target, args, named), context=context, name=who or None
                )
            case ["stop", number]:
                if number in self._scopes:
                    self._scopes[number].cancel()
            case [("value" | "error") as kind, number, value]:
                self._ended(number, kind, self.unpack(value))
            case [("cancelled" | "dropped") as kind, number]:
                self._ended(number, kind, None)

    def _ended(self, number: int, kind: str, value: Any) -> None:
        operation = self._operations.pop(number, None)
        if operation is not None:
            operation.end(kind, value)

    async def _called(self, number: int, target: list[Any], args: Any, named: Any) -> None:
        task: Any = asyncio.current_task()
        self._lanes[task], self._calls[task] = 0, number
        said = ["cancelled", number, None]
        try:
            with anyio.CancelScope() as self._scopes[number]:
                found = self._target(target)(*self.unpack(args), **self.unpack(named))
                said = ["return", number, self.pack(await found if inspect.isawaitable(found) else found)]
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            said = ["raise", number, self.errors.pack(error)]
            self._tell_of_coroutines(error)
        del self._lanes[task], self._calls[task]
        self._scopes.pop(number, None)
        self._outbox.append(said)

    def _answer_sync(self, words: list[Any]) -> None:
        now, who, target, args, named = words
        self._loop.now = now
        if self.sharing and not self.tests:
            self.shared.forget()  # what is shared is shared for one call
        before = len(self._loop._ready)
        context = self._context.copy()
        context.run(trace._who.set, who)
        try:
            found = context.run(
                lambda: self.pack(self._target(target)(*self.unpack(args), **self.unpack(named)))
            )
            kind = "answer"
        except BaseException as error:
            kind, found = "fault", self.errors.pack(error)
            self._tell_of_coroutines(error)
        ready = len(self._loop._ready) > before or bool(self._outbox)
        self._tell(kind, found, ready, self._loop.next_due())

    def _target(self, target: list[Any]) -> Callable[..., Any]:
        match target:
            case [number]:
                thing = self._mine[number]
                return thing if callable(thing) else lambda: thing
            case [number, name]:
                method = getattr(self._mine[number], name)
                return leaving(method) if name in LEAVING else method
            case [number, name, "read"]:
                return lambda: getattr(self._mine[number], name)
        raise LookupError(target)

    # What the stubs do

    def ask(self, *words: Any) -> Any:
        """Ask the judge, who answers at once."""
        self.say("ask", _call.get(), *words)
        while True:
            match self.hear():
                case ["ok", value]:
                    return self.unpack(value)
                case ["error", error]:
                    raise self.unpack(error)
                case ["sync", *called]:
                    self._answer_sync(called)

    def maker(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """A function in the place of a class whose objects a test makes on the judge's side.

        While the cells run nobody asks for anything yet, so what they make is their own.
        """

        def make(*args: Any, **named: Any) -> Any:
            if not self._begun:
                return real(*args, **named)
            return self.ask("make", name, *self.pack_call(args, named))

        return make

    def read(self, number: int, name: str) -> Any:
        """An attribute of one of the judge's objects."""
        return self.ask("get", number, name)

    def sync(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the judge's that does not suspend."""
        return self.ask("do", target, *self.pack_call(args, named))

    async def call(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the judge's that may suspend.

        A call that is cancelled is confirmed: it was not done, or it was too late and has a result.
        """
        number, operation = next(self._count), _Operation()
        deadline = anyio.current_effective_deadline()
        until = deadline if isfinite(deadline) else None
        about = [number, self._lane(), _call.get(), until, target]
        shield = ["shield"] if self._is_shielded() else []
        self._operations[number] = operation
        self._outbox.append(["op", *about, *self.pack_call(args, named), *shield])
        try:
            await operation.over.wait()
        except BaseException:
            if not operation.over.is_set():
                self._outbox.append(["cancel", number])
                with anyio.CancelScope(shield=True):
                    await operation.over.wait()
            if operation.kind in ("cancelled", "dropped"):
                raise
        if operation.kind in ("cancelled", "dropped"):
            raise asyncio.CancelledError
        return operation.result()

    def _lane(self) -> int:
        task: Any = asyncio.current_task()
        if task not in self._lanes:
            self._lanes[task] = number = next(self._lane_count)
            task.add_done_callback(self._task_over)
            return number
        return self._lanes[task]

    def _is_shielded(self) -> bool:
        """True in a block that no cancellation of the call reaches: its deadline is not seen there.

        Of a call's own task alone, which is all that the judge cancels.
        """
        call = self._calls.get(asyncio.current_task())  # type: ignore[arg-type]
        if call is None:
            return False
        soon = nextafter(self._loop.now, inf)  # before any other deadline
        self._scopes[call].deadline = soon
        seen = anyio.current_effective_deadline() <= soon
        self._scopes[call].deadline = inf
        return not seen

    def warned(self, message: Any, category: Any, file: str, line: int, *_: object) -> None:
        """Tell the judge of a coroutine of the answer's that never ran, and nobody of other warnings."""
        forgotten = re.match("coroutine '(.+)' was never awaited", str(message))
        if forgotten:
            text = linecache.getline(file, line).strip() if file.startswith(CELL) else ""
            self._tell_forgotten(forgotten[1], line, text)

    def _tell_forgotten(self, name: str, line: int = 0, text: str = "") -> None:
        if not name.startswith("Side."):
            self._outbox.append(["forgotten", line if text else 0, (text or name)[:200]])

    def _tell_of_coroutines(self, error: BaseException) -> None:
        """Tell of those in the hands of the answer that had not begun: the error keeps them in memory."""
        for frame, _ in traceback.walk_tb(error.__traceback__):
            for each in frame.f_locals.values() if frame.f_code.co_filename.startswith(CELL) else ():
                if inspect.iscoroutine(each) and inspect.getcoroutinestate(each) == inspect.CORO_CREATED:
                    self._tell_forgotten(each.__qualname__)
        for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            self._tell_of_coroutines(part)

    def _task_over(self, task: asyncio.Task[Any]) -> None:
        self._outbox.append(["over", self._lanes.pop(task)])

    # Values

    def describe(self, value: Any) -> list[Any]:
        """Tell the judge of a thing of the learner's: its kind, its name, its methods."""
        if inspect.isawaitable(value):
            return ["awaitable", "awaitable", {}]
        if inspect.isroutine(value) or hasattr(value, "func"):
            return ["async" if is_async(value) else "plain", told_name(value, "function"), {}]
        if inspect.isclass(value):
            return ["class", told_name(value, "Class"), {}]
        return ["object", told_name(type(value), "Object"), _methods(type(value))]

    def adopt(self, number: int, kind: Any, name: Any, parts: Any, fixed: Any = None) -> Any:
        """The stub of a thing that the judge has told of."""
        if kind == "awaitable":  # a task is made of a coroutine alone
            return self._keep(number, self.call([number], (), {}))
        return super().adopt(number, kind, name, parts, {key: self.unpack(fixed[key]) for key in fixed})


class _Loop(VirtualLoop):
    """A loop that lets the judge set its time, when it has nothing else to do."""

    def __init__(self, side: Side) -> None:
        super().__init__(SPINS)
        self._side = side

    def _runs_on(self) -> None:
        self._side.runaway()

    def _wait_until(self, then: float) -> None:
        self._left = SPINS
        self._side.wait(then)


class _Recorder:
    """Takes the facts that the library tells here, and keeps none; ids are the judge's.

    So what a `Worker`, a bucket or a queue records that the answer makes itself is in no trace of the run and
    in no verdict: the judge believes what its own objects saw.
    """

    def __init__(self, side: Side) -> None:
        self.events: list[Any] = []
        self._side = side

    def add(self, kind: str, where: str, message: str, who: str, data: Mapping[str, Any]) -> None:
        """Forget it: it was told by an answer, so nobody believes it."""

    def next_id(self, prefix: str) -> str:
        return str(self._side.ask("id", prefix))


def _prepare(side: Side) -> None:
    trace._recorder.set(_Recorder(side))  # type: ignore[arg-type]
    warnings.simplefilter("once", RuntimeWarning)  # a loop may forget thousands
    warnings.showwarning = side.warned  # type: ignore[assignment]
    with contextlib.suppress(ModuleNotFoundError):
        import sniffio

        sniffio.thread_local.name = "asyncio"


def _methods(kind: type) -> dict[str, str]:
    found = {}
    for name in dir(kind):
        method = getattr(kind, name, None)
        if name in DUNDERS and callable(method) and getattr(object, name, None) is None:
            found[name] = "async" if is_async(method) else DUNDERS[name]
        elif not name.startswith("_") and callable(method):
            found[name] = "async" if is_async(method) else "plain"
    return dict(list(found.items())[:200])
