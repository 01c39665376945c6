"""A durable queue of which a second process does a part: it puts and settles, and the first one receives.

The second process runs `serve`. It reads calls from its standard input, makes each at the virtual time
of whoever calls, and answers with what came of it and with the facts
that it recorded. So the whole contract can be asked of two processes.
"""

from __future__ import annotations

import atexit
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.message_queue import Lease, Settled
from eip_ref.signal import alone
from eip_ref.storage import Database
from eip_ref.trace import Event, Kind, acting, record, whoami


@dataclass(frozen=True)
class Grant:
    """A lease on its way to another process: all of it but its message and its queue."""

    sequence: int
    token: int
    expires: float  #: seconds from the call
    seconds: float
    outcome: str
    over: bool

    @classmethod
    def of(cls, lease: Lease, now: float) -> Grant:
        left = lease.expires - now
        return cls(lease.sequence, lease.token, left, lease.seconds, lease.outcome, lease.over)


@dataclass(frozen=True)
class Call:
    """A call of a method of the queue in a file, by somebody, at a time of theirs."""

    path: Path
    name: str
    settings: dict[str, Any]
    now: float
    who: str
    method: str
    message: str | None = None  #: as JSON, for a put
    grant: Grant | None = None  #: for what settles
    message_id: str = "m"  #: of the lease
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """The outcome of a call, the facts, and the lease as it was afterwards."""

    outcome: Any
    facts: list[tuple[str, str, str, str, dict[str, Any]]]
    grant: Grant | None


# In the second process

_files: dict[Path, Database] = {}
_now = [0.0]


async def _made(call: Call) -> tuple[Any, Grant | None]:
    queue = SQLiteQueue(_opened(call), call.name, **call.settings)
    lease = None if call.grant is None else _lease(call, call.grant, queue)
    async with queue:
        given: list[Any] = [] if lease is None else [lease]
        if call.message is not None:
            given.append(Message.from_json(call.message, shift=queue.database.shift))
        try:
            with acting(call.who):
                outcome = await getattr(queue, call.method)(*given, **call.arguments)
        except Exception as error:
            outcome = error
    return outcome, None if lease is None else Grant.of(lease, 0.0)


def _opened(call: Call) -> Database:
    """The file, which stays open from call to call, with its clock at the time of this one."""
    if call.path not in _files:
        for path in list(_files):
            _files.pop(path).__exit__()
        _files[call.path] = Database(call.path, synchronous="OFF", clock=lambda: _now[0]).__enter__()
    _now[:] = [call.now]
    with _files[call.path].transaction():
        _files[call.path]._set_clock()
    return _files[call.path]


def _lease(call: Call, grant: Grant, queue: SQLiteQueue) -> Lease:
    return Lease(
        message=Message(id=call.message_id),
        sequence=grant.sequence,
        token=grant.token,
        expires=grant.expires,
        seconds=grant.seconds,
        deliveries=1,
        failures=0,
        consumer=call.who,
        queue=queue,
        over=grant.over,
        outcome=grant.outcome,
    )


def answered(call: Call) -> Answer:
    """Make a call in virtual time that begins at 0; the clock of the file says when that is."""
    trace = simulate(_made, call)
    outcome, grant = trace.result
    return Answer(outcome, [_moved(event, call.now) for event in trace if event.kind != Kind.OPENED], grant)


def _moved(event: Event, now: float) -> tuple[str, str, str, str, dict[str, Any]]:
    data = dict(event.data)
    if "until" in data:
        data["until"] += now
    return event.kind, event.where, event.message, event.who, data


def serve() -> None:
    """Answer until the other side hangs up."""
    calls, answers = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            call = pickle.load(calls)
        except EOFError:
            return
        pickle.dump(answered(call), answers)
        answers.flush()


# In the first one


@cache
def _second() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    atexit.register(process.communicate)  # which closes its input, and waits for its end
    return process


def _ask(call: Call) -> Answer:
    process = _second()
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump(call, process.stdin)
    process.stdin.flush()
    answer: Answer = pickle.load(process.stdout)
    return answer


class TwoProcesses:
    """A queue whose messages are put and settled by another process than the one that receives them."""

    def __init__(self, path: Path, name: str, *, synchronous: str, **settings: Any) -> None:
        self.one = SQLiteQueue(path, name, synchronous=synchronous, **settings)
        self._path, self._settings = path, settings
        self._alone = "dead_letters" in settings  # a queue of this process, which no other can reach

    async def __aenter__(self) -> Self:
        await self.one.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self.one.__aexit__(kind, error, trace)

    def __len__(self) -> int:
        return len(self.one)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.one, name)

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        if self._alone or self.one._closed or self.one._open is None:
            await self.one.put(message, delay=delay)  # closing ends the intake of one process
            return
        text = message.to_json(shift=self.one.database.shift)
        self._call("put", message=text, arguments={"delay": delay})

    async def purge(self) -> int:
        return await self.one.purge() if self._alone else int(self._call("purge"))

    async def receive(self, **settings: Any) -> Lease:
        return self._mine(await self.one.receive(**settings))

    async def receive_batch(self, max_messages: int, **settings: Any) -> list[Lease]:
        return [self._mine(lease) for lease in await self.one.receive_batch(max_messages, **settings)]

    def _mine(self, lease: Lease) -> Lease:
        lease.queue = self
        return lease

    async def ack(self, lease: Lease) -> Settled:
        return await self._settled("ack", lease)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        return await self._settled("nack", lease, delay=delay, reason=reason)

    async def reject(self, lease: Lease, *, reason: str = "") -> Settled:
        return await self._settled("reject", lease, reason=reason)

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        return await self._settled("extend", lease, seconds=seconds)

    async def _settled(self, method: str, lease: Lease, **arguments: Any) -> Settled:
        if self._alone or lease.queue is not self or self.one._open is None:
            lease.queue = self.one if lease.queue is self else lease.queue
            settled: Settled = await getattr(self.one, method)(lease, **arguments)
            return settled
        grant = Grant.of(lease, anyio.current_time())
        return self._call(method, lease=lease, grant=grant, arguments=arguments)  # type: ignore[no-any-return]

    def _call(self, method: str, *, lease: Lease | None = None, **more: Any) -> Any:
        now = anyio.current_time()
        if lease is not None:
            more["message_id"] = lease.message.id
        answer = _ask(Call(self._path, self.one.name, self._settings, now, whoami(), method, **more))
        for kind, where, message, who, data in answer.facts:
            record(kind, where, message, who=who, **data)
        if lease is not None and answer.grant is not None:
            lease.expires = now + answer.grant.expires
            if answer.grant.over:
                self.one._ended(lease, answer.grant.outcome)
        self._look_again()
        if isinstance(answer.outcome, Exception):
            raise answer.outcome
        return answer.outcome

    def _look_again(self) -> None:
        """What a look every `poll` seconds comes to, at once: in virtual time nobody looks."""
        polls = alone.set(False)
        for queue in (self.one, self.one.dead_letters):
            if isinstance(queue, SQLiteQueue) and queue._open is not None:
                queue._messages._changed_elsewhere()
        alone.reset(polls)
