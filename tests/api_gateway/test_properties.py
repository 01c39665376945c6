"""Gateway and aggregator under generated loads, against models that are small enough to be believed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.aggregator import Aggregator, RejectedPart, by_size
from eip_ref.api_gateway import (
    AllFailed,
    BadRequest,
    Branch,
    BranchInput,
    FanOut,
    Identity,
    RequiredFailed,
    RetryBudget,
)
from eip_ref.api_gateway.edge import ROLES, SUBJECT, normalise, onward
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.message import Message
from tests.seeded.api_gateway import RUNS

# A fan-out

TIMEOUT, RESERVE = 20, 1  # seconds; whole ones, so that many things happen at the same instant

PLANS = st.lists(
    st.fixed_dictionaries(
        {
            "seconds": st.integers(0, 25),
            "works": st.sampled_from([True, True, False]),
            "required": st.sampled_from([False, False, True]),
            "fails": st.booleans(),
            "timeout": st.sampled_from([3, 7, TIMEOUT - RESERVE]),
            "needs": st.sets(st.integers(0, 5)),
        }
    ),
    min_size=1,
    max_size=6,
)
Plans = Sequence[dict[str, Any]]


def needs(plans: Plans, number: int) -> list[int]:
    """Each may need some of those before it, so there is no circle."""
    return sorted(need for need in plans[number]["needs"] if need < number)


def expected(plans: Plans) -> tuple[dict[int, str], float, set[int]]:
    """How each branch ends when nobody cancels it, and when a required one fails first, and which."""
    how: dict[int, str] = {}
    at: dict[int, float] = {}
    for number, plan in enumerate(plans):
        start = max((at[need] for need in needs(plans, number)), default=0)
        if any(how[need] != "value" for need in needs(plans, number)):
            how[number], at[number] = "need failed" if plan["fails"] or plan["required"] else "skipped", start
            continue
        until = min(start + plan["timeout"], TIMEOUT - RESERVE)
        end = start + plan["seconds"]
        if end >= until:
            how[number], at[number] = "timed out", until
        else:
            how[number], at[number] = "value" if plan["works"] else "failed", end
    fatal = {n: at[n] for n, plan in enumerate(plans) if plan["required"] and how[n] != "value"}
    first = min(fatal.values(), default=max(at.values()))
    return how, first, {n for n, when in fatal.items() if when == first}


@settings(max_examples=200)
@given(PLANS)
def test_a_fan_out_does_what_its_plan_says(plans: Plans) -> None:
    """Values, errors and the time of the answer are those of a model that knows no tasks."""

    def branch(number: int) -> Branch:
        plan = plans[number]

        async def call(ask: BranchInput) -> int:
            assert list(ask.results.items()) == [(f"b{need}", need) for need in needs(plans, number)]
            await anyio.sleep(plan["seconds"])
            if not plan["works"]:
                raise KeyError(number)
            return number

        wanted = [f"b{need}" for need in needs(plans, number)]
        return Branch(
            f"b{number}",
            call,
            required=plan["required"],
            timeout=plan["timeout"],
            needs=wanted,
            fails_without=bool(wanted) and plan["fails"],
        )

    async def scenario() -> tuple[Any, float]:
        view = FanOut(*map(branch, range(len(plans))), timeout=TIMEOUT, reserve=RESERVE)
        try:
            return await view(), anyio.current_time()
        except (AllFailed, RequiredFailed) as error:
            return error, anyio.current_time()

    trace = simulate(scenario)
    answer, took = trace.result
    how, end, fatal = expected(plans)
    assert fan_out_budget(trace) == []
    assert took == end
    values = [f"b{n}" for n in how if how[n] == "value"]
    if fatal:
        assert isinstance(answer, RequiredFailed)
        assert answer.field in {f"b{n}" for n in fatal}
    elif not values:
        assert isinstance(answer, AllFailed)
    else:
        assert list(answer.data) == values
        errors = [(f"b{n}", how[n]) for n in how if how[n] != "value"]
        assert [(name, error.code) for name, error in answer.errors.items()] == errors


# A budget


@given(st.lists(st.booleans(), max_size=200), st.sampled_from([0, 0.1, 0.3, 1]), st.integers(1, 5))
def test_extra_calls_are_never_more_than_the_budget(asks: list[bool], share: float, spare: int) -> None:
    """Spare, and a share of the first calls, in whatever order they come."""
    budget = RetryBudget(share=share, spare=spare)
    first = extra = 0
    for is_first in asks:
        if is_first:
            budget.earn()
            first += 1
        else:
            extra += budget.spend()
        assert extra <= spare + share * first + 1e-6


# Paths and headers


@settings(max_examples=500)
@given(st.text(st.sampled_from([*"/.%25eEfFcC;\\ab~ ", "é"]), max_size=12).map(lambda text: f"/{text}"))
def test_a_normalised_path_has_one_reading(path: str) -> None:
    """Refused, or without dots, doubled slashes and escapes; and writing it anew changes nothing."""
    try:
        normal = normalise(path)
    except BadRequest:
        return
    assert not {".", "..", ""} & {*normal.split("/")[1:]} or normal == "/"
    assert "\\" not in normal
    assert normalise(quote(normal)) == normal


NAMES = st.sampled_from(
    ["X-Identity-Subject", "x_identity_subject", "X-IDENTITY-ROLES", "Connection", "X-Internal-A", "TE",
     "Authorization", "Accept", "X-Custom", "Forwarded", "X-Forwarded-For", "Cookie"]
)  # fmt: skip


@given(st.lists(st.tuples(NAMES, st.sampled_from(["x", "x-custom", "accept, te"]))))
def test_a_backend_believes_no_header_of_the_client(headers: list[tuple[str, str]]) -> None:
    """Exactly one identity, the gateway's; and nothing of what ends at the door."""
    sent = onward(headers, Identity("ann", frozenset({"customer"})))
    assert sent[-2:] == ((SUBJECT, "ann"), (ROLES, "customer"))
    assert {name for name, _ in sent[:-2]} <= {"accept", "x-custom"}


