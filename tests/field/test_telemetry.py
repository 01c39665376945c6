"""Traces as spans of OpenTelemetry: the parent of a piece of work is what caused it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from eip_ref.apps.shop_dashboard.services import DASHBOARD, users
from eip_ref.course.saga import both_styles
from eip_ref.cqrs import Command, ReadModel, Relay
from eip_ref.field.servers import Server
from eip_ref.field.spans import Work, tree, work_in
from eip_ref.field.telemetry import carrying, context_of, export, working_on
from eip_ref.lab import simulate
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, process
from eip_ref.request_reply import Replier, Requestor, TimedOut
from eip_ref.storage import MemoryStore
from eip_ref.trace import Event, Kind, Trace, acting, record, working

from .systems import SYSTEMS
from .verdicts import System

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NANOSECONDS = 10**9


class Told:
    """All spans that a tracer has handed over, to be asked for by name."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("tests")

    @classmethod
    def of(cls, trace: Trace, *messages: Message) -> Told:
        told = cls()
        export(trace, told.tracer, began=BEGAN, messages=messages)
        return told

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        spans: tuple[ReadableSpan, ...] = self._exporter.get_finished_spans()
        return spans

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def parent(self, span: ReadableSpan) -> str:
        """The name of its parent, or "" for a root."""
        if span.parent is None:
            return ""
        (name,) = [str(each.name) for each in self.spans if each.context.span_id == span.parent.span_id]
        return name


def events_of(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def children_of(told: Told) -> dict[str, list[str]]:
    """The names of the spans under each parent, in the order in which they began."""
    found: dict[str, list[str]] = {}
    for span in sorted(told.spans, key=lambda each: each.start_time or 0):
        found.setdefault(told.parent(span), []).append(span.name)
    return found


# Across a queue


async def a_chain(made: list[Message]) -> None:
    """A web page puts an order; packing fails once, then asks billing for an invoice."""
    orders, invoices = MessageQueue("orders"), MessageQueue("invoices")

    async def pack(order: Message) -> None:
        await anyio.sleep(1)
        if not made:
            made.append(order)
            raise RuntimeError("no paper")
        made.append(Message("invoice", id="invoice", causation_id=order.id))
        await invoices.put(made[-1])

    async def bill(invoice: Message) -> None:
        record(Kind.EFFECT, "billing", invoice.id, effect="billed")
        await anyio.sleep(2)

    async def work(name: str, queue: MessageQueue, handle: Callable[[Message], Any], times: int) -> None:
        with acting(name):
            for _ in range(times):
                await process(await queue.receive(), handle)

    async with orders, invoices, anyio.create_task_group() as tasks:
        tasks.start_soon(work, "packing", orders, pack, 2)
        tasks.start_soon(work, "billing", invoices, bill, 1)
        with acting("page"), working("page", "click"):
            await orders.put(Message("order", id="order", causation_id="click"))


def test_work_is_under_what_caused_it_across_two_queues() -> None:
    """Each lease under the work that sent the message, and each handler under its lease."""
    told = Told.of(simulate(a_chain, []))
    assert children_of(told) == {
        "": ["page"],
        "page": ["orders", "orders"],
        "orders": ["packing", "packing"],
        "packing": ["invoices"],
        "invoices": ["billing"],
    }
    assert {span.context.trace_id for span in told.spans} == {told.one("page").context.trace_id}


def test_a_span_has_the_facts_the_times_and_the_outcome_of_its_work() -> None:
    told = Told.of(simulate(a_chain, []))
    billing = told.one("billing")
    start = int(BEGAN.timestamp()) * NANOSECONDS
    assert ((billing.start_time or 0) - start, (billing.end_time or 0) - start) == (
        3 * NANOSECONDS,
        5 * NANOSECONDS,
    )
    assert events_of(billing) == ["started", "effect", "finished"]
    assert billing.events[1].attributes == {
        "eip.where": "billing",
        "messaging.message.id": "invoice",
        "eip.who": "billing",
        "eip.effect": "billed",
    }
    failed, done = told.named("packing")
    assert (failed.status.status_code, done.status.status_code) == (StatusCode.ERROR, StatusCode.OK)
    assert failed.status.description == "RuntimeError('no paper')"
    assert [span.status.status_code for span in told.named("orders")] == [StatusCode.ERROR, StatusCode.OK]
    assert {span.kind for span in told.named("orders")} == {SpanKind.CONSUMER}


def test_the_cause_of_a_message_comes_from_the_message_when_several_could_have_sent_it() -> None:
    """One participant works on two messages at the same time; the trace alone cannot tell which one sent."""

    async def scenario() -> None:
        with acting("shop"), working("shop", "a"), working("shop", "b"):
            record(Kind.SENT, "orders", "c")
        with acting("packing"), working("packing", "c"):
            pass

    trace = simulate(scenario)
    (_, b, c) = work_in(trace)
    assert c.parent is b
    (a, b, c) = work_in(trace, [Message(id="c", causation_id="event"), Message(id="event", causation_id="a")])
    assert c.parent is a


def test_messages_that_cause_each_other_end_the_search() -> None:
    async def scenario() -> None:
        with working("shop", "a"):
            pass

    circle = [Message(id="a", causation_id="b"), Message(id="b", causation_id="a")]
    (work,) = work_in(simulate(scenario), circle)
    assert work.parent is None


def test_work_that_goes_on_ends_with_the_trace_and_has_no_status() -> None:
    async def scenario() -> None:
        record(Kind.STARTED, "shop", "a")
        await anyio.sleep(3)
        record(Kind.NOTE, "shop", text="closing")

    trace = simulate(scenario)
    span = Told.of(trace).one("shop")
    assert span.status.status_code is StatusCode.UNSET
    assert (span.end_time or 0) - (span.start_time or 0) == 3 * NANOSECONDS
    assert tree(work_in(trace)).endswith("goes on")


def test_a_gateways_call_is_under_the_page_that_it_names() -> None:
    """Also when another page was asked for in between."""

    async def scenario() -> None:
        record(Kind.STARTED, "page", "r1")
        record(Kind.STARTED, "page", "r2")
        record(Kind.STARTED, "user", "r1.user", parent="r1")

    (page, _, call) = work_in(simulate(scenario))
    assert call.parent is page


def test_a_service_that_works_on_a_command_is_under_the_call_of_its_saga() -> None:
    """Two who only hear of the same message are not."""

    async def scenario() -> None:
        record(Kind.STARTED, "saga", "s/stock", who="coordinator", saga="s", step="stock", role="action")
        record(Kind.STARTED, "inventory", "s/stock", who="inventory")
        record(Kind.STARTED, "mail", "news", who="mail")
        record(Kind.STARTED, "shop", "news", who="shop")

    call, service, mail, shop = work_in(simulate(scenario))
    assert service.parent is call
    assert (mail.parent, shop.parent) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "outcome", "status"), [(1, "answered", StatusCode.OK), (9, "timed out", StatusCode.ERROR)]
)
def test_a_request_ends_when_nobody_waits_for_its_answer(
    seconds: float, outcome: str, status: StatusCode
) -> None:
    """And not with the trace; what the replier does for it is under it."""

    async def scenario() -> None:
        async def handle(request: Message) -> object:
            await anyio.sleep(seconds)
            return request.body

        async def send(request: Message) -> None:
            record(Kind.SENT, "line", request.id)
            await bank.receive(request)

        async with Replier(handle, lambda reply: shop.receive(reply), name="bank") as bank:
            with Requestor(send, name="shop") as shop, suppress(TimedOut):
                await shop.request("order 17", timeout=5)
            await anyio.sleep(60)

    trace = simulate(scenario)
    request, work = work_in(trace)
    assert (request.name, request.outcome, request.until) == ("shop", outcome, min(seconds, 5))
    assert (work.name, work.parent, work.until) == ("bank", request, seconds)
    assert Told.of(trace).one("shop").status.status_code is status


