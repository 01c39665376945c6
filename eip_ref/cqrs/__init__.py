"""CQRS: commands change the write side, events carry the news, and queries read a view made for them.

The promise: when a command is answered, its state and its events are committed together; every
event reaches every view at least once and changes it exactly once, in the order of its stream; and
a reader who passes the version of the answer never gets anything older without being told so.

    command ─▶ Commands ─┬─ state                            ┌─▶ read(…, at_least=…)
                         └─ Outbox ─▶ Relay ─▶ broker ─▶ ReadModel ─▶ Feed
               one transaction                     one transaction

    async def story():
        shop = MemoryStore()
        service = users(shop)
        dashboard = ReadModel(MemoryStore(), "dashboard", DASHBOARD)
        relay = Relay(service.outbox, dashboard)  # the read model itself in the place of a broker

        result = await service.handle(Command("Register", "ann", {"name": "Ann", "email": "ann@shop"}))
        print("answered:", result)
        print("the view has", dashboard.get("ann"), "and the outbox", len(service.outbox), "event")
        async with anyio.create_task_group() as group:
            with acting("Ann's browser"):
                group.start_soon(relay.run)
                reading = await read(dashboard, "ann", at_least={"users/ann": result.version})
                print("read:", reading.row["name"], "- stale:", reading.stale)
            with Feed(dashboard) as feed:
                await service.handle(Command("Rename", "ann", {"name": 'Ann "the cat" Lee'}))
                async for change in feed:
                    print(f"position {change.position}: {change.row['name']}")
                    if change.position == 2:
                        break
            relay.stop()

Read `commands.py` first, then `outbox.py` and `read_model.py`; `inbox.py` is for consumers whose effect
is not a view, `feed.py` for those who follow one. `eip_ref.apps.shop_dashboard` has the two services of
this story and makes it a web application, which `eip app dashboard` starts.

*Left out:* several machines; telling at once, in another process, that a shared file has changed
(who waits for it looks every `poll` seconds of its database); schema registries for the events.
"""

from ..event_sourcing import ResequencerFull, WrongExpectedVersion, stream_version
from .commands import (
    REFUSALS,
    Check,
    Command,
    CommandQueue,
    CommandRejected,
    CommandResult,
    Commands,
    CommandStatus,
    Decide,
    Decision,
    DomainEvent,
    IdempotencyKeyReused,
    InvalidCommand,
    UnknownCommand,
    event,
)
from .feed import Feed, TooSlow, WhenSlow
from .inbox import Inbox, TransactionalHandler, UnknownEvent, WhenUnknown
from .outbox import ClaimedMessage, Outbox, Relay
from .read_model import Lag, Late, NotYet, NumberedView, Reading, ReadModel, RowChange, read

__all__ = [
    "REFUSALS",
    "Check",
    "ClaimedMessage",
    "Command",
    "CommandQueue",
    "CommandRejected",
    "CommandResult",
    "CommandStatus",
    "Commands",
    "Decide",
    "Decision",
    "DomainEvent",
    "Feed",
    "IdempotencyKeyReused",
    "Inbox",
    "InvalidCommand",
    "Lag",
    "Late",
    "NotYet",
    "NumberedView",
    "Outbox",
    "ReadModel",
    "Reading",
    "Relay",
    "ResequencerFull",
    "RowChange",
    "TooSlow",
    "TransactionalHandler",
    "UnknownCommand",
    "UnknownEvent",
    "WhenSlow",
    "WhenUnknown",
    "WrongExpectedVersion",
    "event",
    "read",
    "stream_version",
]
