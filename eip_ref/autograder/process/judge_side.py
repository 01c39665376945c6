"""The judge's side: one process of the learner's, and who works for its tasks here.

Whoever awaits a stub lets the learner's process work until all of its tasks wait (a turn), and then does, in
the same task, what they ask for. Each task of the learner's has a task here, its lane: so who acts, who lives
and what is cancelled mean what they would mean in one process.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, NoReturn

import anyio

from ...lab.clock import Runaway, end_the_run, waits_elsewhere
from ...signal import orphans
from ...trace import new_id, whoami
from .errors import Errors
from .shared import Shared
from .stubs import is_async, make_stub, number_of
from .surface import kind_of, surface
from .values import Uncrossable, pack, pack_inside, unpack
from .wire import Budget, Ended, Wire, misunderstood

__all__ = ["Learner"]

TURNS = 3_000  #: at one instant
MAX_LINES, MAX_WORDS = 100, 300  #: lines that say where tasks wait, and characters of each
LATEST = 1e300  #: seconds; beyond that it is infinity, or no time
NO_SCOPE = ("__aenter__", "__aexit__")  #: a scope around an entry would be left before what it entered is


class _Cancelled(Exception):
    """The call was cancelled on the learner's side."""


class _Operation:
    """The wish of a task of the learner's that waits."""

    def __init__(
        self, number: int, deadline: float | None, target: list[Any], args: Any, named: Any, shield: bool
    ) -> None:
        self.number, self.target, self.args, self.named = number, target, args, named
        self.deadline = deadline
        self.scope = anyio.CancelScope(shield=shield)  # as the answer's own shields, all of which are there

    @contextmanager
    def in_scope(self) -> Iterator[None]:
        """Tell whoever asks inside the deadline of the learner's task, which alone keeps it."""
        with self.scope:
            if self.deadline is not None:
                self.scope._deadline = self.deadline  # type: ignore[attr-defined]  # a timer would be a second one
            yield


class _Lane:
    """The task here that stands for one task there, and what is to be done in it."""

    def __init__(self, context: Context, number: int, call: int) -> None:
        self.context = context
        self.number, self.call = number, call  #: of the task there: 0 is the call's own
        self.doing: _Operation | None = None
        self._entries: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def add(self, entry: Any) -> None:
        self._entries.append(entry)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Any:
        while not self._entries:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._entries.popleft()


