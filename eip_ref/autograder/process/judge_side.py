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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, NoReturn

import anyio

from ...lab.clock import Runaway, end_the_run, waits_elsewhere
from ...signal import orphans
from ...trace import whoami
from .handed_out import HandedOut
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

    def __init__(self, number: int, deadline: float | None, shield: bool, *what: Any) -> None:
        self.number, self.deadline = number, deadline
        self.target, self.args, self.named = what
        self.scope = anyio.CancelScope(shield=shield)  # as the answer's own shields, all of which are there

    @contextmanager
    def in_scope(self) -> Iterator[None]:
        """Tell whoever asks inside the deadline of the learner's task, which alone keeps it."""
        if self.target[-1] in NO_SCOPE:
            yield
            return
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


class Learner(HandedOut):
    """One process of the learner's. Once it is killed no stub of it does anything.

    `makes` is what a test makes here, and None where it is no test.
    """

    def __init__(
        self, wire: Wire, budget: Budget, kill: Callable[[], None], makes: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(budget, makes)
        self.over = False
        self._wire, self._kill = wire, kill
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

    def _doom(self) -> None:
        self._doomed = True
        if not self._talking:
            self.kill()

    def end(self, ending: BaseException) -> NoReturn:
        """The run is over, because of what this process did."""
        self._budget.cut_off = True
        self.kill()
        if end_the_run(ending):
            raise asyncio.CancelledError  # the simulation ends by itself, where nobody can catch it
        raise ending

    # Turns

    def turn(self, *items: list[Any]) -> None:
        """Let the learner's tasks work until all of them wait. Never suspends."""
        if not self.over:
            self._count_turn()
            _, due, entries = self._talk("go", _now(), [*items])
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
            self.end(Runaway(f"more than {TURNS:,} turns at {now:g} s, and no time passes"))

    def _talk(self, *line: Any) -> list[Any]:
        """Send a line and answer what is asked, until the reply comes."""
        outer, self._talking = self._talking, True
        try:
            self._wire.send(*self.with_changes(line))
            while True:
                match said := self._wire.receive():
                    case ["ask", int(call), *words]:
                        self._wire.send(*self.with_changes(self._answered(call, words)))
                    case ["changed", *changes]:
                        self.understand(changes)
                    case ["too-much"]:
                        raise Ended("too-much")
                    case ["runaway"]:
                        raise Runaway("the answer goes round without an end, and no time passes")
                    case _ if _replies(line[0], said):
                        return said
                    case _:
                        raise misunderstood(said)
        except (Ended, Runaway) as ending:
            self.end(ending)
        finally:
            self._talking = outer

    def _take(self, entry: Any) -> None:
        match entry:
            case ["op", int(number), int(lane), int(call), until, list(), list(), dict(), *rest]:
                if number in self._operations or not _is_number(until):
                    self.end(misunderstood(entry))
                if len(self._operations) >= self._budget.operations:
                    self.end(Ended("too-much", "Too many operations are open."))
                operation = _Operation(number, until, rest == ["shield"], *entry[5:8])
                self._operations[number] = operation
                self._lane(lane, call).add(operation)
            case ["cancel", int(number)]:
                if number in self._operations:
                    self._operations[number].scope.cancel()
            case [("return" | "raise" | "cancelled"), int(call), _] if call in self._calls:
                self._calls.pop(call).add(entry)
            case ["forgotten", int(line), str(words)]:
                self._budget.forgotten = self._budget.forgotten or (line, words[:MAX_WORDS])
            case ["over", int(lane)]:
                if lane in self._lanes:
                    self._lanes.pop(lane).add(entry)
            case _:
                self.end(misunderstood(entry))

    def _lane(self, number: int, call: int) -> _Lane:
        if number == 0 and call in self._calls:
            return self._calls[call]
        if number not in self._lanes:
            if call not in self._contexts or number == 0:
                self.end(misunderstood(["op", number, call]))
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

    def _answered(self, call: int, words: list[Any]) -> list[Any]:
        """The answer to a question, which is asked while the learner's code runs on."""
        if call and call not in self._contexts:
            raise misunderstood(words)
        context = self._contexts[call].copy() if call else copy_context()
        try:
            return ["ok", self.pack(context.run(self.answer, words))]
        except (Ended, Runaway, KeyboardInterrupt):
            raise
        except BaseException as error:
            if self.over:
                raise
            return ["error", self.errors.pack(error)]

    # Calls of the learner's things

    async def call(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the learner's that may suspend, and do what its tasks ask for until it ends."""
        if self.over:
            await anyio.sleep_forever()  # a call to the dead
        number = len(self._contexts) + 1
        context = self._contexts[number] = copy_context()
        lane = self._calls[number] = _Lane(context, 0, number)
        try:
            self.turn(["call", number, target, *self.pack_call(args, named), whoami()])
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
                    return self.understand(value)
                case ["raise", _, error]:
                    raise self.understand_error(error)
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
            _, function = self.target(operation.target)
        except Ended as ending:
            self.end(ending)
        args, named = self.understand(operation.args), self.understand(operation.named)
        lane.doing, outcome = operation, ["cancelled", operation.number]
        try:
            with operation.in_scope():
                found = await _came_to(function(*args, **named))
                outcome = ["value", operation.number, self.pack(found)]
        except (asyncio.CancelledError, Ended, KeyboardInterrupt):
            raise
        except BaseException as error:
            outcome = ["error", operation.number, self.errors.pack(error)]
        lane.doing = None
        self._operations.pop(operation.number, None)
        return outcome

    def read(self, number: int, name: str) -> Any:
        """An attribute of one of the learner's objects."""
        return self.sync([number, name, "read"], (), {})

    def sync(self, target: list[Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call something of the learner's that does not suspend."""
        if self.over:
            return None
        if self.sharing and not self._makes:  # what is shared is shared for one call
            self.shared.forget()
        call = self.pack_call(args, named)
        kind, found, ready, due = self._talk("sync", _now(), whoami(), target, *call)
        if not self._talking and asyncio._get_running_loop() is not None:
            self._set_timer(due)
            if ready and not self._ticking:
                self._ticking = True
                asyncio.get_running_loop().call_soon(self._tick)
        if kind == "fault":
            raise self.understand_error(found)
        return self.understand(found)

    def where(self, lane: _Lane, name: str) -> list[str]:
        """Lines that say where the learner's task of a lane waits, and those that have no lane."""
        if self.over or self._talking:
            return []
        try:
            _, told = self._talk("where", lane.number, lane.call, name)
        except asyncio.CancelledError:
            return []  # the run ends by itself
        return [line[:MAX_WORDS] for line in told[:MAX_LINES]]


waits_elsewhere(Learner._serve, lambda here, name: here.f_locals["self"].where(here.f_locals["lane"], name))


def _now() -> float:
    loop = asyncio._get_running_loop()
    return loop.time() if loop is not None else 0.0


def _replies(asked: str, said: list[Any]) -> bool:
    """True for what may be said in reply."""
    match asked, said:
        case "go", ["wait", due, list()]:
            return _is_time(due)
        case "sync", ["answer" | "fault", _, bool(), due]:
            return _is_time(due)
        case "where", ["where", list(lines)]:
            return all(isinstance(each, str) for each in lines)
    return False


def _is_time(due: Any) -> bool:
    """True for None, and for a time from now on."""
    return _is_number(due) and (due is None or due >= _now())


def _is_number(value: Any) -> bool:
    """True for None, and for a number that can be a time."""
    return value is None or (type(value) in (int, float) and abs(value) <= LATEST) or value == math.inf


async def _came_to(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found
