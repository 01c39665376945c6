"""Each known mistake is caught: the promise that it breaks holds for ours and not for the broken one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from eip_ref.aggregator import Aggregator, by_size
from eip_ref.api_gateway import (
    AdmittedRequest,
    Backend,
    Branch,
    BranchInput,
    Coalescer,
    ComposedAnswer,
    FanOut,
    FieldError,
    Gateway,
    Hedging,
    Identity,
    NotFound,
    Request,
    Response,
    Route,
)
from eip_ref.circuit_breaker import State
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.message import Message
from eip_ref.trace import Kind, Trace, record
from tests.broken.api_gateway import (
    AsksEverybodyAtOnce,
    BelievesTheClient,
    CallsBeforeItAsksWho,
    ForgetsWhatIsOver,
    GathersWithoutTimeout,
    HasNoBulkhead,
    HedgesWithoutBound,
    LeavesBranchesRunning,
    SaysNull,
    SharesAcrossUsers,
    TakesDuplicates,
    TellsEverything,
    TimesOutOutsideTheBreaker,
    one_after_the_other,
    retries,
)


def words(trace: Trace, **how: Any) -> str:
    return "\n".join(finding.words for finding in fan_out_budget(trace, **how))


async def fate(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except Exception as error:
        return type(error)


# E14


ORDERS = {"order 17": {"user": "ann"}}
USERS = {"ann": "Ann"}


def table(rows: dict[str, Any]) -> Callable[[str], Awaitable[Any]]:
    async def find(key: str) -> Any:
        await anyio.sleep(0.2)
        return rows.get(key)

    return find


def test_e14_takes_the_sum_of_the_times_and_asks_for_the_wrong_user() -> None:
    """The article's aggregator: in sequence, with the order's id for the user's. Ours knows the user."""
    orders, users, payments = table(ORDERS), table(USERS), table({"order 17": "paid"})

    async def broken() -> Any:
        return await one_after_the_other(users, payments, orders, "order 17"), anyio.current_time()

    async def ours() -> Any:
        view = FanOut(
            Branch("order", lambda ask: orders(ask.request)),
            Branch("user", lambda ask: users(ask.results["order"]["user"]), needs=["order"]),
            Branch("payment", lambda ask: payments(ask.request)),
            timeout=1,
        )
        return dict((await view("order 17")).data), anyio.current_time()

    answer, took = simulate(broken).result
    assert (answer["user"], took) == (None, pytest.approx(0.6))
    answer, took = simulate(ours).result
    assert (answer["user"], took) == ("Ann", pytest.approx(0.4))


def test_e14_loses_everything_with_one_failure_and_waits_for_ever() -> None:
    """No partial result, no timeout, and the words of the error for the client."""

    async def away(key: str) -> Any:
        raise ConnectionError("billing-db-3 refused")

    async def hangs(key: str) -> Any:
        await anyio.sleep(3_600)

    async def broken(payments: Any) -> Any:
        got = await fate(one_after_the_other(table(USERS), payments, table(ORDERS), "order 17"))
        return got, anyio.current_time()

    async def ours(payments: Any) -> Any:
        order = Branch("order", lambda ask: table(ORDERS)(ask.request))
        view = FanOut(order, Branch("payment", lambda ask: payments(ask.request)), timeout=1)
        return await view("order 17"), anyio.current_time()

    assert simulate(broken, away).result[0] is ConnectionError
    assert simulate(ours, away).result[0].errors == {"payment": FieldError("failed")}
    assert simulate(broken, hangs).result[1] > 3_600
    assert simulate(ours, hangs).result[1] < 1


# Time


def hanging(make: type[FanOut]) -> Trace:
    async def slow(ask: BranchInput) -> None:
        await anyio.sleep(5)

    async def quick(ask: BranchInput) -> str:
        return "ann"

    async def scenario() -> Any:
        view = make(Branch("user", quick), Branch("invoices", slow), name="view", timeout=1)
        async with anyio.create_task_group() as group:
            view.elsewhere = group  # type: ignore[attr-defined]
            answer = await view()
        return answer

    return simulate(scenario)


def test_gathering_without_timeout_answers_too_late() -> None:
    """The answer is as late as the slowest branch: the invariant says by how much."""
    assert words(hanging(FanOut)) == ""
    assert words(hanging(GathersWithoutTimeout)) == "r1 at view was over at 5.0 s, and had to be at 1.0 s"


