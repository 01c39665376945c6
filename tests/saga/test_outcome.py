"""The invariant of sagas: a trace that breaks one of its sentences has a finding that says which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.invariants.sagas import saga_outcome
from eip_ref.trace import Kind, Trace, record

Fact = Callable[[], None]


def state(now: str, was: str = "", where: str = "place order") -> Fact:
    return lambda: record(Kind.STATE, where, "o1", was=was, now=now, reason="")


def attempt(kind: Kind, step: str, role: str = "action", **facts: Any) -> Fact:
    identity = f"o1/{step}/undo" if role == "compensation" else f"o1/{step}"
    facts |= {"saga": "o1", "step": step, "role": role}
    return lambda: record(kind, "place order", identity, who="boss", **facts)


def effect(step: str, role: str = "action", *, money: float = 0) -> Fact:
    identity = f"o1/{step}/undo" if role == "compensation" else f"o1/{step}"
    facts: dict[str, Any] = {"saga": "o1", "step": step, "role": role, "amounts": {"money": money}}
    return lambda: record(Kind.EFFECT, "shop", identity, effect=f"did {role}", **facts)


def done(step: str, *, money: float = 0) -> list[Fact]:
    return [attempt(Kind.STARTED, step), effect(step, money=money), attempt(Kind.FINISHED, step)]


def undone(step: str, *, money: float = 0) -> list[Fact]:
    back = "compensation"
    begun, ended = attempt(Kind.STARTED, step, back), attempt(Kind.FINISHED, step, back)
    return [begun, effect(step, back, money=money), ended]


def ended(step: str, outcome: str) -> list[Fact]:
    return [attempt(Kind.STARTED, step), attempt(Kind.FAILED, step, outcome=outcome)]


BEGIN, BACK = state("running"), state("compensating", "running")
COMPLETED, COMPENSATED = state("completed", "running"), state("compensated", "compensating")
STUCK = state("stuck", "running")
A, B = done("a", money=-5), done("b")
UNDO_A, UNDO_B = undone("a", money=5), undone("b")


def told(facts: list[Fact]) -> Trace:
    async def scenario() -> None:
        for fact in facts:
            fact()

    return simulate(scenario)


@pytest.mark.parametrize(
    "facts",
    [
        [BEGIN, *A, *B, COMPLETED],
        [BEGIN, *A, *B, BACK, *UNDO_B, *UNDO_A, COMPENSATED],
        [BEGIN, *A, *ended("b", "refused"), BACK, *UNDO_A, COMPENSATED],
        [BEGIN, *A, *ended("b", "not done"), BACK, *UNDO_A, COMPENSATED],
        [BEGIN, *A, *ended("b", "doubt"), BACK, *undone("b")[::2], *UNDO_A, COMPENSATED],
        [BEGIN, *A, *ended("b", "doubt"), *ended("b", "refused"), BACK, *UNDO_A, COMPENSATED],
        [BEGIN, *A, attempt(Kind.STARTED, "b"), BACK, *undone("b")[::2], *UNDO_A, COMPENSATED],
        [BEGIN, *A, *ended("b", "doubt"), STUCK],
        [BEGIN, *A, STUCK, state("running", "stuck"), *B, COMPLETED],
        [
            BEGIN,
            *A,
            BACK,
            state("stuck", "compensating"),
            state("compensating", "stuck"),
            *UNDO_A,
            COMPENSATED,
        ],
        [
            BEGIN,
            attempt(Kind.STARTED, "a"),
            attempt(Kind.FINISHED, "a", "question", said="done"),
            COMPLETED,
        ],
        [
            BEGIN,
            attempt(Kind.STARTED, "a"),
            attempt(Kind.FINISHED, "a", "question", said="refused"),
            BACK,
            COMPENSATED,
        ],
        [
            BEGIN,
            *A,
            BACK,
            attempt(Kind.STARTED, "a", "compensation"),
            attempt(Kind.TIMED_OUT, "a", "compensation"),
            *UNDO_A,
            COMPENSATED,
        ],
        [  # a crash ends what ran
            BEGIN,
            *A,
            *B,
            BACK,
            attempt(Kind.STARTED, "b", "compensation"),
            lambda: record(Kind.CRASHED, "boss", who="boss"),
            *UNDO_B,
            *UNDO_A,
            COMPENSATED,
        ],
        [  # parallel: neither was before the other
            BEGIN,
            attempt(Kind.STARTED, "a"),
            attempt(Kind.STARTED, "b"),
            *A[1:],
            *B[1:],
            BACK,
            *UNDO_A,
            *UNDO_B,
            COMPENSATED,
        ],
        [effect("a", money=-5), effect("a", "compensation", money=5), state("compensated", where="monitor")],
    ],
)
def test_a_good_saga_has_no_findings(facts: list[Fact]) -> None:
    """Completed, compensated or stuck; orchestrated or choreographed."""
    assert invariants.in_words(saga_outcome(told(facts))) == ""


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([BEGIN, *A], "saga o1 has no outcome at the end: it is running"),
        (A, "has no outcome at the end: nobody says how it stands"),
        ([BEGIN, *A, COMPLETED, state("compensated")], "was completed and changed to compensated at 0.0 s"),
        ([BEGIN, *A, BACK, *UNDO_A, COMPENSATED, state("stuck")], "was compensated and changed to stuck"),
        ([BEGIN, *A, BACK, state("completed")], "went from compensating to completed"),
        ([BEGIN, *A, BACK, state("running"), COMPLETED], "went from compensating to running"),
        (
            [BEGIN, *A, COMPLETED, state("compensated", where="monitor")],
            "is completed for place order and compensated for monitor",
        ),
        ([BEGIN, *A, BACK, *UNDO_B[::2], *UNDO_A, COMPENSATED], "compensated b, which was never begun"),
        (
            [BEGIN, *A, *ended("b", "refused"), BACK, *UNDO_B[::2], *UNDO_A, COMPENSATED],
            "compensated b at 0.0 s, which certainly did not happen",
        ),
        (
            [BEGIN, *A, *ended("b", "not done"), BACK, *UNDO_B[::2], *UNDO_A, COMPENSATED],
            "compensated b at 0.0 s, which certainly did not happen",
        ),
        ([BEGIN, *A, *B, BACK, *UNDO_A, *UNDO_B, COMPENSATED], "compensated b after a: not in reverse"),
        (
            [
                BEGIN,
                *A,
                *B,
                BACK,
                attempt(Kind.STARTED, "b", "compensation"),
                attempt(Kind.STARTED, "a", "compensation"),
            ],
            "began to compensate a while the compensation of b ran",
        ),
        ([BEGIN, *A, COMPLETED, *B], "was completed at 0.0 s and carried a command for b"),
        ([BEGIN, *A, COMPLETED, effect("b")], "was completed at 0.0 s and had 'did action' at shop"),
        ([BEGIN, *A, STUCK, *B], "was stuck and carried a command for b without being resumed"),
        ([BEGIN, *A, effect("a"), COMPLETED], "had 'did action' of a twice"),
        ([BEGIN, effect("a", "compensation")], "had 'did compensation' of a, which had not happened"),
        ([BEGIN, *A, attempt(Kind.STARTED, "b"), COMPLETED], "is completed, and b is not done"),
        ([BEGIN, *A, *UNDO_A, COMPLETED], "is completed, and a was taken back"),
        ([BEGIN, *A, *B, BACK, *UNDO_B, COMPENSATED], "is compensated, and a was not taken back"),
        ([BEGIN, *A, BACK, *undone("a", money=4), COMPENSATED], "is compensated and leaves -1 money"),
        (
            [BEGIN, *A, *ended("b", "doubt"), BACK, *UNDO_A, COMPENSATED],
            "is compensated, and b was not taken back",
        ),
    ],
)
def test_each_breach_is_found_and_named(facts: list[Fact], said: str) -> None:
    """In plain words, with events that prove it."""
    found = saga_outcome(told(facts))
    assert said in invariants.in_words(found)
    assert all(finding.events for finding in found)


def test_what_is_open_may_be_open_when_asked_for() -> None:
    """A saga may still run at the end of a trace, if that is said."""
    trace = told([BEGIN, *A])
    assert saga_outcome(trace, open_ok=True) == []
    assert len(saga_outcome(trace)) == 1


def test_parallel_compensation_is_judged_without_an_order() -> None:
    """And an order that is not known is refused."""
    trace = told([BEGIN, *A, *B, BACK, *UNDO_A, *UNDO_B, COMPENSATED])
    assert saga_outcome(trace, order="any") == []
    with pytest.raises(ValueError, match="order must be 'reverse' or 'any'"):
        saga_outcome(trace, order="sideways")


def test_the_states_of_other_patterns_are_not_sagas() -> None:
    """A breaker that opens, a message that is waited for, a tombstone."""
    others = [
        lambda: record(Kind.STATE, "breaker", was="closed", now="open"),
        lambda: record(Kind.STATE, "requestor", "m1", was="", now="waiting"),
        lambda: record(Kind.STATE, "payments", "o1/payment", was="unknown", now="revoked"),
    ]
    assert saga_outcome(told([BEGIN, *A, *others, COMPLETED])) == []
