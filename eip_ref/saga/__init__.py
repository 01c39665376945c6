"""Saga: one business transaction over several services, none of which locks anything for the others.

The promise: a saga ends *completed*, with every step done once, or *compensated*, with every step
that may have happened taken back; and when neither can be reached it is *stuck*, visibly, until
somebody resumes it. These exclude each other, whenever the orchestrator dies, and whatever the
network loses, doubles or delays. There is no isolation: see `countermeasures.py`.

    import anyio
    from eip_ref.lab import simulate
    from eip_ref.saga import Orchestrator, Participant, Refused, Saga, SagaLog, Step, add, pivot
    from eip_ref.storage import MemoryStore

    ORDER = Saga("order", [Step("money", "Reserve", undo="Release"), pivot("tea", "Take")])

    def reserved(amount):
        return lambda command, books: add(books, "reserved", amount)

    def take(command, books):
        if books.get("taken by"):
            raise Refused("there was tea for one")
        books.put("taken by", command.correlation_id)

    async def scenario():
        payments = Participant("payments", MemoryStore(), {"Reserve": reserved(30), "Release": reserved(-30)})
        stock = Participant("stock", MemoryStore(), {"Take": take})
        async def execute(command):
            await anyio.sleep(0.5)
            print(f"{anyio.current_time():4} s  {command.id:18} {command.type}")
            return await (stock if command.type == "Take" else payments)(command)

        orchestrator = Orchestrator(ORDER, SagaLog(MemoryStore()), execute)
        for number in ("order-1", "order-2"):
            ended = await orchestrator.run(number, None)
            print(f"{number} is {ended.phase}. {ended.reason}")
        print(payments.business(), stock.business())

    simulate(scenario)

Read `definition.py` first, then `state.py`, which is the log too, and `orchestrator.py`.
`participant.py` is the other side. `choreography.py` and `monitor.py` do without a coordinator.
Commands may leave through an outbox and its relay, which are those of `eip_ref.cqrs`.

In a trace, where = the saga's name, message = the saga's id: "state" with was, now and reason, told
with the commit of the log. Each attempt is "started", then "finished", "failed" (outcome:
"refused", "not done" or "doubt"), "timed out" or "cancelled", at the same place; its message is the
command's id, `<saga>/<step>` or `<saga>/<step>/undo`, and its data are saga, step and role: "action",
"compensation" or "question" (which, finished, has what was said).
A participant tells each "effect" that its handler names by `LocalTransaction.effect`, with the same data
and the amounts that it changed, "duplicate" for a repetition, "refused", and "state" from unknown to
revoked for a tombstone. A monitor tells the same states as a saga, at its own place. An answer for which
nobody waits is "dropped", at the saga's name.

*Left out:* clearing away ended sagas, and old operations of participants; changing a definition while
sagas of the old one run; branches and loops in a definition; a reaction to several events together;
jitter between retries; the clock that says the timeout of a choreographed saga (a queue that keeps an
event back); several orchestrators that share the sagas of one log fairly (two on the same saga do no
harm: one is told `TakenOver`).
"""

from ..request_reply import NotDone
from .choreography import Choreography, EventCycle, Reaction, Service, event
from .countermeasures import Changed, Locked, add, lock, reread, unlock
from .definition import Parallel, Retry, Saga, Step, StepKind, pivot, retriable
from .monitor import Monitor, SagaStatus
from .orchestrator import Execute, Orchestrator
from .participant import (
    LocalHandler,
    LocalTransaction,
    Participant,
    Refused,
    Revoked,
    action,
    answering,
    compensation,
    question,
)
from .state import (
    IllegalRecord,
    LogRecord,
    Phase,
    RecordType,
    SagaEnded,
    SagaLog,
    SagaState,
    StepState,
    TakenOver,
)

__all__ = [
    "Changed",
    "Choreography",
    "EventCycle",
    "Execute",
    "IllegalRecord",
    "LocalHandler",
    "LocalTransaction",
    "Locked",
    "LogRecord",
    "Monitor",
    "NotDone",
    "Orchestrator",
    "Parallel",
    "Participant",
    "Phase",
    "Reaction",
    "RecordType",
    "Refused",
    "Retry",
    "Revoked",
    "Saga",
    "SagaEnded",
    "SagaLog",
    "SagaState",
    "SagaStatus",
    "Service",
    "Step",
    "StepKind",
    "StepState",
    "TakenOver",
    "action",
    "add",
    "answering",
    "compensation",
    "event",
    "lock",
    "pivot",
    "question",
    "reread",
    "retriable",
    "unlock",
]