# An aggregator

STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.integers(0, 4)), min_size=1, max_size=12
)


@settings(max_examples=200)
@given(STEPS, st.integers(1, 3))
def test_an_aggregator_does_what_a_table_would(steps: list[tuple[str, int, int]], size: int) -> None:
    """Each message is taken, late or a duplicate; each group comes out once, in order, and in time."""
    timeout = 5

    async def scenario() -> tuple[list[Any], list[Any], int]:
        out: list[Any] = []
        late: list[Any] = []
        rejected = 0

        async def emit(group: Any) -> None:
            numbers = [message.body for message in group.messages]
            out.append((anyio.current_time(), group.key, numbers, group.why))

        async def too_late(message: Message) -> None:
            late.append((message.correlation_id, message.body))

        async with Aggregator(emit, complete=by_size(size), timeout=timeout, late=too_late) as lines:
            for key, number, pause in steps:
                message = Message(number, correlation_id=key, headers={"sequence": number})
                try:
                    await lines.receive(message)
                except RejectedPart:
                    rejected += 1
                await anyio.sleep(pause)
            await anyio.sleep(timeout)
        return sorted(out), late, rejected

    groups: dict[str, dict[str, Any]] = {}
    late: list[tuple[str, int]] = []
    seen: dict[str, set[int]] = defaultdict(set)
    now = duplicates = 0
    for key, number, pause in steps:
        group = groups.setdefault(key, {"began": now, "numbers": seen[key], "why": "", "at": 0})
        if not group["why"] and now >= group["began"] + timeout:
            group["why"], group["at"] = "timed out", group["began"] + timeout
        if group["why"]:
            late.append((key, number))
        elif number in group["numbers"]:
            duplicates += 1
        else:
            group["numbers"].add(number)
            if len(group["numbers"]) == size:
                group["why"], group["at"] = "complete", now
        now += pause
    for group in groups.values():
        if not group["why"]:
            group["why"], group["at"] = "timed out", group["began"] + timeout
    out = sorted((g["at"], key, sorted(g["numbers"]), g["why"]) for key, g in groups.items())
    assert simulate(scenario).result == (out, late, duplicates)


# Seeds


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_seeded_runs_hold_and_repeat(run: Any) -> None:
    """A few seeds here; hundreds elsewhere. The same seed gives the same trace."""
    for seed in range(5):
        trace = run.play(seed)
        assert run.judge(trace) == []
        assert run.play(seed) == trace