class Learner:
    """One process of the learner's. Once it is killed no stub of it does anything."""

    def __init__(
        self, wire: Wire, budget: Budget, kill: Callable[[], None], makes: Mapping[str, Any] | None = None
    ) -> None:
        self.over = False
        self._wire, self._budget, self._kill = wire, budget, kill
        self._makes = makes  # in a test: what it makes here; else None
        self._shared = Shared(1, self._pack_inside, self._unpack_inside)
        self._errors = Errors(self._pack, self._unpack)
        self._handed_out: dict[int, Any] = {}
        self._numbers: dict[Any, int] = {}  # of what was handed out
        self._stubs: dict[int, Any] = {}
        self._contexts: dict[int, Context] = {}  # of the calls
        self._calls: dict[int, _Lane] = {}  # those that have not ended
        self._lanes: dict[int, _Lane] = {}  # of the other tasks
        self._operations: dict[int, _Operation] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at_once = -1.0, 0  # the time, and how many turns there were at it
        self._ticking = self._talking = self._doomed = False

    # Life and death

    def kill(self) -> None:
        """End the process now. Idempotent."""
        if not self.over:
            self.over = True
            self._set_timer(None)
            self._wire.close()
            self._kill()

    def is_as_new(self) -> bool:
        """True while it was only asked for what returned at once: then it may serve another simulation."""
        return not self.over and not self._contexts and self._timer is None

    def die_with_this_life(self) -> None:
        """End when the participant that acts here dies: at once, or after the step in which it dies."""
        waiting = orphans.get()
        if waiting is not None:
            waiting[self] = self._doom

    def adopt(self, number: int, kind: Any, name: Any, more: Any) -> Any:
        """The stub of a thing that the process has told of by itself."""
        return self._stubs.setdefault(number, make_stub(self, number, kind, name, more))

    def _doom(self) -> None:
        self._doomed = True
        if not self._talking:
            self.kill()

    def _end(self, ending: BaseException) -> NoReturn:
        """The run is over, because of what this process did."""
        self.kill()
        if end_the_run(ending):
            raise asyncio.CancelledError  # the simulation ends by itself, where nobody can catch it
        raise ending

    # Values

    def _pack(self, value: Any) -> Any:
        return pack(value, self._refer, 0, self._share)

    def _pack_named(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._pack(value) for name, value in named.items()}

    def _unpack(self, data: Any) -> Any:
        return unpack(data, self._resolve)

    @property
    def _share(self) -> Callable[[Any], Any] | None:
        return None if self._makes is None else self._shared.pack

    def _pack_inside(self, value: Any) -> Any:
        return pack_inside(value, self._refer, self._share)

    def _unpack_inside(self, data: Any) -> Any:
        return self._unpack(data)

    def _understand(self, data: Any) -> Any:
        try:
            return self._unpack(data)
        except Exception as why:  # whatever a class says of what it was to be made from
            self._end(Ended("garbled", str(why)))

    def _understand_error(self, data: Any) -> BaseException:
        error = self._understand(data)
        if not isinstance(error, BaseException):
            self._end(misunderstood(data))
        return error

    def _refer(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            return self._errors.pack(value)
        number = number_of(value, self)
        if number is not None:
            return {"$back": number}
        key = (id(value.__self__), value.__func__) if inspect.ismethod(value) else id(value)
        if key in self._numbers:
            return {"$ref": [self._numbers[key]]}
        if len(self._handed_out) >= self._budget.handed_out:
            self._end(Ended("too-much", "It was given too many things."))
        told = self._describe(value)
        number = self._numbers[key] = len(self._handed_out) + 1
        self._handed_out[number] = value
        return {"$ref": [number, *told]}

    def _describe(self, value: Any) -> list[Any]:
        """Tell of a thing that is handed out: its kind and name, how its parts behave, and fixed values."""
        kind: Any = type(_unveiled(value))
        if surface(kind):
            table = {name: self._behaviour(value, name) for name in surface(kind)}
            fixed = {name: self._pack(getattr(value, name)) for name, how in table.items() if how == "fixed"}
            return ["object", kind_of(kind), table, fixed]
        if inspect.isawaitable(value):
            return ["awaitable", "awaitable", {}, {}]
        if callable(value):
            return ["async" if is_async(value) else "plain", getattr(value, "__name__", "function"), {}, {}]
        raise Uncrossable(f"the table of what an answer may use has no {kind.__module__}.{kind.__qualname__}")

    def _behaviour(self, value: Any, name: str) -> str:
        """`wait`, `now`, `sync`, `attribute`, `fixed`, `shared`, or "" for what may not be used."""
        kind: Any = type(_unveiled(value))
        how = surface(kind).get(name, "")
        if how.startswith("of-"):
            kind = type(getattr(value, how[3:]))
            return surface(kind).get(name, "wait")
        return how

    def _resolve(self, tag: str, content: Any) -> Any:
        match tag, content:
            case "$back", int(number) if number in self._handed_out:
                return self._handed_out[number]
            case "$ref", [int(number)] if number in self._stubs:
                return self._stubs[number]
            case "$ref", [int(number), kind, name, dict(more)]:
                self._budget.hear_of(1 + len(more))
                return self.adopt(number, kind, name, more)
            case "$shared", _ if self._makes is not None:
                return self._shared.unpack(content)
            case (("$home" | "$error" | "$group"), _):
                return self._errors.unpack(tag, content)
        raise Uncrossable(f"{tag} stands for nothing here")

    # Turns

    def turn(self, *items: list[Any]) -> None:
        """Let the learner's tasks work until all of them wait. Never suspends."""
        if not self.over:
            self._count_turn()
            due, entries = self._talk(["go", _now(), [*items]], self._waits)
            if self._doomed:
                self.kill()
            else:
                self._set_timer(due)
                for entry in entries:
                    self._take(entry)

    def _count_turn(self) -> None:
        at, times = self._at_once
        self._at_once = (now := _now()), times + 1 if now == at else 0
        if times > TURNS:
            self._end(Runaway(f"more than {TURNS:,} turns at {now:g} s, and no time passes"))

    def _talk(self, line: list[Any], answer: Callable[[list[Any]], Any]) -> Any:
        """Send a line and answer what is asked, until the line comes of which `answer` makes something."""
        outer, self._talking = self._talking, True
        try:
            self._send(line)
            while True:
                match said := self._wire.receive():
                    case ["ask", int(call), *words]:
                        self._send(self._answered(call, words))
                    case ["changed", *changes]:
                        self._understand(changes)
                    case ["too-much"]:
                        raise Ended("too-much")
                    case ["runaway"]:
                        raise Runaway("the answer goes round without an end, and no time passes")
                    case _:
                        return answer(said)
        except (Ended, Runaway) as ending:
            self._end(ending)
        finally:
            self._talking = outer

    def _send(self, line: list[Any]) -> None:
        changes = [*self._shared.changes()] if self._makes is not None else []
        if changes:
            self._wire.hold(["changed", *changes])
        self._wire.send(line)

    def _waits(self, said: list[Any]) -> tuple[float | None, list[Any]]:
        match said:
            case ["wait", due, list(entries)] if _is_time(due):
                return due, entries
        raise misunderstood(said)

    def _take(self, entry: Any) -> None:
        match entry:
            case [
                "op",
                int(number),
                int(lane),
                int(call),
                until,
                list(target),
                list(args),
                dict(named),
                *rest,
            ]:
                if number in self._operations or not _is_number(until):
                    self._end(misunderstood(entry))
                if len(self._operations) >= self._budget.operations:
                    self._end(Ended("too-much", "Too many operations are open."))
                operation = _Operation(number, until, target, args, named, rest == ["shield"])
                self._operations[number] = operation
                self._lane(lane, call).add(operation)
            case ["cancel", int(number)]:
                if number in self._operations:
                    self._operations[number].scope.cancel()
            case [("return" | "raise" | "cancelled"), int(call), _] if call in self._calls:
                self._calls.pop(call).add(entry)
            case ["over", int(lane)]:
                if lane in self._lanes:
                    self._lanes.pop(lane).add(entry)
            case _:
                self._end(misunderstood(entry))

    def _lane(self, number: int, call: int) -> _Lane:
        if number == 0 and call in self._calls:
            return self._calls[call]
        if number not in self._lanes:
            if call not in self._contexts or number == 0:
                self._end(misunderstood(["op", number, call]))
            lane = self._lanes[number] = _Lane(self._contexts[call], number, call)
            serving, context = self._serve_task(lane), lane.context.copy()
            asyncio.get_running_loop().create_task(serving, context=context, name="a task of the answer")
        return self._lanes[number]

    def _set_timer(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if due is not None and due < math.inf:
            self._timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        try:
            self.turn()
        except asyncio.CancelledError:
            return  # the run ends by itself

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._tick)

    # Questions, asked while the learner's code runs on

    def _answered(self, call: int, words: list[Any]) -> list[Any]:
        try:
            if call == 0:
                return ["ok", self._pack(self._answer(words))]
            if call not in self._contexts:
                raise misunderstood(words)
            return ["ok", self._pack(self._contexts[call].copy().run(self._answer, words))]
        except (Ended, Runaway, KeyboardInterrupt):
            raise
        except BaseException as error:
            if self.over:
                raise
            return ["error", self._errors.pack(error)]

    def _answer(self, words: list[Any]) -> Any:
        match words:
            case ["make", str(name), list(args), dict(named)] if self._makes and name in self._makes:
                return self._makes[name](*self._understand(args), **self._understand(named))
            case ["id", str(prefix)]:
                return new_id(prefix[:20])
            case ["do", list(target), list(args), dict(named)]:
                how, function = self._target(target)
                if how != "wait":
                    found = function(*self._understand(args), **self._understand(named))
                    return _at_once(found) if how == "now" else found
            case ["get", int(number), str(name)] if number in self._handed_out:
                thing = self._handed_out[number]
                how = self._behaviour(thing, name)
                if how in ("attribute", "fixed", "shared"):
                    found = getattr(thing, name)
                    return _Shared(found) if how == "shared" else found
        raise misunderstood(words)

    def _target(self, target: list[Any]) -> tuple[str, Callable[..., Any]]:
        """Something that was handed out, or a method of it that may be used; and how it behaves."""
        match target:
            case [int(number)] if number in self._handed_out:
                thing = self._handed_out[number]
                if inspect.isawaitable(thing):
                    return "wait", lambda: thing
                if callable(thing):
                    return ("wait" if is_async(thing) else "sync"), thing
            case [int(number), str(name)] if number in self._handed_out:
                how = self._behaviour(self._handed_out[number], name)
                if how in ("wait", "now", "sync"):
                    method = getattr(self._handed_out[number], name)
                    return how, _leaving(method) if name in ("__exit__", "__aexit__") else method
        raise misunderstood(target)

    # Calls of the learner's things

    async def call(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the learner's that may suspend, and do what its tasks ask for until it ends."""
        if self.over:
            await anyio.sleep_forever()  # a call to the dead
        number = len(self._contexts) + 1
        context = self._contexts[number] = copy_context()
        lane = self._calls[number] = _Lane(context, 0, number)
        try:
            self.turn(["call", number, target, [*map(self._pack, args)], self._pack_named(named), whoami()])
            return await self._serve(lane)
        except _Cancelled:
            raise asyncio.CancelledError from None
        except asyncio.CancelledError as cancelled:
            if self.over or number not in self._calls:
                raise
            return await self._stop(number, lane, cancelled)

    async def _stop(self, number: int, lane: _Lane, cancelled: asyncio.CancelledError) -> Any:
        """The call is cancelled from here: it ends over there, with all that it still does on its way."""
        with anyio.CancelScope(shield=True):
            self.turn(*self._dropped(lane), ["stop", number])
            try:
                return await self._serve(lane)
            except _Cancelled:
                raise cancelled from None

    def _dropped(self, lane: _Lane) -> list[list[Any]]:
        doing, lane.doing = lane.doing, None
        if doing is None:
            return []
        self._operations.pop(doing.number, None)
        return [["dropped", doing.number]]

    async def _serve(self, lane: _Lane) -> Any:
        while True:
            match await lane.next():
                case _Operation() as operation:
                    self.turn(await self._done(lane, operation))
                case ["return", _, value]:
                    return self._understand(value)
                case ["raise", _, error]:
                    raise self._understand_error(error)
                case ["cancelled", *_]:
                    raise _Cancelled
                case _:
                    return None

    async def _serve_task(self, lane: _Lane) -> None:
        """Work for a task of the learner's that is not a call's own."""
        try:
            await self._serve(lane)
        except asyncio.CancelledError:
            if not self.over:
                self.turn(*self._dropped(lane))
            raise

    async def _done(self, lane: _Lane, operation: _Operation) -> list[Any]:
        """Do what a task of the learner's waits for, and say how that ended."""
        try:
            _, function = self._target(operation.target)
        except Ended as ending:
            self._end(ending)
        args, named = self._understand(operation.args), self._understand(operation.named)
        lane.doing = operation
        try:
            if operation.target[-1] in NO_SCOPE:
                outcome = ["value", operation.number, self._pack(await _came_to(function(*args, **named)))]
            else:
                outcome = ["cancelled", operation.number]
                with operation.in_scope():
                    found = await _came_to(function(*args, **named))
                    outcome = ["value", operation.number, self._pack(found)]
        except (asyncio.CancelledError, Ended, KeyboardInterrupt):
            raise
        except BaseException as error:
            outcome = ["error", operation.number, self._errors.pack(error)]
        lane.doing = None
        self._operations.pop(operation.number, None)
        return outcome

    def sync(self, target: list[Any], args: tuple[Any, ...] = (), named: dict[str, Any] | None = None) -> Any:
        """Call something of the learner's that does not suspend."""
        if self.over:
            return None
        if self._makes == {}:  # what is shared is shared for one call
            self._wire.hold(["forget"])
            self._shared.forget()
        line = ["sync", _now(), whoami(), target, [*map(self._pack, args)], self._pack_named(named or {})]
        kind, found, ready, due = self._talk(line, self._answers)
        if not self._talking and asyncio._get_running_loop() is not None:
            self._set_timer(due)
            if ready:
                self._tick_soon()
        if kind == "fault":
            raise self._understand_error(found)
        return self._understand(found)

    def where(self, lane: _Lane, name: str) -> list[str]:
        """Lines that say where the learner's task of a lane waits, and those that have no lane."""
        if self.over or self._talking:
            return []
        try:
            told = self._talk(["where", lane.number, lane.call, name], self._lines)
        except asyncio.CancelledError:
            return []  # the run ends by itself
        return [line[:MAX_WORDS] for line in told[:MAX_LINES]]

    def _lines(self, said: list[Any]) -> list[Any]:
        match said:
            case ["where", list(lines)] if all(isinstance(each, str) for each in lines):
                return lines
        raise misunderstood(said)

    def _answers(self, said: list[Any]) -> Any:
        match said:
            case [("answer" | "fault"), _, bool(), due] if _is_time(due):
                return said
        raise misunderstood(said)


waits_elsewhere(Learner._serve, lambda here, name: here.f_locals["self"].where(here.f_locals["lane"], name))


class _Shared:
    """A list of the judge's that is handed out itself."""

    def __init__(self, found: list[Any]) -> None:
        self.append, self.remove, self.pop = found.append, found.remove, found.pop


def _unveiled(value: Any) -> Any:
    """The thing itself, of one that is shown behind a veil."""
    return object.__getattribute__(value, "_thing") if type(value).__name__ == "_Veil" else value


def _leaving(method: Callable[..., Any]) -> Callable[[BaseException | None], Any]:
    """The end of a block, which is told of an error in three parts."""
    return lambda error: (
        method(type(error), error, error.__traceback__) if error else method(None, None, None)
    )


def _now() -> float:
    loop = asyncio._get_running_loop()
    return loop.time() if loop is not None else 0.0


def _is_time(due: Any) -> bool:
    """True for None, and for a time from now on."""
    return _is_number(due) and (due is None or due >= _now())


def _is_number(value: Any) -> bool:
    """True for None, and for a number that can be a time."""
    return value is None or (type(value) in (int, float) and abs(value) <= LATEST) or value == math.inf


async def _came_to(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


def _at_once(coro: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never suspends."""
    try:
        coro.send(None)
    except StopIteration as stop:
        return stop.value
    coro.close()
    raise RuntimeError("the table says of this that it never suspends, and it does")
