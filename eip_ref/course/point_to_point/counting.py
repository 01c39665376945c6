"""Predict: how many links a shop of 12 systems needs, and what one failing system takes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...autograder.exercise import Diagnosis, Exercise, Mistake, answered, facts
from ...autograder.forms import function
from ...lab.clock import simulate
from ...message import Message
from ...point_to_point import NotSent, PointToPointChannel
from ...trace import Kind, Trace, record
from . import mistakes

__all__ = ["COUNT_THE_LINKS", "everybody_sends"]

SYSTEMS = 12
QUESTIONS = {
    "direct": "the direct links between 12 systems",
    "hub": "the links between 12 systems through a hub",
    "hub_wins_from": "the number of systems from which on the hub needs fewer links",
    "direct_lost": "the share of the direct links that fail with one system, in per cent",
    "hub_lost": "the share of the hub's links that fail with one system, in per cent",
    "hub_down": "the share of the hub's links that fail with the hub, in per cent",
}
RETURNED = "returned"  #: the name of a note on an answer that is no dictionary
MEASURED = "measured"  #: the `where` of notes that hold what a real wiring shows

#: what a wrong number tells about how it was counted
TELLING: dict[tuple[str, int], Mistake] = {
    ("direct", 66): mistakes.COUNTS_PAIRS,
    ("direct", 144): mistakes.LINKS_TO_ITSELF,
    ("hub", 12): mistakes.HUB_ONE_WAY,
    ("hub", 13): mistakes.HUB_ONE_WAY,
    ("hub_wins_from", 3): mistakes.EQUAL_IS_NOT_FEWER,
    ("direct_lost", 8): mistakes.ONE_DIRECTION_LOST,
    ("hub_lost", 4): mistakes.ONE_DIRECTION_LOST,
}


def wires(systems: int, wiring: str) -> list[tuple[str, str]]:
    """Every one-way link, from one system to another, or between a system and the hub."""
    names = [f"system {number + 1}" for number in range(systems)]
    if wiring == "direct":
        return [(a, b) for a in names for b in names if a != b]
    return [(name, "hub") for name in names] + [("hub", name) for name in names]


async def everybody_sends(systems: int, wiring: str, down: str) -> None:
    """One message on every link. Who is down sends nothing, and a link to it accepts nothing."""
    for start, end in wires(systems, wiring):
        link = PointToPointChannel(f"{start} to {end}", when_away="buffer", capacity=1)
        if end == down:
            link.close_receiver()
        if start != down:
            try:
                await link.send(Message("hello"))
            except NotSent:
                continue  # the link has recorded the refusal


def measure() -> dict[str, int]:
    """The right answers, counted on real links."""

    def links(systems: int, wiring: str) -> int:
        return simulate(everybody_sends, systems, wiring, "").count(Kind.OPENED)

    def lost(wiring: str, down: str) -> int:
        trace = simulate(everybody_sends, SYSTEMS, wiring, down)
        return round(100 * (1 - trace.count(Kind.ACCEPTED) / trace.count(Kind.OPENED)))

    return {
        "direct": links(SYSTEMS, "direct"),
        "hub": links(SYSTEMS, "hub"),
        "hub_wins_from": next(n for n in range(2, SYSTEMS) if links(n, "hub") < links(n, "direct")),
        "direct_lost": lost("direct", "system 1"),
        "hub_lost": lost("hub", "system 1"),
        "hub_down": lost("hub", "hub"),
    }


def _predictions(answer: Callable[[], Any]) -> dict[str, object]:
    said = answer()
    if not isinstance(said, dict):
        return {RETURNED: type(said).__name__}
    given = {name: said.get(name) for name in QUESTIONS}
    return {name: float(v) if isinstance(v, int | float) else None for name, v in given.items()}


def _run(answer: object, seed: int) -> Trace:
    predicted = answered(_predictions)(answer, seed)
    counted = simulate(_write_down, measure(), seed=seed)
    return Trace([*predicted, *counted], seed=seed)


async def _write_down(counted: dict[str, int]) -> None:
    for name, value in counted.items():
        record(Kind.NOTE, MEASURED, who="", text=f"{name}: {value}", name=name, value=value)


def _judge(trace: Trace) -> list[Diagnosis]:
    said = facts(trace)
    if RETURNED in said:
        words = f"`count_the_links` returned a {said[RETURNED]}, and no dictionary with the six names."
        return [Diagnosis(mistakes.NO_PREDICTION, words)]
    if all(value is None for value in said.values()):
        return [Diagnosis(mistakes.NOTHING_PREDICTED, "There is no number yet for any of the six names.")]
    counted = {e.data["name"]: e.data["value"] for e in trace.filter(Kind.NOTE, where=MEASURED)}
    compared = ((name, said.get(name), counted[name]) for name in QUESTIONS)
    return [_wrong(name, value, right) for name, value, right in compared if not _equal(value, right)]


def _equal(value: object, right: int) -> bool:
    return isinstance(value, int | float) and round(value) == right


def _wrong(name: str, value: object, right: int) -> Diagnosis:
    if not isinstance(value, int | float):
        return Diagnosis(mistakes.NO_PREDICTION, f"`{name}` has no number.")
    mistake = TELLING.get((name, round(value)), mistakes.MISCOUNTED)
    off = "too many" if value > right else "too few"
    if name == "hub_wins_from" or name.endswith(("lost", "down")):
        off = "too high" if value > right else "too low"
    return Diagnosis(mistake, f"`{name}` is {QUESTIONS[name]}. You said {value:g}, and that is {off}.")


COUNT_THE_LINKS = Exercise(
    name="point_to_point/count_the_links",
    title="Count the links",
    points=2,
    minutes=4,
    difficulty=1,
    kind="predict",
    answer="count_the_links",
    form=function(),
    called="Your `count_the_links()`. Then the check wires up 12 systems in both ways, with real channels, "
    "sends a message on every link, and counts.",
    promised="Each of the six predictions is the number that was counted. Per cents are whole numbers.",
    hints=(
        "Draw three systems, and every arrow between them. Then draw the same three around a hub.",
        "An arrow has a direction. For each system ask twice: how many arrows leave it, how many reach it? "
        "Those are also the arrows that it takes along when it fails.",
        "Direct, each of n systems has n - 1 arrows out and n - 1 arrows in, and every arrow is shared by "
        "two systems. At a hub each system has one out and one in. Put n = 12; then compare n = 2, 3, 4.",
    ),
    explanation="Direct links grow with the square of the systems, n(n-1), and a hub needs 2n. At three "
    "systems both need six. One failing system takes 22 of 132 direct links, and 2 of 24 at the hub. But "
    "every link of the hub ends at the hub.",
    run=_run,
    judge=_judge,
    seeds=(1,),
)
