"""The fan-out: concurrent, in time, partial where it may be, and nothing left running."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import eip_ref.api_gateway as pattern
from eip_ref.api_gateway import (
    AllFailed,
    Branch,
    BranchInput,
    ComposedAnswer,
    FanOut,
    FieldError,
    GatewayTimeout,
    NeedFailed,
    NotFound,
    RequiredFailed,
)
from eip_ref.circuit_breaker import BreakerOpen
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.trace import Trace, acting, whoami
from tests.backends import Play, everywhere, on_virtual_asyncio, recorded, virtual_time_only
from tests.docstrings import example

AdmittedRequest = Callable[[BranchInput], Awaitable[Any]]


def after(seconds: float, value: Any = None) -> AdmittedRequest:
    """Answers, or raises, after a time."""

    async def call(ask: BranchInput) -> Any:
        await anyio.sleep(seconds)
        if isinstance(value, Exception):
            raise value
        return value

    return call


def shown(play: Play, *branches: Branch, **how: Any) -> Trace:
    """The trace of one fan-out, with its answer, its error and how long it took; nothing outlived it."""

    async def scenario() -> tuple[Any, float]:
        begun = anyio.current_time()
        try:
            answer: Any = await FanOut(*branches, **{"timeout": 1.0, **how})("order 17")
        except pattern.GatewayError as error:
            answer = error
        return answer, anyio.current_time() - begun

    trace = play(scenario)
    assert fan_out_budget(trace) == []
    return trace


def answered(play: Play, *branches: Branch, **how: Any) -> Any:
    return shown(play, *branches, **how).result[0]


# Concurrent


@everywhere
def test_three_branches_take_as_long_as_the_slowest(play: Play) -> None:
    """Latency is the maximum, not the sum."""
    trace = shown(play, *(Branch(f"b{n}", after(n / 10, n)) for n in (1, 3, 2)))
    answer, took = trace.result
    assert took == pytest.approx(0.3)
    assert answer == ComposedAnswer({"b1": 1, "b3": 3, "b2": 2})
    assert answer.complete


@everywhere
def test_more_branches_than_may_run_wait_for_their_turn(play: Play) -> None:
    """The width is bounded: ten branches, two at a time."""
    running = most = 0

    async def call(ask: BranchInput) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.1)
        running -= 1

    trace = shown(play, *(Branch(f"item {n}", call) for n in range(10)), max_concurrent=2)
    assert (most, trace.result[1]) == (2, pytest.approx(0.5))


@everywhere
def test_the_merge_is_the_same_whoever_is_first(play: Play) -> None:
    """Deterministic merge: values and errors are in the order in which branches were declared."""
    for times in ((0.1, 0.2, 0.3, 0.4), (0.4, 0.3, 0.2, 0.1)):
        a, b, c, d = times
        answer = answered(
            play,
            Branch("user", after(a, "ann")),
            Branch("payment", after(b, KeyError("p"))),
            Branch("order", after(c, 17)),
            Branch("stock", after(d, KeyError("s"))),
        )
        assert list(answer.data.items()) == [("user", "ann"), ("order", 17)]
        assert list(answer.errors) == ["payment", "stock"]


# Required and optional


@everywhere
def test_an_optional_failure_gives_a_partial_answer(play: Play) -> None:
    """A completeness flag and an error per field; siblings are not cancelled."""
    trace = shown(
        play,
        Branch("order", after(0.5, {"id": 17}), required=True),
        Branch("invoices", after(0.1, ValueError("SELECT * FROM secrets"))),
        Branch("stock", after(0.1, NotFound("no stock"))),
        Branch("tax", after(0.1, BreakerOpen("tax breaker", "is open"))),
    )
    assert trace.result[0].as_dict() == {
        "data": {"order": {"id": 17}},
        "complete": False,
        "errors": {
            "invoices": {"code": "failed"},
            "stock": {"code": "not found"},
            "tax": {"code": "unavailable"},
        },
    }
    assert trace.count("cancelled") == 0


async def test_what_an_optional_branch_raised_is_in_the_log_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And in the trace; what was never asked is in the trace alone."""

    def away(ask: BranchInput) -> None:
        raise ConnectionError("db-7 is away")

    view = FanOut(
        Branch("order", lambda ask: 17),
        Branch("user", away),
        Branch("photo", away, needs=["user"]),
        timeout=1,
    )
    assert set((await view()).errors) == {"user", "photo"}
    (logged,) = caplog.records
    assert "the branch user" in logged.getMessage()
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], ConnectionError)
    assert "in away" in logging.Formatter().formatException(logged.exc_info)
    assert recorded().filter("failed", where="user")[0].data["error"] == "ConnectionError('db-7 is away')"


