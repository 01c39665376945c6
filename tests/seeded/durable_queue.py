"""Durable queues and logs under faults: a bad network, failing work, and a process that dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import anyio

from eip_ref.durable_queue import ConsumerGroup, SQLiteLog, SQLiteQueue
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults
from eip_ref.message import Message
from eip_ref.message_queue import Attempt, Counts, DeadLetterPolicy, IdempotentReceiver, Ledger, Worker
from eip_ref.storage import Database
from eip_ref.trace import Kind, Trace, acting, record

from . import SeededRun, proves_something

NUMBERS = range(8)
KEYS = (None, "a", "b", "a")
GROUPS = ("billing", "audit")
GROUP_COMMITS: list[dict[str, Any]] = [{}, {"group_commit": 3, "linger": 0.2}]
LINK: dict[str, Any] = {"loss": 0.2, "duplication": 0.2, "reordering": 0.2, "latency": Exponential(0.3)}
Open = Callable[[], Database]  #: opens the one file of a run, for a new process


class Queued(NamedTuple):
    """What the shop took for confirmed, what was charged, and what the queue says in the end."""

    confirmed: set[str]
    charged: set[str]
    counts: Counts


class Logged(NamedTuple):
    """What the shop took for confirmed, the ids in the log, and how far each group has committed."""

    confirmed: set[str]
    log: list[str]
    committed: dict[str, int]


async def send_until_confirmed(
    chance: Faults, confirmed: set[str], put: Callable[[Message], Awaitable[object]]
) -> None:
    """Orders go over the network again and again, until each is confirmed."""
    orders = [Message(f"order {n}", id=f"order-{n}", key=KEYS[n % len(KEYS)]) for n in NUMBERS]

    async def deliver(message: Message) -> None:
        await put(message)
        confirmed.add(message.id)

    async with chance.link("net", deliver, **LINK) as net:
        while missing := [order for order in orders if order.id not in confirmed]:
            for order in missing:
                await net.send(order)
            await anyio.sleep(2)


def doom(chance: Faults) -> tuple[Crash, ...]:
    """Two deaths of the process, the first one while it waits for the network."""
    dice = chance.random("doom")
    times = dice.uniform(0.1, 2), dice.uniform(2, 20)
    return tuple(Crash(at=at, restart_after=dice.uniform(0, 3)) for at in times)


async def queue_in_a_process(opened: Open) -> Queued:
    """A queue and its workers live in one process, which crashes and restarts."""
    chance, ledger = Faults(), Ledger()
    dice = chance.random("load")
    failing, lease = dice.choice([0.0, 0.3]), dice.choice([1.0, 5.0])
    group_commit: dict[str, Any] = dice.choice(GROUP_COMMITS)
    confirmed, lives = set[str](), count(1)

    async def handle(message: Message, transaction: Attempt) -> None:
        await chance.sleep("work", Exponential(0.4))
        if chance.random("failing").random() < failing:
            raise ConnectionError("payment service away")
        transaction.set(message.id, "charged")
        transaction.effect("charged", key=message.key)

    async def process() -> None:
        life, policy = next(lives), DeadLetterPolicy(max_failures=4)
        queue = SQLiteQueue(opened(), "orders", lease=lease, dedup=100, policy=policy, **group_commit)
        async with queue, anyio.create_task_group() as group:
            for number in range(3):
                with acting(f"worker {number} of life {life}"):
                    group.start_soon(Worker(queue, IdempotentReceiver(ledger, handle), prefetch=2).run)
            await send_until_confirmed(chance, confirmed, queue.put)
            queue.close()

    await chance.participant("process", process, crashes=doom(chance)).run()
    async with SQLiteQueue(opened(), "orders") as queue:
        return Queued(confirmed, set(ledger.values), queue.counts)


def judge_queue(trace: Trace) -> Sequence[object]:
    """Each confirmed order is charged once, or a dead letter."""
    proves_something(trace.count("crashed"), "the process never died")
    wrong: list[object] = [
        *invariants.check(
            trace,
            invariants.conservation,
            invariants.exactly_one_receiver,
            invariants.lease_fencing,
            invariants.one_in_flight_per_key,
            invariants.no_duplicate_effect,
            invariants.nothing_acked_lost,
            partial(invariants.prefetch_never_exceeded, limit=2),
        )
    ]
    confirmed, charged, counts = Queued(*trace.result)
    dead = set(trace.messages("dead", where="orders"))
    if not dead:  # the handler of a dead letter may still run, and have its effect after the next one
        wrong += invariants.order_per_key(trace)
    if not confirmed == {f"order-{n}" for n in NUMBERS} == charged | dead:
        wrong.append(f"confirmed {sorted(confirmed)}, charged {sorted(charged)}, dead {sorted(dead)}")
    if counts[:2] != (0, 0) or sum(counts[:5]) != counts.accepted:
        wrong.append(f"the queue was not settled: {counts}")
    return wrong


async def log_in_a_process(opened: Open) -> Logged:
    """A log and two groups that read it live in one process, which crashes and restarts."""
    chance = Faults()
    dice = chance.random("load")
    limit = dice.randint(1, 4)
    group_commit: dict[str, Any] = dice.choice(GROUP_COMMITS)
    confirmed = set[str]()

    async def read(log: SQLiteLog, name: str) -> None:
        group = ConsumerGroup(log, name)
        while len(confirmed) < len(NUMBERS) or group.lag:
            for entry in await group.read(limit=limit, timeout=1):
                await chance.sleep(name, Exponential(0.3))
                record(Kind.EFFECT, name, entry.message.id, who=name, effect="booked", offset=entry.offset)
            await group.commit()

    async def process() -> None:
        log = SQLiteLog(opened(), "orders", dedup=100, **group_commit)
        async with log, anyio.create_task_group() as group:
            for name in GROUPS:
                group.start_soon(read, log, name)
            await send_until_confirmed(chance, confirmed, log.append)

    await chance.participant("process", process, crashes=doom(chance)).run()
    async with SQLiteLog(opened(), "orders") as log:
        entries = await log.read(0)
        committed = {name: ConsumerGroup(log, name).committed for name in GROUPS}
        return Logged(confirmed, [entry.message.id for entry in entries], committed)


def judge_log(trace: Trace) -> Sequence[object]:
    """Each order is in the log once, and each group did all of them, in order, some more than once."""
    proves_something(trace.count("crashed"), "the process never died")
    wrong: list[object] = [*invariants.check(trace, invariants.no_gap)]
    confirmed, log, committed = Logged(*trace.result)
    ids = {f"order-{n}" for n in NUMBERS}
    if confirmed != ids or sorted(log) != sorted(ids):
        wrong.append(f"confirmed {sorted(confirmed)}, and in the log are {log}")
    if trace.messages("accepted", where="orders") != log:
        wrong.append(f"accepted {trace.messages('accepted', where='orders')}, and in the log are {log}")
    for name in GROUPS:
        wrong += _reading(trace, name)
        done = set(trace.messages("effect", where=name))
        if committed[name] != len(log) or done != ids:
            wrong.append(f"{name} has committed {committed[name]} of {len(log)} and done {sorted(done)}")
    return wrong


def _reading(trace: Trace, group: str) -> list[str]:
    """A group reads one offset after the other; after a crash it begins again where it had committed."""
    following, committed, done, wrong = 0, 0, -1, list[str]()
    for event in trace:
        if event.kind == Kind.CRASHED:
            following = committed
        elif event.data.get("group") == group and event.kind == Kind.DELIVERED:
            if event.data["offset"] != following:
                wrong.append(f"{group} read {event.data['offset']} at {event.at:g} s, and not {following}")
            following = event.data["offset"] + 1
        elif event.data.get("group") == group and event.kind == Kind.STATE:
            committed = event.data["now"]
            if committed > done + 1:
                wrong.append(f"{group} committed {committed} at {event.at:g} s, and had done {done}")
        elif event.kind == Kind.EFFECT and event.where == group:
            done = max(done, event.data["offset"])
    return wrong


def play(scenario: Callable[[Open], Awaitable[object]], seed: int) -> Trace:
    """Play in a folder of its own. What dead processes left open is closed at the end."""
    files: list[Database] = []

    def opened() -> Database:
        files.append(Database(Path(folder, "shop.db"), synchronous="OFF"))
        return files[-1]

    with TemporaryDirectory() as folder:
        try:
            return simulate(scenario, opened, seed=seed)
        finally:
            for file in files:
                with suppress(RuntimeError):  # it was closed in good order
                    file.connection.close()


RUNS = [
    SeededRun("a queue in a process that crashes", partial(play, queue_in_a_process), judge_queue),
    SeededRun("a log in a process that crashes", partial(play, log_in_a_process), judge_log),
]