def test_leftovers_that_run_on_are_seen() -> None:
    """Cancelled *and awaited*: a branch of the broken one outlives the answer."""
    assert words(hanging(LeavesBranchesRunning)) == (
        "r1 at view was over (finished) at 0.95 s, but still under way for it: r1.invoices at invoices"
    )


# What the client learns


Handle = Callable[[AdmittedRequest], Awaitable[Any]]


def door(
    make: type[Gateway], handler: Callable[[AdmittedRequest], Awaitable[Any]], path: str = "/orders/{order}"
) -> Gateway:
    async def authenticate(request: Request) -> Identity | None:
        await anyio.sleep(0.1)
        return Identity("ann") if request.header("authorization") else None

    def not_admin(identity: Identity, given: Any) -> bool:
        return False

    routes = [Route("GET", "/admin", handler, allow=not_admin), Route("GET", "/orders/{order}", handler)]
    return make(routes, authenticate=authenticate, timeout=1)


def knock(make: type[Gateway], handler: Handle, **how: Any) -> Response:
    async def scenario() -> Response:
        return await door(make, handler).handle(Request(**{"method": "GET", "path": "/orders/17", **how}))

    response: Response = simulate(scenario).result
    return response


KNOWN = [("authorization", "Bearer ann")]


def test_an_exception_that_leaks_tells_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A code, never the words: they may hold what is nobody else's business."""
    caplog.set_level("CRITICAL")

    async def handler(call: AdmittedRequest) -> Any:
        raise ConnectionError("postgres://shop:hunter2@db-7")

    assert "hunter2" in str(knock(TellsEverything, handler, headers=KNOWN).body)
    assert "hunter2" not in str(knock(Gateway, handler, headers=KNOWN).body)


def test_200_with_nulls_hides_that_something_failed() -> None:
    """The broken one says the same for "no invoices" and "nobody knows"; ours has an error, or is one."""

    async def none(ask: BranchInput) -> None:
        return None

    async def away(ask: BranchInput) -> None:
        raise NotFound

    async def scenario(make: type[FanOut], *calls: Any) -> Any:
        view = make(*(Branch(f"b{n}", call) for n, call in enumerate(calls)), timeout=1)
        return await fate(view())

    def say(make: type[FanOut], *calls: Any) -> Any:
        return simulate(scenario, make, *calls).result

    assert say(SaysNull, none, none) == say(SaysNull, none, away) == say(SaysNull, away, away)
    assert say(FanOut, none, none) == ComposedAnswer({"b0": None, "b1": None})
    assert say(FanOut, none, away) == ComposedAnswer({"b0": None}, {"b1": FieldError("not found")})
    assert say(FanOut, away, away).__name__ == "AllFailed"


# Width and number


def wide(make: type[FanOut], backend: type[Backend]) -> Trace:
    """The 30 items of one order."""

    async def get() -> None:
        await anyio.sleep(0.1)

    async def scenario() -> Any:
        stock = backend("stock", timeout=0.5, max_concurrent=4)

        async def item(ask: BranchInput) -> None:
            await stock.call(get)

        return await make(*(Branch(f"item {n}", item) for n in range(30)), timeout=2, max_concurrent=8)()

    return simulate(scenario)


def test_an_unbounded_fan_out_floods_the_backend() -> None:
    """In-flight calls never above the bulkhead; and the fan-out has a width of its own."""
    assert words(wide(FanOut, Backend)) == words(wide(AsksEverybodyAtOnce, Backend)) == ""
    assert "stock had 5 calls under way at 0.0 s, and its limit is 4" in words(wide(FanOut, HasNoBulkhead))
    most = [max(accumulated(wide(make, HasNoBulkhead), "stock")) for make in (FanOut, AsksEverybodyAtOnce)]
    assert most == [8, 30]


def accumulated(trace: Trace, where: str) -> list[int]:
    """How many calls were under way after each event."""
    now, found = 0, []
    for event in trace.filter("started", "finished", where=where):
        now += 1 if event.kind == "started" else -1
        found.append(now)
    return found


def test_retries_at_every_layer_multiply() -> None:
    """3 × 3 × 3 calls for one request; ours repeats at one layer, within a budget for all."""
    calls = 0

    async def away() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError

    async def broken() -> None:
        for _ in range(100):
            await fate(retries(retries(retries(away, 3), 3), 3)())

    async def ours() -> None:
        stock = Backend("stock", timeout=1, pauses=[0, 0])
        stock.breaker.disable()
        for _ in range(100):
            await fate(stock.call(away, idempotent=True))

    simulate(broken)
    assert calls == 2_700
    calls = 0
    simulate(ours)
    assert 100 < calls <= 113