async def test_a_second_failure_of_a_required_branch_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The first comes out, with its cause."""

    async def fail(ask: BranchInput) -> None:
        try:
            await anyio.sleep(9)
        finally:
            raise KeyError("on the way out")

    async def away(ask: BranchInput) -> None:
        await anyio.sleep(0.1)
        raise ConnectionError("db-7 is away")

    with pytest.raises(RequiredFailed) as failed:
        await FanOut(Branch("a", fail, required=True), Branch("b", away, required=True), timeout=1)()
    assert isinstance(failed.value.__cause__, ConnectionError)
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [KeyError]


@everywhere
def test_a_required_failure_cancels_its_siblings_and_is_an_error(play: Play) -> None:
    """No answer without a required branch; the siblings are cancelled at once, and awaited."""
    trace = shown(
        play,
        Branch("invoices", after(0.9, [])),
        Branch("order", after(0.1, NotFound("no order 17")), required=True),
    )
    error, took = trace.result
    assert isinstance(error, RequiredFailed)
    assert (error.field, error.status, error.code) == ("order", 404, "not found")
    assert isinstance(error.__cause__, NotFound)
    assert took == pytest.approx(0.1)
    assert trace.count("cancelled", where="invoices") == 1


@everywhere
def test_a_sibling_that_fails_when_cancelled_hides_nothing(play: Play) -> None:
    """The error is the required failure that came first, and not one that followed from it."""
    error = answered(
        play,
        Branch("user", fails_when_cancelled, required=True),
        Branch("order", after(0.1, NotFound()), required=True),
    )
    assert (error.field, error.code) == ("order", "not found")


async def fails_when_cancelled(ask: BranchInput) -> None:
    try:
        await anyio.sleep(9)
    except anyio.get_cancelled_exc_class():
        raise KeyError("user") from None


@everywhere
@pytest.mark.parametrize(
    ("errors", "status"),
    [((KeyError("a"), KeyError("b")), 502), ((NotFound("a"), NotFound("b")), 404),
     ((NotFound("a"), TimeoutError()), 502), ((TimeoutError(), TimeoutError()), 504)],
)  # fmt: skip
def test_all_failed_is_an_error_and_never_an_empty_answer(
    play: Play, errors: tuple[Exception, Exception], status: int
) -> None:
    """Its status is that of the branches when they agree."""
    a, b = errors
    error = answered(play, Branch("a", after(0.1, a)), Branch("b", after(0.2, b)))
    assert isinstance(error, AllFailed)
    assert (error.status, list(error.errors)) == (status, ["a", "b"])


@everywhere
def test_a_branch_that_answers_none_has_a_value(play: Play) -> None:
    """None is a value; a missing field has an error instead, and no null."""
    answer = answered(play, Branch("note", after(0.1, None)), Branch("user", after(0.1, KeyError())))
    assert answer == ComposedAnswer({"note": None}, {"user": FieldError("failed")})


# The budget of time


@everywhere
def test_a_branch_that_hangs_ends_before_the_answer_is_due(play: Play) -> None:
    """A branch's timeout is below the gateway's: the partial answer comes in time."""
    trace = shown(play, Branch("a", after(0.1, 1)), Branch("b", after(9)), timeout=1.0, reserve=0.2)
    answer, took = trace.result
    assert took == pytest.approx(0.8)
    assert answer == ComposedAnswer({"a": 1}, {"b": FieldError("timed out")})
    assert trace.filter("timed out")[0].data["after"] == pytest.approx(0.8)


@everywhere
def test_a_branch_has_no_more_than_its_own_timeout(play: Play) -> None:
    """Only that branch times out, and the answer does not wait for the whole."""
    trace = shown(play, Branch("a", after(0.4, 1)), Branch("b", after(9), timeout=0.3))
    assert trace.result == (ComposedAnswer({"a": 1}, {"b": FieldError("timed out")}), pytest.approx(0.4))


@everywhere
@pytest.mark.parametrize(("seconds", "in_time"), [(0.299, True), (0.3, False), (0.301, False)])
def test_an_answer_at_the_very_deadline_is_too_late(play: Play, seconds: float, in_time: bool) -> None:
    """A deadline is over at the instant; one tick before it is not."""
    answer = answered(play, Branch("a", after(0, 1)), Branch("b", after(seconds, 2), timeout=0.3))
    assert answer.complete is in_time


@everywhere
@pytest.mark.parametrize(("seconds", "code"), [(0.299, "failed"), (0.3, "timed out")])
def test_an_error_at_the_very_deadline_is_too_late_as_well(play: Play, seconds: float, code: str) -> None:
    """Whatever comes at the instant, the branch has timed out."""
    failing = Branch("b", after(seconds, KeyError()), timeout=0.3)
    assert answered(play, Branch("a", after(0, 1)), failing).errors == {"b": FieldError(code)}


@everywhere
def test_a_timeout_further_down_is_a_timeout_here(play: Play) -> None:
    """Also when a library raised it: indefinite stays indefinite, for the client and in the trace."""
    trace = shown(play, Branch("a", after(0, 1)), Branch("b", after(0.1, TimeoutError())))
    assert trace.result[0].errors == {"b": FieldError("timed out")}
    assert trace.count("timed out", where="b") == 1


async def test_the_trace_says_who_asks() -> None:
    """The participant that acts, and the fan-out itself where there is none."""
    view = FanOut(Branch("a", after(0)), name="view", timeout=1)
    await view()
    with acting("gateway"):
        await view()
    trace = recorded()
    assert [event.who for event in trace.filter("started")] == ["view", "view", "gateway", "gateway"]
    assert whoami() == ""


@everywhere
def test_leftovers_are_cancelled_and_awaited(play: Play) -> None:
    """The answer waits for the clean-up of what it cancels, so nothing runs on after it."""
    done = []

    async def call(ask: BranchInput) -> None:
        try:
            await anyio.sleep(9)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.02)
            done.append(anyio.current_time())

    trace = shown(play, Branch("a", after(0.1, 1)), Branch("b", call), timeout=1.0, reserve=0.1)
    assert len(done) == 1
    assert trace.result[1] == pytest.approx(0.92)


@everywhere
def test_the_deadline_around_a_fan_out_binds_it(play: Play) -> None:
    """Deadlines shrink hop by hop: the answer comes the reserve before the caller gives up."""

    async def scenario() -> tuple[Any, float, float]:
        seen: list[float] = []

        async def call(ask: BranchInput) -> None:
            seen.append(ask.until - begun)
            await anyio.sleep(9)

        begun = anyio.current_time()
        view = FanOut(Branch("a", call), Branch("b", after(0.1, 2)), reserve=0.1)
        with anyio.fail_after(1):
            answer = await view()
        return answer, anyio.current_time() - begun, seen[0]

    trace = play(scenario)
    assert (
        trace.result
        == (ComposedAnswer({"b": 2}, {"a": FieldError("timed out")}),) + (pytest.approx(0.8),) * 2
    )


@virtual_time_only
@pytest.mark.parametrize("left", [0.75, 1.0])
async def test_without_time_nobody_is_asked(left: float) -> None:
    """When the reserves leave no time to the branches, the fan-out ends before it begins."""
    with anyio.fail_after(left), pytest.raises(GatewayTimeout):
        await FanOut(Branch("a", after(0)), reserve=0.5)()
    assert recorded().count("started") == 1


def test_without_any_deadline_it_does_not_begin() -> None:
    """Nothing waits for ever."""

    async def scenario() -> None:
        with pytest.raises(ValueError, match="needs a timeout"):
            await FanOut(Branch("a", after(0)))()

    on_virtual_asyncio(scenario)


async def test_a_cancelled_fan_out_cancels_its_branches_and_says_so() -> None:
    """Cancellation is not failure: it comes out as cancellation, after the branches have ended."""
    async with anyio.create_task_group() as group:
        group.start_soon(FanOut(Branch("a", after(0.5)), Branch("b", after(0.5)), timeout=1))
        await anyio.sleep(0.2)
        group.cancel_scope.cancel()
    trace = recorded()
    assert (trace.count("cancelled"), trace.count("failed", "timed out")) == (3, 0)
    assert fan_out_budget(trace) == []


# Dependent calls


def order_and_user(order: AdmittedRequest, **how: Any) -> list[Branch]:
    async def user(ask: BranchInput) -> Any:
        return [ask.request, ask.results["order"]["user"], sorted(ask.results)]

    return [
        Branch("user", user, needs=["order"], **how),
        Branch("order", order),
        Branch("tax", after(0.3, 1)),
    ]


@everywhere
def test_a_dependent_call_gets_the_value_of_the_earlier_one(play: Play) -> None:
    """The user of the order, not the order's id (E14); and nothing that it did not say it needs."""
    answer = answered(play, *order_and_user(after(0.1, {"user": "ann"})))
    assert answer.data["user"] == ["order 17", "ann", ["order"]]


