"""Saga: one business transaction over several services, none of which locks anything for the others.

The promise: a saga ends *completed*, with every step done once, or *compensated*, with every step
that may have happened taken back; and when neither can be reached it is *stuck*, visibly, until
somebody resumes it. These exclude each other, whenever the orchestrator dies, and whatever the
network loses, doubles or delays. There is no isolation: see `countermeasures.py`.

    import anyio
    from eip_ref.lab import simulate
    from eip_ref.saga import MemorySagaLog, Orchestrator
    from eip_ref.saga.order_story import Shop, order_saga

    FIRST = {"customers": {"credit ann": 100}, "payments": {"card ann": 100}, "inventory": {"stock tea": 1}}

    async def scenario():
        shop, log = Shop(FIRST), MemorySagaLog()

        async def carry(command):
            await anyio.sleep(0.5)
            answer = await shop.carry(command)
            print(f"{anyio.current_time():4} s  {command.id:17} {command.type}")
            return answer

        orchestrator = Orchestrator(order_saga(), log, carry)
        for number in ("order-1", "order-2"):  # and there is tea for one
            order = {"customer": "ann", "item": "tea", "quantity": 1, "price": 30}
            ended = await orchestrator.run(number, order)
            print(f"{number} is {ended.phase}. {ended.reason}")
        print("card:", shop.business()["payments"]["card ann"])

    simulate(scenario)

Read `definition.py` and `entries.py` first, then `orchestrator.py`, `run.py` and `attempts.py`;
`log.py` and `sqlite_log.py` keep the log, `post.py` sends from its outbox. `participant.py` is the
other side, on the books of `store.py`. `choreography.py` and `monitor.py` do without a coordinator,
and `order_story.py` tells one story both ways.

In a trace, where = the saga's name, message = the saga's id: "state" with was, now and reason, told
with the commit of the log. Each attempt is "started", then "finished", "failed" (outcome:
"refused", "not done" or "doubt"), "timed out" or "cancelled", at the same place; its message is the
command's id, `<saga>/<step>` or `<saga>/<step>/undo`, and its data are saga, step and role: "action",
"compensation" or "question" (which, finished, has what was said).
A participant tells its "effect" with the same data and the amounts that it changed, "duplicate" for a
repetition, "refused", and "state" from unknown to revoked for a tombstone. A monitor tells the same
states as a saga, at its own place.

*Left out:* clearing away ended sagas, and old operations of participants; changing a definition while
sagas of the old one run; branches and loops in a definition; a reaction to several events together;
jitter between retries; the clock that says the timeout of a choreographed saga (a queue that keeps an
event back); several orchestrators that share the sagas of one log fairly (two on the same saga do no
harm: one is told `TakenOver`).
"""

from . import commands
from .attempts import Carry
from .choreography import Choreography, EventCycle, Reaction, Service, event
from .countermeasures import Changed, Locked, add, lock, reread, unlock
from .definition import Parallel, Saga, Step, StepKind, pivot, retriable
from .entries import Entry, IllegalEntry, Mark, Phase, Progress, SagaEnded, StepState
from .log import MemorySagaLog, SagaLog, TakenOver
from .monitor import Monitor, Status
from .orchestrator import Orchestrator
from .outcomes import NotDone, Refused, Retry, Revoked
from .participant import Handler, Participant, answering
from .post import Post
from .sqlite_log import SQLiteSagaLog
from .store import Draft, MemoryStore, SQLiteStore, Store

__all__ = [
    "Carry",
    "Changed",
    "Choreography",
    "Draft",
    "Entry",
    "EventCycle",
    "Handler",
    "IllegalEntry",
    "Locked",
    "Mark",
    "MemorySagaLog",
    "MemoryStore",
    "Monitor",
    "NotDone",
    "Orchestrator",
    "Parallel",
    "Participant",
    "Phase",
    "Post",
    "Progress",
    "Reaction",
    "Refused",
    "Retry",
    "Revoked",
    "SQLiteSagaLog",
    "SQLiteStore",
    "Saga",
    "SagaEnded",
    "SagaLog",
    "Service",
    "Status",
    "Step",
    "StepKind",
    "StepState",
    "Store",
    "TakenOver",
    "add",
    "answering",
    "commands",
    "event",
    "lock",
    "pivot",
    "reread",
    "retriable",
    "unlock",
]