def test_coalescing_across_users_gives_away_what_is_anothers() -> None:
    """Two users ask for the same path: each must get their own."""

    async def scenario(make: type[Coalescer]) -> list[str]:
        got = list[str]()

        async def ask(user: str) -> None:
            async def profile() -> str:
                await anyio.sleep(0.1)
                return f"{user}'s card"

            got.append(f"{user} sees {(await shared.call(user, '/me', profile)).value}")

        async with make(timeout=1) as shared, anyio.create_task_group() as group:
            group.start_soon(ask, "ann")
            group.start_soon(ask, "bob")
        return got

    assert simulate(scenario, Coalescer).result == ["ann sees ann's card", "bob sees bob's card"]
    assert "bob sees ann's card" in simulate(scenario, SharesAcrossUsers).result


def test_hedges_without_a_budget_double_the_load() -> None:
    """Every call is slow, so every call is hedged: the invariant counts."""

    async def scenario(make: type[Backend]) -> None:
        stock = make("stock", timeout=1, hedging=Hedging(delay=0.1))
        for _ in range(9):
            await stock.call(lambda: anyio.sleep(0.2), idempotent=True)

    assert words(simulate(scenario, Backend)) == ""
    found = words(simulate(scenario, HedgesWithoutBound))
    assert "stock#8 at stock was extra call 4 (hedge) to stock" in found
    assert "the budget after 4 first calls is 3.4" in found


def test_a_timeout_outside_the_breaker_never_opens_it() -> None:
    """To the breaker a call that hangs looks cancelled, and that says nothing."""

    async def scenario(make: type[Backend]) -> State:
        stock = make("stock", timeout=0.1)
        for _ in range(9):
            await fate(stock.call(anyio.sleep, 5))
        return stock.breaker.state

    assert simulate(scenario, Backend).result is State.OPEN
    assert simulate(scenario, TimesOutOutsideTheBreaker).result is State.CLOSED


# The door


def test_work_that_begins_before_it_is_known_who_asks() -> None:
    """Authentication before any backend call."""
    calls = []

    async def handler(call: AdmittedRequest) -> None:
        calls.append(call.identity.subject)

    assert knock(Gateway, handler).status == knock(CallsBeforeItAsksWho, handler).status == 401
    assert calls == ["somebody"]


def test_a_path_and_headers_that_are_believed_open_the_door() -> None:
    """The broken one passes a path on that the backend reads as /admin, and the client's own identity."""
    seen: list[tuple[str, dict[str, str]]] = []

    async def handler(call: AdmittedRequest) -> None:
        seen.append((call.path, dict(call.headers)))

    forged = [*KNOWN, ("x-identity-subject", "root")]
    how: dict[str, Any] = {"path": "/orders/%2e%2e%2fadmin", "headers": forged}
    assert knock(BelievesTheClient, handler, **how).status == 200
    assert seen[0][0].endswith("admin")
    assert seen[0][1]["x-identity-subject"] == "root"
    assert knock(Gateway, handler, **how).status == 400
    assert knock(Gateway, handler, path="/orders/../admin", headers=forged).status == 403
    assert len(seen) == 1


# The aggregator


def collected(make: type[Aggregator], *numbers: int) -> Any:
    async def scenario() -> Any:
        out: list[list[Any]] = []
        late: list[Any] = []

        async def emit(aggregate: Any) -> None:
            out.append([message.body for message in aggregate.messages])

        async def too_late(message: Message) -> None:
            late.append(message.body)

        async with make(emit, complete=by_size(3), timeout=10, late=too_late) as lines:
            for number in numbers:
                message = Message(number, correlation_id="order 17", headers={"sequence": number})
                await fate(lines.receive(message))
        return out, late

    return simulate(scenario).result


def test_a_late_message_that_begins_a_new_group() -> None:
    """The order comes out twice, the second time with one line of three."""
    assert collected(Aggregator, 1, 2, 3, 4) == ([[1, 2, 3]], [4])
    assert collected(ForgetsWhatIsOver, 1, 2, 3, 4) == ([[1, 2, 3], [4]], [])


def test_a_duplicate_that_completes_a_group() -> None:
    """The order comes out "complete" without its third line."""
    assert collected(Aggregator, 1, 2, 2, 3) == ([[1, 2, 3]], [])
    assert collected(TakesDuplicates, 1, 2, 2, 3) == ([[1, 2, 2]], [3])


