"""A gateway and an aggregator under faults: backends that hang, customers who leave, crashes, bad links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

import anyio

from eip_ref.aggregator import Aggregate, Aggregator, RejectedPart, by_size
from eip_ref.api_gateway import (
    AdmittedRequest,
    Backend,
    BackendFailed,
    Branch,
    BranchInput,
    Coalescer,
    ComposedAnswer,
    FanOut,
    Gateway,
    Hedging,
    Identity,
    RateLimit,
    Request,
    RetryBudget,
    Route,
)
from eip_ref.circuit_breaker import CircuitBreaker, ConsecutiveFailures, OpenDuration, Predicates
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Exponential, Faults, Link, Participant
from eip_ref.lab.invariants import breaker_legality, check
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.message import Message
from eip_ref.trace import Trace, whoami

from . import SeededRun, proves_something

__all__ = ["RUNS", "judge_gateway", "play_gateway", "play_lines"]

TIMEOUT, RESERVE = 1.0, 0.05
CUSTOMERS = ("ann", "bob", "cy")


# The gateway


class Shop:
    """One life of the gateway, with its backends: all that it knows dies with it."""

    def __init__(
        self,
        faults: Faults,
        life: int,
        backend: type[Backend],
        coalescer: type[Coalescer],
        view: type[FanOut],
    ) -> None:
        self._faults = faults
        self._life = life
        self._backend = backend
        order, user, invoices, stock = map(self._branch, ("orders", "users", "invoices", "stock"))
        self.view = view(
            Branch("order", order, required=True),
            Branch("user", user, needs=["order"]),
            Branch("invoices", invoices, timeout=0.6),
            Branch("stock", stock, needs=["order"]),
            name="view", timeout=TIMEOUT - RESERVE, reserve=RESERVE, max_concurrent=3,
        )  # fmt: skip
        route = Route("GET", "/orders/{order}", self._handle, coalesce=True)
        limit = RateLimit(rate=2, burst=3)
        self.door = Gateway(
            [route], authenticate=self._who, timeout=TIMEOUT, rate_limit=limit, max_concurrent=8
        )
        self.door._coalescer = coalescer("coalescer", timeout=TIMEOUT)

    async def _who(self, request: Request) -> Identity | None:
        name = request.header("authorization")
        return Identity(name) if name in CUSTOMERS else None

    async def _handle(self, call: AdmittedRequest) -> ComposedAnswer:
        return await self.view(call)

    def _branch(self, name: str) -> Any:
        chance = self._faults.random(f"{name} {self._life}")
        outcomes = Predicates(success=lambda said: False)
        breaker = CircuitBreaker(
            f"{name} breaker {self._life}",
            policy=ConsecutiveFailures(2), open_duration=OpenDuration(0.5), predicates=outcomes,
        )  # fmt: skip
        backend = self._backend(
            name, timeout=0.5, max_concurrent=3, breaker=breaker, pauses=[0.05],
            hedging=Hedging(delay=0.2), budget=RetryBudget(share=0.2, spare=2),
        )  # fmt: skip

        async def serve(customer: str) -> str:
            await anyio.sleep(9 if chance.random() < 0.05 else chance.expovariate(8))
            if chance.random() < 0.1:
                raise BackendFailed("on purpose")
            return customer

        async def ask(asked: BranchInput) -> str:
            return await backend.call(serve, asked.request.identity.subject, idempotent=True)

        return ask


def play_gateway(
    seed: int,
    *,
    backend: type[Backend] = Backend,
    coalescer: type[Coalescer] = Coalescer,
    view: type[FanOut] = FanOut,
) -> Trace:
    async def scenario() -> list[tuple[str, Any, float]]:
        faults, answers, lives = Faults(), list[tuple[str, Any, float]](), list[None]()

        async def customer(shop: Shop, number: int, chance: Random) -> None:
            name = chance.choice([*CUSTOMERS, "mallory"])
            await anyio.sleep(chance.uniform(0, 2))
            headers, begun = [("authorization", name)], anyio.current_time()
            path = f"/orders/{chance.randint(1, 2)}"
            with anyio.CancelScope() as scope:
                if chance.random() < 0.15:
                    scope.deadline = anyio.current_time() + chance.uniform(0.01, 0.5)
                response = await shop.door.handle(Request("GET", path, headers=headers))
                answers.append((name, response, anyio.current_time() - begun))

        async def main() -> None:
            lives.append(None)
            shop = Shop(faults, len(lives), backend, coalescer, view)
            assert whoami() == "gateway"
            async with shop.door, anyio.create_task_group() as group:
                for number in range(10):
                    chance = faults.random(f"customer {number} {len(lives)}")
                    group.start_soon(customer, shop, number, chance)
            assert (len(shop.door._coalescer), shop.door.under_way) == (0, 0)

        chance = faults.random("crash")
        crashes = (Crash(step=chance.randint(40, 250), restart_after=0.5),) if chance.random() < 0.7 else ()
        await faults.participant("gateway", main, crashes=crashes).run()
        return answers

    return simulate(scenario, seed=seed)


_STATUSES = {200, 429, 502, 503, 504}
_UNKNOWN = {401, 503}
_CODES = {"failed", "timed out", "unavailable", "skipped"}


def judge_gateway(trace: Trace) -> Sequence[object]:
    proves_something(trace.result, "nobody was answered")
    wrong: list[object] = [*check(trace, fan_out_budget, breaker_legality)]
    for name, response, took in trace.result:
        said = f"{name} heard {response} after {took:g} s"
        if response.status not in (_UNKNOWN if name == "mallory" else _STATUSES):
            wrong.append(said)
        if took > TIMEOUT + 1e-9:
            wrong.append(f"{said}: too late")
        if response.status == 200:
            wrong += [f"{said}: {what}" for what in _faults_of(name, response.body)]
    return wrong


def _faults_of(name: str, body: Any) -> Sequence[str]:
    data, errors = body["data"], body["errors"]
    found = []
    if any(value != name for value in data.values()):
        found.append("that is somebody else's")
    if sorted([*data, *errors]) != ["invoices", "order", "stock", "user"]:
        found.append("each field is there or has an error")
    if body["complete"] == bool(errors) or "order" not in data:
        found.append("complete means no errors, and there is no answer without the order")
    if {error["code"] for error in errors.values()} - _CODES:
        found.append("no such code")
    return found


# The aggregator


def play_lines(seed: int, kind: type[Aggregator] = Aggregator) -> Trace:
    """Lines of orders over a link that loses, doubles and reorders; the hand-over fails now and then."""

    async def scenario() -> tuple[list[Aggregate], list[Message]]:
        faults, out, late = Faults(), list[Aggregate](), list[Message]()
        chance = faults.random("hand-over")

        async def emit(aggregate: Aggregate) -> None:
            await anyio.sleep(chance.expovariate(10))
            if aggregate.complete and chance.random() < 0.2:
                raise ConnectionError
            out.append(aggregate)

        async def too_late(message: Message) -> None:
            late.append(message)

        async def deliver(message: Message) -> None:
            for _ in range(20):
                try:
                    return await lines.receive(message)
                except RejectedPart:
                    return None
                except ConnectionError:
                    await anyio.sleep(0.1)
            return None

        async def shop(name: str, net: Link) -> None:
            for order in range(6):
                for number in (1, 2, 3):
                    key = f"{name} order {order}"
                    await net.send(
                        Message(f"{key}.{number}", correlation_id=key, headers={"sequence": number})
                    )
                    await faults.sleep(name, Exponential(0.4))

        how = {"latency": Exponential(0.3), "loss": 0.1, "duplication": 0.2, "reordering": 0.3}
        async with (
            kind(emit, complete=by_size(3), timeout=3.0, late=too_late, name="lines", max_groups=8) as lines,
            faults.link("net", deliver, **{**how, "hold": Exponential(2.0)}) as net,
            anyio.create_task_group() as shops,
        ):
            for name in ("ann", "bob"):
                dies = faults.random(name).uniform(0.5, 9)
                crashes = (Crash(at=dies, restart_after=0.5),) if name == "ann" else ()
                shops.start_soon(Participant(name, partial(shop, name, net), crashes=crashes).run)
        return out, late

    return simulate(scenario, seed=seed)


def judge_lines(trace: Trace) -> Sequence[object]:
    proves_something(trace.count("lost") + trace.count("duplicated"), "no fault hit")
    out, late = trace.result
    wrong: list[object] = []
    reasons = Counter(event.data["reason"] for event in trace.filter("refused", where="lines"))
    wrong += [
        f"{key} came out {times} times" for key, times in Counter(a.key for a in out).items() if times > 1
    ]
    for aggregate in out:
        numbers = [message.headers["sequence"] for message in aggregate.messages]
        if numbers != sorted(set(numbers)) or aggregate.complete != (len(numbers) == 3):
            wrong.append(f"{aggregate.key} came out {aggregate.why} with the lines {numbers}")
    if trace.count("accepted", where="lines") != sum(len(aggregate.messages) for aggregate in out):
        wrong.append("what was taken is not what came out")
    if reasons["late"] != len(late):
        wrong.append(f"{reasons['late']} were late, and {len(late)} are in the channel")
    again = trace.count("duplicate", where="lines")
    if trace.count("arrived") != trace.count("accepted", where="lines") + reasons.total() + again:
        wrong.append("some message was neither taken nor refused")
    return wrong


RUNS = [
    SeededRun("gateway with crashes, hangs and customers who leave", play_gateway, judge_gateway),
    SeededRun("aggregator behind a bad link", play_lines, judge_lines),
]