@everywhere
def test_a_dependent_call_does_not_wait_for_others(play: Play) -> None:
    """It begins as soon as what it needs is there."""
    trace = shown(play, *order_and_user(after(0.1, {"user": "ann"})))
    assert trace.filter("started", where="user")[0].at == pytest.approx(0.1)


@everywhere
@pytest.mark.parametrize(("how", "code"), [({}, "skipped"), ({"fails_without": True}, "need failed")])
def test_a_dependent_call_without_its_need_is_not_made(play: Play, how: Any, code: str) -> None:
    """By policy it is skipped or has failed; the error names what was missing."""
    trace = shown(play, *order_and_user(after(0.1, KeyError()), **how))
    assert trace.result[0].errors == {"user": FieldError(code, "order"), "order": FieldError("failed")}
    assert trace.count("started", where="user") == 0
    assert trace.filter("refused", where="user")[0].data == {"reason": code, "needs": "order"}


@everywhere
def test_a_required_dependent_call_fails_the_whole(play: Play) -> None:
    """The policy for a required branch is to fail, at once."""
    trace = shown(play, *order_and_user(after(0.1, KeyError()), required=True))
    error, took = trace.result
    assert isinstance(error, RequiredFailed)
    assert (error.field, took) == ("user", pytest.approx(0.1))
    assert type(error.__cause__) is NeedFailed


