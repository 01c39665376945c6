"""Everybody talks to everybody: the systems, the links between them, and the demo of lesson 00."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...lab import figures, simulate
from ...lab.demo import Demo, choice, demo, slider
from ...message import Message
from ...point_to_point import NotSent, PointToPointChannel
from ...trace import Kind, Trace, acting, record

__all__ = ["everybody_talks", "links", "lost", "spaghetti"]

NAMES = (
    "orders", "payments", "stock", "invoices", "users", "billing", "shipping", "returns", "search", "reviews",
    "mail", "tax", "prices", "loyalty", "reports", "fraud", "supply", "chat", "adverts", "audit",
)  # fmt: skip
DOWN = {"nothing": "", "one system": NAMES[0], "the hub": "hub"}
Route = Sequence[PointToPointChannel]


async def everybody_talks(systems: int, wiring: str, failing: str = "nothing") -> None:
    """Let each system send one message to each other one; who is down sends nothing and takes nothing."""
    down = DOWN[failing]
    for (sender, receiver), route in _wire(NAMES[:systems], wiring, down).items():
        if sender == down:
            continue
        try:
            for link in route:
                with acting(sender):
                    await link.send(Message(f"{sender} to {receiver}"))
            record(Kind.EFFECT, receiver, effect="heard", sender=sender)
        except NotSent:
            pass  # the link has recorded the refusal


def _wire(names: Sequence[str], wiring: str, down: str) -> Mapping[tuple[str, str], Route]:
    """For each pair of systems the links that a message takes."""
    pairs = [(a, b) for a in names for b in names if a != b]
    if wiring == "direct":
        return {(a, b): [_link(a, b, down)] for a, b in pairs}
    to_hub, from_hub = ({a: _link(a, "hub", down) for a in names}, {b: _link("hub", b, down) for b in names})
    return {(a, b): [to_hub[a], from_hub[b]] for a, b in pairs}


def _link(start: str, end: str, down: str) -> PointToPointChannel:
    channel = PointToPointChannel(f"{start} → {end}", when_away="buffer", capacity=1_000)
    if end == down:
        channel.close_receiver()
    return channel


def links(systems: int, wiring: str) -> int:
    """Wire up so many systems, and count the one-way links that it took."""
    return simulate(everybody_talks, systems, wiring).count(Kind.OPENED)


def lost(trace: Trace) -> int:
    """The messages that did not arrive, in per cent of those that were wanted."""
    systems = len(_systems(trace))
    wanted = systems * (systems - 1)
    return round(100 * (wanted - trace.count(Kind.EFFECT)) / wanted)


def _systems(trace: Trace) -> set[str]:
    return {end for event in trace.filter(Kind.OPENED) for end in event.where.split(" → ")} - {"hub"}


def _in_words(trace: Trace) -> str:
    return (
        f"{len(_systems(trace))} systems, {trace.count(Kind.OPENED)} links. "
        f"{trace.count(Kind.EFFECT)} messages arrived, {lost(trace)} % are lost."
    )


def _picture(trace: Trace) -> figures.Figure:
    return figures.network(trace, hub="hub" if any("hub" in event.where for event in trace) else "")


def spaghetti() -> Demo:
    """Systems, wiring and what fails, as a network with every link."""
    return demo(
        everybody_talks,
        {
            "systems": slider(2, 20, value=8, label="Systems"),
            "wiring": choice("direct", "hub", label="Wiring"),
            "failing": choice("nothing", "one system", "the hub", label="What fails"),
        },
        presets={
            "Spaghetti": {"systems": 20},
            "Spaghetti, one down": {"systems": 20, "failing": "one system"},
            "Hub": {"systems": 20, "wiring": "hub"},
            "Hub, one down": {"systems": 20, "wiring": "hub", "failing": "one system"},
            "Hub down": {"systems": 20, "wiring": "hub", "failing": "the hub"},
        },
        summary=_in_words,
        figures=[_picture],
        player=False,
        seed=None,
        title="Everybody talks to everybody",
    )
