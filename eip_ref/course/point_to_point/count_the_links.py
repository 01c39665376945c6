"""Count the links

Predict · easy · 2 points · 4 minutes

Answer: def count_the_links()
Called: Your `count_the_links()`. Then the check wires up 15 systems in both ways, with real channels, sends a
    message on every link, and counts.
Promised: Each of the six predictions is the number that was counted. Per cents are whole numbers.
Hint: Draw three systems, and every arrow between them. Then draw the same three around a hub.
Hint: An arrow has a direction. For each system ask twice: how many arrows leave it, how many reach it? Those
    are also the arrows that it takes along when it fails.
Hint: Direct, each of n systems has n - 1 arrows out and n - 1 arrows in, and every arrow is shared by two
    systems. At a hub each system has one out and one in. Put n = 15; then compare n = 2, 3, 4.
Why: Direct links grow with the square of the systems, n(n-1), and a hub needs 2n. At three systems both need
    six. Of 15 systems one that fails takes 28 of 210 direct links, and 2 of 30 at the hub. But every link of
    the hub ends at the hub.

not-started: The answer has not been started. Put a whole number in place of each `None`, run the cell, then
    run the check again.
no-prediction: A prediction is missing. Each of the six names needs a whole number. A guess is welcome: the
    check says which way it is off.
counts-pairs: Counted pairs instead of one-way links. A link carries messages in one direction. Two systems
    that talk to each other need more than one.
links-to-itself: Counted a link from each system to itself. A system needs no link to talk to itself. Draw
    three systems and count the arrows.
hub-one-way: Counted only one direction at the hub. A system must reach the hub, and the hub must reach the
    system. Each link carries one direction only.
equal-is-not-fewer: Took equal for fewer. With that number of systems both wirings need the same number of
    links. Count again for one more.
one-direction-lost: Counted only half of what a failing system takes along. A system that is down neither
    receives nor sends. Links end at it, and links begin at it.
miscounted: The prediction and the count differ. The check wired the systems up and counted. Draw a smaller
    case, such as four systems, and count there.
"""

from __future__ import annotations

from ...autograder import kit
from ...lab.clock import simulate
from ...message import Message
from ...point_to_point import NotSent, PointToPointChannel
from ...trace import Kind, Trace

__all__ = ["EXERCISE"]

SYSTEMS = 15
WORDS = {
    "direct": "the direct links between 15 systems",
    "hub": "the links between 15 systems through a hub",
    "hub_wins_from": "the number of systems from which on the hub needs fewer links",
    "direct_lost": "the share of the direct links that fail with one system, in per cent",
    "hub_lost": "the share of the hub's links that fail with one system, in per cent",
    "hub_down": "the share of the hub's links that fail with the hub, in per cent",
}
TELLING = {  # what a wrong number tells about how it was counted
    ("direct", 105): "counts-pairs",
    ("direct", 225): "links-to-itself",
    ("hub", 15): "hub-one-way",
    ("hub", 16): "hub-one-way",
    ("hub_wins_from", 3): "equal-is-not-fewer",
    ("direct_lost", 7): "one-direction-lost",
    ("hub_lost", 3): "one-direction-lost",
}


def wires(systems: int, wiring: str) -> list[tuple[str, str]]:
    """Every one-way link, from one system to another, or between a system and the hub."""
    names = [f"system {number + 1}" for number in range(systems)]
    if wiring == "direct":
        return [(a, b) for a in names for b in names if a != b]
    return [(name, "hub") for name in names] + [("hub", name) for name in names]


async def everybody_sends(systems: int, wiring: str, down: str) -> None:
    """Send one message on every link. What is down sends nothing, and a link to it accepts nothing."""
    for start, end in wires(systems, wiring):
        link = PointToPointChannel(f"{start} to {end}", when_away="buffer", capacity=1)
        if end == down:
            link.close_receiver()
        if start != down:
            try:
                await link.send(Message("hello"))
            except NotSent:
                continue  # the link has recorded the refusal


def links(systems: int, wiring: str) -> int:
    return simulate(everybody_sends, systems, wiring, "").count(Kind.OPENED)


def lost(wiring: str, down: str) -> int:
    trace = simulate(everybody_sends, SYSTEMS, wiring, down)
    return round(100 * (1 - trace.count(Kind.ACCEPTED) / trace.count(Kind.OPENED)))


def hub_wins_from() -> int:
    return next(n for n in range(2, SYSTEMS) if links(n, "hub") < links(n, "direct"))


QUESTIONS = {
    "direct": kit.counted(lambda: links(SYSTEMS, "direct")),
    "hub": kit.counted(lambda: links(SYSTEMS, "hub")),
    "hub_wins_from": kit.counted(hub_wins_from),
    "direct_lost": kit.counted(lambda: lost("direct", "system 1")),
    "hub_lost": kit.counted(lambda: lost("hub", "system 1")),
    "hub_down": kit.counted(lambda: lost("hub", "hub")),
}


def number(question: str, said: object) -> float | None:
    return float(said) if isinstance(said, int | float) else None


def judge(trace: Trace) -> kit.Symptoms:
    missing = kit.unreadable(trace, "no-prediction")
    yield from missing
    if len(missing) == len(WORDS):
        yield kit.seen("not-started", "There is no number yet for any of the six names.")
    for question, said, right in kit.answers(trace):
        if round(said) != right:
            mistake = TELLING.get((question, round(said)), "miscounted")
            many, few = ("many", "few") if question in ("direct", "hub") else ("high", "low")
            off = f"too {many if said > right else few}"
            yield kit.seen(
                mistake, f"`{question}` is {WORDS[question]}. You said {said:g}, and that is {off}."
            )


EXERCISE = kit.exercise(__name__, __doc__, kit.ask(QUESTIONS, number), judge, seeds=(1,))