def test_a_crash_ends_the_work_and_not_the_lease() -> None:
    """The queue knows nothing of the crash: the lease runs out, and so is its span the longer one."""

    async def scenario() -> None:
        record(Kind.DELIVERED, "orders", "a", who="packing", lease=1)
        record(Kind.STARTED, "packing", "a", who="packing", lease=1)
        record(Kind.CRASHED, "packing", who="packing")
        await anyio.sleep(30)
        record(Kind.EXPIRED, "orders", "a", who="", lease=1)

    lease, work = work_in(simulate(scenario))
    assert (lease.outcome, lease.until) == ("expired", 30)
    assert (work.outcome, work.until) == ("crashed", 0)
    assert work.parent is lease


def test_no_fact_looks_at_all_the_work_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace of a whole day has many leases that never end."""
    looks = [0]

    def counted(work: Work) -> str:
        looks[0] += 1
        return work.began.message

    monkeypatch.setattr(Work, "message", property(counted))
    leases = [Event(0, Kind.DELIVERED, "orders", f"m{n}", "packing", {"lease": n}) for n in range(300)]
    effects = [Event(1, Kind.EFFECT, "shop", f"e{n}", "shop", {}) for n in range(300)]
    assert len(work_in(Trace([*leases, *effects]))) == 600
    assert looks[0] < 6_000


def test_a_day_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        export(Trace([]), Told().tracer, began=datetime(2026, 1, 1))


# The saga


def test_compensations_are_under_the_step_that_failed() -> None:
    """In both styles, in the order in which they were done."""
    orchestrated, choreographed = (
        [work for work in work_in(simulate(both_styles, "no tea")) if work.began.where == style]
        for style in ("orchestrated", "choreographed")
    )
    for story in (orchestrated, choreographed):
        saga, *steps = story
        assert saga.outcome == "compensated"
        assert [step.name for step in saga.children] == ["order", "credit", "payment", "stock"]
        failed = saga.children[-1]
        assert failed.outcome == "failed"
        assert [step.name for step in failed.children] == ["payment, undo", "credit, undo", "order, undo"]
        assert len(steps) == 7


def test_the_spans_of_a_saga_say_which_step_failed_and_why() -> None:
    told = Told.of(simulate(both_styles, "no tea"))
    assert [told.parent(span) for span in told.named("payment, undo")] == ["stock", "stock"]
    for span in told.named("stock"):
        assert span.status.status_code is StatusCode.ERROR
        assert "refused" in events_of(span)
    assert "stock tea is 0" in str(told.named("stock")[-1].status.description)
    assert [span.status.status_code for span in told.named("orchestrated")] == [StatusCode.UNSET]


def test_a_coordinator_that_crashes_leaves_two_spans_of_its_step() -> None:
    """The saga goes on in the same span, for it is in the log."""
    trace = simulate(both_styles, "no tea", "coordinator", 3.4, 4)
    saga = next(work for work in work_in(trace) if work.began.where == "orchestrated")
    assert [(step.name, step.outcome) for step in saga.children[-2:]] == [
        ("stock", "crashed"),
        ("stock", "failed"),
    ]
    assert saga.children[-1].children[0].name == "payment, undo"


# CQRS


async def a_command(kept: list[Message]) -> None:
    """Ann signs up: a command, its event in the outbox, a relay, a queue, and a projection."""
    service, view = users(MemoryStore()), ReadModel(MemoryStore(), "dashboard", DASHBOARD)
    events = MessageQueue("events")

    async def publish(event: Message) -> None:
        kept.append(event)
        await events.put(event)

    async def project() -> None:
        with acting("projector"):
            await process(await events.receive(), view)

    ann = Command("Register", "ann", {"name": "Ann", "email": "ann@shop"}, id="sign up")
    async with events, anyio.create_task_group() as tasks:
        with acting("page"):
            await service.handle(ann)
        await Relay(service.outbox, publish).run_once()
        tasks.start_soon(project)


def test_a_command_leads_over_outbox_and_relay_to_the_projection() -> None:
    kept: list[Message] = []
    trace = simulate(a_command, kept)
    told = Told.of(trace, *kept)
    assert children_of(told) == {
        "": ["users"],
        "users": ["users.outbox"],
        "users.outbox": ["events"],
        "events": ["projector"],
    }
    assert events_of(told.one("users")) == ["effect"]
    assert events_of(told.one("projector")) == ["started", "effect", "finished"]
    assert {span.status.status_code for span in told.spans} == {StatusCode.OK}


# The context in the headers


def test_a_message_carries_the_trace_that_is_going_on() -> None:
    """In the form of the W3C, beside the headers that it has; and the same message stays as it was."""
    told = Told()
    message = Message("order", headers={"a": 1})
    with told.tracer.start_as_current_span("place order") as span:
        sent = carrying(message)
    context = span.get_span_context()
    assert sent.headers["traceparent"] == (
        f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    )
    assert (sent.headers["a"], sent.id) == (1, message.id)
    assert dict(message.headers) == {"a": 1}
    assert dict(carrying(message).headers) == {"a": 1}  # nothing goes on here


@pytest.mark.parametrize("header", ["", "00-0-0-01", "nonsense", 7, None])
def test_a_header_that_cannot_be_read_begins_a_trace_of_its_own(header: object) -> None:
    told = Told()
    message = Message("order", headers={"traceparent": header})
    assert context_of(message) == {}
    with told.tracer.start_as_current_span("elsewhere"), working_on(message, told.tracer, "pack"):
        pass
    assert told.one("pack").parent is None


def test_an_exported_trace_goes_on_with_the_one_that_its_message_carries() -> None:
    told = Told()
    with told.tracer.start_as_current_span("the customer's browser"):
        order = carrying(Message("order"))

    async def scenario() -> None:
        with working("shop", order.id):
            pass

    export(simulate(scenario), told.tracer, began=BEGAN, messages=[order])
    assert told.parent(told.one("shop")) == "the customer's browser"


QUEUES = [system for system in SYSTEMS if system.pattern == "queue"]


@pytest.mark.parametrize("broker", QUEUES, ids=[system.id for system in QUEUES])
def test_a_consumer_behind_a_broker_goes_on_with_the_trace_of_the_sender(
    broker: System, servers: Any
) -> None:
    """Its span is under the sender's, and one that fails says so."""
    if missing := broker.server.missing():
        pytest.skip(missing)
    told = Told()

    async def scenario(server: Server) -> None:
        async with broker.open(server, f"traced-{broker.id}") as queue:
            with told.tracer.start_as_current_span("place order"):
                await queue.put(carrying(Message("order")))
            lease = await queue.receive()
            with pytest.raises(RuntimeError), working_on(lease.message, told.tracer, "pack"):
                raise RuntimeError("no paper")
            with working_on(lease.message, told.tracer, "pack again"):
                await lease.ack()

    anyio.run(scenario, servers.running(broker.server))
    assert children_of(told) == {"": ["place order"], "place order": ["pack", "pack again"]}
    assert told.one("pack").status.status_code is StatusCode.ERROR
    assert told.one("pack").kind is SpanKind.CONSUMER
