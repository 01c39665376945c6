"""The contract of settings: what is no number, no name or no plain function is refused where it is given.

A constructor that is new, or has a new parameter, is tested from then on: only a valid way to call it
must be added to `VALID`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import importlib
import inspect
import math
import pkgutil
import time
import types
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any, Protocol, Union, get_args, get_origin, get_type_hints

import pytest

import eip_ref
from eip_ref import (
    aggregator,
    api_gateway,
    backpressure,
    bounded,
    circuit_breaker,
    cqrs,
    durable_queue,
    event_sourcing,
    lab,
    message,
    message_queue,
    point_to_point,
    publish_subscribe,
    request_reply,
    saga,
    storage,
    timers,
    trace,
    values,
)

FLOORS = ("apps", "autograder", "course")  #: that stand on the package and are no part of it


def nothing(*_: Any) -> Any:
    """A plain function for any slot."""


async def nothing_async(*_: Any) -> None:
    """An `async def` for any slot."""


def _valid() -> Iterator[Callable[..., Any]]:
    """Each public constructor, called rightly: whatever is given besides replaces a part of it."""
    queue, store = message_queue.MessageQueue("q"), storage.MemoryStore()
    scaling = backpressure.Scaling()
    branch = api_gateway.Branch("users", nothing)
    window = circuit_breaker.LastCalls(10)
    fold = event_sourcing.Fold(dict[str, Any], lambda state, event: state)
    known, events = event_sourcing.EventTypes(), event_sourcing.MemoryEventStore()
    projection = event_sourcing.Projection("view", {})
    commands = cqrs.Commands(store, "shop")
    outbox = cqrs.Outbox(store)
    model = cqrs.ReadModel(store, "view", {})
    ledger = message_queue.Ledger()
    step = saga.Step("pay", "pay", undo="refund")
    story = saga.Choreography(
        "placed", [saga.Reaction("a", "placed", "do", "s", "done")], {"done": saga.Phase.COMPLETED}
    )
    who = saga.Participant("a", store, {})
    yield partial(aggregator.Aggregator, nothing, complete=aggregator.by_size(2), timeout=1, late=nothing)
    yield partial(api_gateway.Backend, "users", timeout=1)
    yield partial(api_gateway.Branch, "users", nothing)
    yield partial(api_gateway.Bulkhead, "users")
    yield partial(api_gateway.Coalescer, timeout=1)
    yield partial(api_gateway.FanOut, branch)
    yield partial(api_gateway.Gateway, [], authenticate=nothing, timeout=1)
    yield partial(api_gateway.Hedging, 1)
    yield partial(api_gateway.Identity, "ann")
    yield partial(api_gateway.RateLimit, rate=1, burst=1)
    yield api_gateway.RetryBudget
    yield partial(api_gateway.Route, "GET", "/", nothing)
    yield partial(backpressure.Buffer, "b", 1, when_full="block")
    yield partial(
        backpressure.ConsumerPool, "p", queue, nothing, scaling=backpressure.Scaling(), expected_rate=1
    )
    yield partial(backpressure.Credit, "c")
    yield partial(backpressure.Demand, "d", backpressure.Buffer("b", 1, when_full="block"), nothing)
    yield partial(backpressure.Scaler, scaling)
    yield backpressure.Scaling
    yield partial(backpressure.TokenBucket, "t", rate=1, burst=1)
    yield partial(bounded.LastN, 1)
    yield partial(circuit_breaker.AnyOf, circuit_breaker.ConsecutiveFailures())
    yield partial(circuit_breaker.Breakers, nothing)
    yield partial(circuit_breaker.Cached, max_age=1)
    yield partial(circuit_breaker.CircuitBreaker, "b")
    yield circuit_breaker.ConsecutiveFailures
    yield partial(circuit_breaker.Degraded, nothing)
    yield partial(circuit_breaker.FailFast, "users")
    yield partial(circuit_breaker.FailureRate, 0.5, window)
    yield circuit_breaker.HalfOpen
    yield partial(circuit_breaker.LastCalls, 1)
    yield partial(circuit_breaker.LastSeconds, 1)
    yield circuit_breaker.OpenDuration
    yield circuit_breaker.Predicates
    yield partial(circuit_breaker.QueueForLater, queue, key=nothing)
    yield partial(circuit_breaker.SlowCallRate, 0.5, window, slow_after=1)
    yield partial(cqrs.Command, "place", "order-1")
    yield partial(cqrs.CommandQueue, commands)
    yield partial(cqrs.Commands, store, "shop")
    yield partial(cqrs.Feed, model)
    yield partial(cqrs.Inbox, store, "shop")
    yield partial(cqrs.Outbox, store)
    yield partial(cqrs.ReadModel, store, "view", {})
    yield partial(cqrs.Relay, outbox, nothing)
    yield partial(durable_queue.ConsumerGroup, durable_queue.SQLiteLog(":memory:", "log"), "group")
    yield partial(durable_queue.SQLiteLog, ":memory:", "log")
    yield partial(durable_queue.SQLiteQueue, ":memory:", "queue")
    yield event_sourcing.EventTypes
    yield partial(event_sourcing.Fold, dict, nothing)
    yield event_sourcing.MemoryEventStore
    yield partial(event_sourcing.Projection, "view", {})
    yield partial(event_sourcing.Projector, store, projection)
    yield partial(event_sourcing.Reactor, store, "mail", {})
    yield partial(event_sourcing.Reader, events, "reader")
    yield partial(event_sourcing.Repository, events, known, fold)
    yield partial(event_sourcing.Resequencer, store, "inbox", nothing)
    yield partial(event_sourcing.SQLiteEventStore, ":memory:")
    yield partial(event_sourcing.Shredder, store)
    yield partial(event_sourcing.Snapshots, store)
    yield partial(lab.Constant, 1)
    yield partial(lab.Crash, at=1)
    yield partial(lab.Exponential, 1)
    yield lab.Faults
    yield partial(lab.Link, "net", nothing, random=Random(1), delays=Random(1))
    yield partial(lab.Participant, "a", nothing)
    yield partial(lab.Uniform, 1, 2)
    yield message.Message
    yield message_queue.Backoff
    yield partial(message_queue.Consumer, queue)
    yield message_queue.DeadLetterPolicy
    yield partial(message_queue.IdempotentReceiver, ledger, nothing)
    yield message_queue.Ledger
    yield partial(message_queue.MessageQueue, "q")
    yield partial(message_queue.Worker, queue, nothing)
    yield partial(point_to_point.PointToPointChannel, "c")
    yield partial(publish_subscribe.PartitionedTopic, "t", partitions=1, retain=1)
    yield partial(publish_subscribe.PublishSubscribeChannel, "c")
    yield publish_subscribe.TopicMessage
    yield request_reply.RemoteErrors
    yield partial(request_reply.Replier, nothing)
    yield partial(request_reply.Requestor, nothing)
    yield partial(saga.Choreography, "placed", story.reactions, story.ends)
    yield partial(saga.Monitor, story)
    yield partial(saga.Orchestrator, saga.Saga("order", [step]), saga.SagaLog(store), nothing)
    yield partial(saga.Participant, "a", store, {})
    yield saga.Retry
    yield partial(saga.Saga, "order", [step])
    yield partial(saga.SagaLog, store)
    yield partial(saga.Service, who, story, nothing)
    yield partial(saga.Reaction, "bank", "placed", "pay", "pay", "paid", otherwise="declined")
    yield partial(saga.Step, "pay", "pay", undo="refund")
    yield partial(storage.Database, ":memory:")
    yield partial(storage.MemoryLog, "log")
    yield storage.MemoryStore
    yield partial(storage.SQLiteStore, ":memory:")
    yield partial(timers.Timers, nothing)
    yield partial(trace.Trace, ())


VALID = {getattr(made, "func", made): made for made in _valid()}

ONLY_WE_MAKE = frozenset(
    {
        *("Attempt", "DurableSubscriber", "LocalTransaction", "Member", "MessageState"),
        *("MessagesInMemory", "NumberedView", "Offer", "PartitionGroup", "Receiver", "Recorder"),
        *("Reservation", "Signal", "Sleeper", "Subscription", "Table", "Transaction", "UnitOfWork", "View"),
        *("acting", "on_death", "reaching", "working"),
    }
)  #: public for their methods and as types; no user calls their constructors

MAY_BE_INFINITE = frozenset(
    {
        *(
            "Backend.timeout",
            "Branch.timeout",
            "ConsumerPool.drain",
            "Consumer.lease",
            "Database.busy_timeout",
        ),
        *("FanOut.timeout", "MemoryEventStore.patience", "Message.ttl", "MessageQueue.lease"),
        *("Monitor.patience", "Relay.poll", "Replier.grace", "SQLiteQueue.lease", "Saga.timeout"),
        *("Step.timeout", "TopicMessage.ttl", "Worker.timeout"),
    }
)  #: durations that may be without an end
TIMES = frozenset(
    f"{made}.{time}" for made in ("Message", "TopicMessage") for time in ("created", "deadline")
)
SEEDS = frozenset({"Faults.seed", "Trace.seed"})  #: any number is one


def _constructors() -> Iterator[type]:
    """The public classes that a user makes: no errors, no protocols, no records of facts."""
    rooms = [each.name for each in pkgutil.iter_modules(eip_ref.__path__) if each.name not in FLOORS]
    for face in (importlib.import_module(f"eip_ref.{room}") for room in rooms):
        for made in (getattr(face, name) for name in face.__all__):
            if not inspect.isclass(made) or issubclass(made, enum.Enum | BaseException | tuple):
                continue
            facts = dataclasses.is_dataclass(made) and not hasattr(made, "__post_init__")
            if not (facts or inspect.isabstract(made) or Protocol in made.__mro__):
                yield made


def make(made: type, **changes: Any) -> Any:
    """A valid one, but for the changes."""
    valid = VALID[made]
    given = inspect.signature(made).bind(*getattr(valid, "args", ()), **getattr(valid, "keywords", {}))
    given.arguments |= changes
    return made(*given.args, **given.kwargs)


async def test_every_constructor_is_in_the_table() -> None:
    """So a new one is tested too; and what is given there is right."""
    made = {each for each in _constructors() if each.__name__ not in ONLY_WE_MAKE}
    assert {each.__name__ for each in made ^ VALID.keys()} == set()
    for each in made - {durable_queue.ConsumerGroup}:  # which needs a log that is open
        make(each)


def _kinds(hint: Any) -> Iterator[Any]:
    """The types that a parameter may have; a function as the pair of `Callable` and what it returns."""
    hint = hint.type if isinstance(hint, dataclasses.InitVar) else hint
    if get_origin(hint) in (Union, types.UnionType):
        for each in get_args(hint):
            yield from _kinds(each)
    elif get_origin(hint) is collections.abc.Callable:
        yield Callable, get_args(hint)[1]
    else:
        yield hint


def _parameters() -> Iterator[tuple[Any, str, list[Any], bool]]:
    """Each constructor with each of its parameters, what that may be, and whether it must be given."""
    for made in VALID:
        hints = get_type_hints(made if dataclasses.is_dataclass(made) else made.__init__)
        for name, parameter in inspect.signature(made).parameters.items():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                yield made, name, list(_kinds(hints[name])), parameter.default is parameter.empty


def _wrong_values(parameter: str, kinds: list[Any], required: bool) -> list[Any]:
    never = [math.nan, True, "1", *([] if type(None) in kinds else [None])]
    if parameter in TIMES:
        return never
    if float in kinds:
        return [*never, -1.0, -math.inf, *([] if parameter in MAY_BE_INFINITE else [math.inf])]
    if int in kinds and parameter not in SEEDS:
        return [*never, -1, 1.5, math.inf]
    if (kinds == [str] and required) or (str in kinds and parameter.endswith(".name")):
        return [7, "a\0", "\ud800", *([None, ""] if required else [])]
    return []


def _wrong() -> Iterator[Any]:
    for made, name, kinds, required in _parameters():
        parameter = f"{made.__name__}.{name}"
        for wrong in _wrong_values(parameter, kinds, required):
            yield pytest.param(made, name, wrong, id=f"{parameter}={wrong!a}")


@pytest.mark.parametrize(("made", "name", "wrong"), list(_wrong()))
def test_a_wrong_value_is_refused_by_the_name_of_its_parameter(made: type, name: str, wrong: Any) -> None:
    """NaN, infinity, a bool, text, less than nothing; for a name, what no backend can hold."""
    with pytest.raises(ValueError, match=name):
        make(made, **{name: wrong})


def _slots(waits: bool) -> Iterator[Any]:
    for made, name, kinds, _ in _parameters():
        for kind in kinds:
            if isinstance(kind, tuple) and ("Awaitable" in str(kind[1])) == waits:
                yield pytest.param(made, name, id=f"{made.__name__}.{name}")


@pytest.mark.parametrize(("made", "name"), list(_slots(waits=False)))
def test_a_slot_that_cannot_wait_refuses_an_async_def(made: type, name: str) -> None:
    """When it is handed over; a plain function is taken."""
    make(made, **{name: nothing})
    with pytest.raises(TypeError, match=name):
        make(made, **{name: nothing_async})


@pytest.mark.parametrize(("made", "name"), list(_slots(waits=True)))
async def test_a_slot_that_can_wait_takes_both_kinds(made: type, name: str) -> None:
    """Plain or `async`."""
    make(made, **{name: nothing})
    make(made, **{name: nothing_async})


NO_COUNT = [math.nan, math.inf, -1, 1.5, True, "1"]
NO_DURATION = [math.nan, -1.0, True, "1", None]


def _lease() -> message_queue.Lease:
    queue = message_queue.MessageQueue("q")
    return message_queue.Lease(message.Message(), 1, 1, 1.0, 1.0, 1, 0, "c", queue)


ARGUMENTS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "take_nowait.tokens": (
        lambda wrong: backpressure.TokenBucket("t", rate=1, burst=1).take_nowait(wrong),
        [math.nan, 0, -1.0, True, "1", None],
    ),
    "take.tokens": (
        lambda wrong: backpressure.TokenBucket("t", rate=1, burst=1).take(wrong),
        [math.nan, 0, -1.0, True, "1", None],
    ),
    "process.timeout": (lambda wrong: message_queue.process(_lease(), nothing, timeout=wrong), NO_DURATION),
    "replay.limit": (
        lambda wrong: message_queue.replay(
            message_queue.MessageQueue("dead"), message_queue.MessageQueue("q"), limit=wrong
        ),
        NO_COUNT,
    ),
    "request_again.pauses": (
        lambda wrong: request_reply.request_again(
            request_reply.Requestor(nothing), timeout=1, pauses=[0.1, wrong]
        ),
        [*NO_DURATION, math.inf],
    ),
    "event.version": (
        lambda wrong: cqrs.event(cqrs.DomainEvent("Said", {}), "a/b", wrong, id="1", causation_id="c"),
        [*NO_COUNT, 0, None],
    ),
    "upcaster.version": (lambda wrong: event_sourcing.EventTypes().upcaster("Said", wrong), [*NO_COUNT, 0]),
    "recording.limit": (lambda wrong: trace.recording(limit=wrong).__enter__(), [*NO_COUNT, None]),
}  #: of functions and methods: how to give a wrong one, and what is wrong


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [(name, wrong) for name, (_, all_wrong) in ARGUMENTS.items() for wrong in all_wrong],
    ids=ascii,
)
async def test_a_wrong_argument_is_refused_by_its_name(argument: str, wrong: Any) -> None:
    """At once, and before anything is done."""
    give, _ = ARGUMENTS[argument]
    with pytest.raises(ValueError, match=argument.partition(".")[2].removesuffix("s")):
        await values.finished(give(wrong))


@pytest.mark.parametrize(
    ("slot", "give"),
    [
        ("test", lambda: trace.Trace(()).filter(test=nothing_async)),  # type: ignore[arg-type]
        ("clock", lambda: trace.recording(clock=nothing_async).__enter__()),  # type: ignore[arg-type]
        ("explain", lambda: trace.recording(explain=nothing_async).__enter__()),  # type: ignore[arg-type]
    ],
    ids=["test", "clock", "explain"],
)
def test_an_argument_that_nobody_would_wait_for_is_refused(slot: str, give: Callable[[], Any]) -> None:
    """A coroutine would count as true, or be no time."""
    with pytest.raises(TypeError, match=slot):
        give()


DATABASE = storage.Database(":memory:")
SILENCED: dict[str, Callable[[], Any]] = {
    "synchronous, SQLiteQueue": lambda: durable_queue.SQLiteQueue(DATABASE, "q", synchronous="OFF"),
    "synchronous, SQLiteLog": lambda: durable_queue.SQLiteLog(DATABASE, "log", synchronous="OFF"),
    "clock, SQLiteEventStore": lambda: event_sourcing.SQLiteEventStore(DATABASE, clock=time.time),
    "clock, SQLiteStore": lambda: storage.SQLiteStore(DATABASE, clock=time.time),
    "subject, register": lambda: event_sourcing.EventTypes().register("Paid", subject="customer"),
    "heartbeat, Worker": lambda: message_queue.Worker(
        message_queue.MessageQueue("q"), nothing, ack="first", heartbeat=True
    ),
    "linger, SQLiteQueue": lambda: durable_queue.SQLiteQueue(":memory:", "q", linger=1),
    "linger, SQLiteLog": lambda: durable_queue.SQLiteLog(":memory:", "log", group_commit=1, linger=1),
    "fails_without, Branch": lambda: api_gateway.Branch("price", nothing, fails_without=True),
}  #: a setting that another one beside it would silence


@pytest.mark.parametrize("setting", SILENCED)
def test_a_setting_that_would_be_ignored_beside_another_is_refused(setting: str) -> None:
    """Whoever sets it would believe that it holds."""
    with pytest.raises(ValueError, match=setting.partition(",")[0]):
        SILENCED[setting]()
