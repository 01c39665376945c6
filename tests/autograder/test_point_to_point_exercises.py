"""The exercises of lesson 01: the faults really hit, and forged facts gain nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from eip_ref.autograder.judging import judge_answer
from eip_ref.autograder.registry import find
from eip_ref.autograder.report import Report
from eip_ref.point_to_point import NotSent
from eip_ref.trace import Trace, record

from .exercise_cases import model

LESSON = "point_to_point"


async def _forges(counter: Any, invoices: Any) -> list[str]:
    """Swallow every refusal and record what the judge would like to see."""
    async for invoice in counter:
        with suppress(NotSent):
            await invoices.send(invoice)
    everything = [f"m{number}" for number in range(1, 10)]
    for message in everything:
        record("accepted", "invoices", message)
        record("delivered", "invoices", message, who="billing", lease=None)
    record("note", "the books", invoices={}, offered=everything, accepted=everything, reported=[])
    return []


def test_recording_what_did_not_happen_does_not_help() -> None:
    """The books are kept by the scenario, and it writes them last."""
    verdict = judge_answer(find("point_to_point/report_what_was_not_sent"), _forges)
    assert verdict.diagnosis
    assert verdict.diagnosis.name == "refusal-swallowed"


def test_other_mistakes_come_with_what_was_seen() -> None:
    """“The sender stands still” alone would not say which of three senders."""
    chosen = {"invoices": ("block", 0), "readings": ("buffer", 1), "orders": ("block", 0)}
    text = str(Report(judge_answer(find("point_to_point/choose_for_absence"), chosen.__getitem__)))
    assert re.findall(r"Looks like:\n +(.*?)\.", text) == ["The sender stands still"]
    assert re.findall(r"Also: (.*?)\. (`\w+`): with reading", text) == [
        ("Delivers what nobody needs any more", "`readings`")
    ]


def _traces(slug: str) -> list[Trace]:
    exercise = find(f"{LESSON}/{slug}")
    return [
        judge_answer(exercise, model(exercise), [seed]).trace for seed in (*exercise.seeds, *range(50, 70))
    ]


@pytest.mark.parametrize(
    ("slug", "happens"),
    [
        ("choose_for_absence", lambda trace: trace.count("refused", where="readings") >= 15),
        ("report_what_was_not_sent", lambda trace: trace.count("closed", where="invoices") == 1),
        ("report_what_was_not_sent", lambda trace: len(_reasons(trace)) == 2),
        ("definite_or_unknown", lambda trace: trace.count("lost") == 3),
        ("hand_over_before_leaving", lambda trace: "the sender gave up" in _reasons(trace)),
        ("hand_over_before_leaving", lambda trace: any(e.at > 6 for e in trace.filter("accepted"))),
    ],
)
def test_the_faults_really_hit(slug: str, happens: Callable[[Trace], bool]) -> None:
    """With every seed the receiver is away, closes, or is too slow, and the line fails."""
    assert all(happens(trace) for trace in _traces(slug))


def test_the_fates_come_in_another_order_with_another_seed() -> None:
    """Who counts invoices instead of looking at what happened to each is found out."""
    orders = [
        tuple(row["said"] for row in trace[-1].data["rows"]) for trace in _traces("definite_or_unknown")
    ]
    assert len(set(orders[:3])) == 3
    assert len(set(orders)) > 10


def _reasons(trace: Trace) -> set[str]:
    return {event.data["reason"] for event in trace.filter("refused")}


@pytest.mark.parametrize(
    "slug", ["report_what_was_not_sent", "definite_or_unknown", "hand_over_before_leaving"]
)
def test_no_two_seeds_tell_the_same_story(slug: str) -> None:
    """An answer that is written for one seed fails with another."""
    traces = _traces(slug)
    assert len({trace.to_json() for trace in traces}) == len(traces)