# The invariant itself


def public_error(*events: tuple[float, str, str, str, dict[str, Any]]) -> Trace:
    """A trace of what the gateway recorded, as (time, kind, where, message, data)."""

    async def scenario() -> None:
        for at, kind, where, message, data in events:
            await anyio.sleep_until(at)
            record(kind, where, message, who=where if kind == Kind.CRASHED else "gateway", **data)

    return simulate(scenario)


Fact = tuple[float, str, str, str, dict[str, Any]]
BEGAN: Fact = (0.0, Kind.STARTED, "view", "r1", {"until": 2.0})
USER: Fact = (0.0, Kind.STARTED, "user", "r1.user", {"parent": "r1", "until": 1.5})
USER_DONE: Fact = (1.0, Kind.FINISHED, "user", "r1.user", {})
CLEANED: Fact = (1.6, Kind.TIMED_OUT, "user", "r1.user", {})
DONE: Fact = (1.8, Kind.FINISHED, "view", "r1", {})
CRASH: Fact = (1.0, Kind.CRASHED, "gateway", "", {})


def attempt(number: int, at: float = 0.0, **extra: Any) -> Fact:
    return at, Kind.STARTED, "users", f"users#{number}", {"limit": 2, **extra}


def attempt_done(number: int, at: float) -> Fact:
    return at, Kind.FINISHED, "users", f"users#{number}", {}


HEDGE: dict[str, Any] = {"extra": "hedge", "share": 0.5, "spare": 0}


@pytest.mark.parametrize(
    "events",
    [
        [BEGAN, USER, USER_DONE, DONE],
        [BEGAN, USER, CLEANED, DONE],
        [BEGAN, USER, CRASH],
        [BEGAN, (1.9, *DONE[1:]), (1.9, Kind.STARTED, "users breaker", "r1", {"generation": 1})],
        [attempt(1), attempt(2), attempt_done(1, 1), attempt(3, 1), attempt_done(2, 2), attempt_done(3, 2)],
        [attempt(1), attempt(2), (0.5, Kind.CRASHED, "gateway", "", {}), attempt(3, 1), attempt_done(3, 2)],
        [attempt(1), attempt(2), attempt_done(2, 0), attempt(3, **HEDGE), attempt_done(3, 0),
         attempt_done(1, 0)],
    ],
)  # fmt: skip
def test_the_invariant_accepts_what_is_legal(events: list[Fact]) -> None:
    """In time, cleaned up within the reserve, crashed, within limits."""
    assert words(public_error(*events)) == ""


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([BEGAN, USER, DONE, (1.9, *CLEANED[1:])], "still under way for it: r1.user at user"),
        ([BEGAN, DONE, (1.9, *USER[1:]), (1.95, *CLEANED[1:])], "began at 1.9 s, but r1 was over at 1.8 s"),
        ([BEGAN, (2.1, *DONE[1:])], "r1 at view was over at 2.1 s, and had to be at 2.0 s"),
        ([BEGAN, USER, (1.6, *USER_DONE[1:]), DONE], "r1.user at user was over at 1.6 s"),
        ([USER, (2.1, *CLEANED[1:])], "r1.user at user was over at 2.1 s, and had to be at 1.5 s"),
        ([BEGAN, (*USER[:4], {"parent": "r1", "until": 2.0}), USER_DONE, DONE], "no time left to answer"),
        ([attempt(1), attempt(2), attempt(3), *(attempt_done(n, 1) for n in (1, 2, 3))],
         "users had 3 calls under way at 0.0 s, and its limit is 2"),
        ([attempt(1), attempt_done(1, 0), attempt(2, **HEDGE), attempt_done(2, 0)],
         "was extra call 1 (hedge) to users at 0.0 s, and the budget after 1 first call is 0.5"),
        ([BEGAN], "r1 at view began at 0.0 s and was not over at 0.0 s"),
        ([BEGAN, (1.0, Kind.CRASHED, "somebody", "", {})], "was not over"),
    ],
)  # fmt: skip
def test_the_invariant_names_every_breach(events: list[Fact], says: str) -> None:
    """In plain words, with the events that prove it."""
    findings = fan_out_budget(public_error(*events))
    assert [says in finding.words for finding in findings] == [True]
    assert findings[0].events
    assert fan_out_budget(public_error(BEGAN), open_ok=True) == []