@everywhere
def test_a_chain_of_dependents_is_skipped_to_its_end(play: Play) -> None:
    """Each names the one that it needed itself; a skip does not change what all failed means."""
    error = answered(
        play,
        Branch("c", after(0), needs=["b"]),
        Branch("b", after(0), needs=["a"]),
        Branch("a", after(0.1, TimeoutError())),
    )
    assert isinstance(error, AllFailed)
    assert error.status == 504
    assert [type(e).__name__ for e in error.errors.values()] == ["Skipped", "Skipped", "TimeoutError"]


@everywhere
def test_a_dependent_call_shares_the_budget(play: Play) -> None:
    """The later it begins, the less time it has."""
    trace = shown(play, *order_and_user(after(0.5, {"user": "ann"})), timeout=1.0, reserve=0.1)
    begun, until = (lambda e: (e.at, e.data["until"]))(trace.filter("started", where="user")[0])
    first = trace.filter("started", where="order")[0]
    assert until == first.data["until"]
    assert begun == pytest.approx(0.5)


# What cannot be


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FanOut(timeout=1), "different names"),
        (lambda: FanOut(Branch("a", after(0)), Branch("a", after(0)), timeout=1), "different names"),
        (lambda: FanOut(Branch("a", after(0), needs=["b"]), timeout=1), "no such branch"),
        (lambda: FanOut(Branch("a", after(0), needs=["a"]), timeout=1), "wait for each other"),
        (lambda: FanOut(Branch("a", after(0), timeout=0.96), timeout=1), "give the branch less"),
        (lambda: FanOut(Branch("a", after(0)), timeout=1, reserve=1), "the reserve must be"),
        (lambda: FanOut(Branch("a", after(0)), timeout=1, reserve=0), "the reserve must be"),
        (
            lambda: FanOut(Branch("a", after(0)), timeout=1, max_concurrent=0),
            "max_concurrent must be a whole number",
        ),
        (lambda: Branch("a", after(0), timeout=0), "number of seconds above 0"),
        (lambda: Branch("a", after(0), timeout=math.nan), "number of seconds above 0"),
        (lambda: Branch("a", after(0), needs="order"), "a list of names"),
        (lambda: Branch("a", after(0), fails_without=True), "fails_without is about"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Callable[[], object], words: str) -> None:
    """A branch's timeout below the whole's, needs that can be met, names that differ."""
    with pytest.raises(ValueError, match=words):
        make()


def test_the_example_of_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """What the docstring shows is what happens."""
    exec(example(pattern), {})
    assert capsys.readouterr().out.splitlines() == [
        "after 0.5 s, complete: False",
        "  order    {'id': 'order 17', 'user': 'ann'}",
        "  user     {'name': 'ann'}",
        "  invoice  timed out",
    ]
