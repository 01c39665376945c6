"""Captions: one event in one plain sentence, and a whole trace in two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..trace import Event, Kind, Trace

__all__ = ["caption", "describe", "labels"]

_SENTENCES: dict[str, str] = {
    Kind.OPENED: "{where} opens",
    Kind.CLOSED: "{where} closes",
    Kind.CRASHED: "{where} crashes: none of its code runs on",
    Kind.RESTARTED: "{where} starts again",
    Kind.SENT: "{who} sends {m} to {where}",
    Kind.BLOCKED: "{who} waits until {where} can take {m}",
    Kind.ACCEPTED: "{where} accepts {m}",
    Kind.REFUSED: "{where} refuses {m}",
    Kind.LOST: "{where} loses {m} on the way",
    Kind.DUPLICATED: "{where} makes a second copy of {m}",
    Kind.ARRIVED: "{m} arrives at the end of {where}",
    Kind.DELIVERED: "{who} takes {m} from {where}",
    Kind.EXTENDED: "{who} extends its lease on {m}",
    Kind.ACKED: "{who} acknowledges {m}",
    Kind.NACKED: "{who} gives {m} back",
    Kind.EXPIRED: "the lease on {m} runs out",
    Kind.RETURNED: "{m} is ready again in {where}",
    Kind.STALE: "{who} tries to {attempted} {m} with a lease that is over; nothing changes",
    Kind.DEAD: "{m} becomes a dead letter",
    Kind.REPLAYED: "{m} is sent back from {where}",
    Kind.DROPPED: "{where} drops {m} for good",
    Kind.STARTED: "{who} begins to work on {m}",
    Kind.EFFECT: "{who}: {effect} for {m}",
    Kind.FINISHED: "{who} finishes {m}",
    Kind.FAILED: "{who} fails on {m}",
    Kind.CANCELLED: "{who} is cancelled while it works on {m}",
    Kind.DUPLICATE: "{who} knows {m} already and does nothing",
    Kind.NOTE: "{text}",
}

_EXTRAS: dict[str, Callable[[Any], str]] = {
    "deliveries": lambda n: f"delivery {n}" if n and n > 1 else "",
    "delay": lambda s: f"rests for {s:g} s" if s else "",
    "reason": str,
    "error": str,
    "to": lambda name: f"to {name}",
}
_SAID_BY: dict[str, tuple[str, ...]] = {
    Kind.DELIVERED: ("deliveries",),
    Kind.NACKED: ("delay", "reason"),
    Kind.REFUSED: ("reason",),
    Kind.RETURNED: ("reason",),
    Kind.DROPPED: ("reason",),
    Kind.DEAD: ("to", "reason"),
    Kind.REPLAYED: ("to",),
    Kind.FAILED: ("error",),
}


def labels(trace: Trace) -> dict[str, str]:
    """The name of each message for a reader: its label where one was recorded, else its id."""
    named = {e.message: str(e.data.get("label") or e.message) for e in trace if e.kind == Kind.SENT}
    return {e.message: named.get(e.message, e.message) for e in trace if e.message}


def caption(event: Event, label: str = "", remark: str = "") -> str:
    """What happened, as one sentence without its time; `label` names the message."""
    name = event.message if label in ("", event.message) else f"{label} ({event.message})"
    facts = {"attempted": "settle", "effect": "effect", "text": "", **event.data}
    who = event.who or event.where
    said = _SENTENCES.get(event.kind, "{where}: " + event.kind).format_map(
        {**facts, "m": name, "where": event.where, "who": who}
    )
    extras = [_EXTRAS[key](event.data[key]) for key in _SAID_BY.get(event.kind, ()) if event.data.get(key)]
    more = ", ".join(extra for extra in (*extras, remark) if extra)
    return f"{said} ({more})" if more else said


def describe(trace: Trace) -> str:
    """The trace in words, for whoever cannot see the picture: who takes part, how it ended."""
    inner = {str(e.data.get("to")) for e in trace.filter(Kind.DEAD)}
    sent = trace.filter(Kind.SENT, test=lambda e: e.where not in inner)
    if not sent:
        return f"A trace of {len(trace)} events in {trace.end:g} s, without any message."
    senders = _names(e.who for e in sent) or "a sender"
    channels = _names(e.where for e in sent)
    receivers = _names(e.who for e in trace.filter(Kind.DELIVERED) if e.where not in inner)
    to = f" to {receivers}" if receivers else ""
    many = _count(len({e.message for e in sent}), "message")
    return f"{many} from {senders} through {channels}{to} in {trace.end:g} s: {_ending(trace)}."


def _ending(trace: Trace) -> str:
    inner = {str(e.data.get("to")) for e in trace.filter(Kind.DEAD)}
    kinds: Mapping[str, int] = Counter(e.kind for e in trace if e.where not in inner)
    words = {
        Kind.ACCEPTED: "accepted",
        Kind.REFUSED: "refused",
        Kind.DELIVERED: "delivered",
        Kind.ACKED: "acknowledged",
        Kind.DROPPED: "dropped",
        Kind.LOST: "lost on the way",
        Kind.DEAD: "dead",
    }
    happened = {Kind.EXPIRED: "expired lease", Kind.FAILED: "failed attempt"}
    said = [f"{kinds[kind]} {word}" for kind, word in words.items() if kinds.get(kind)]
    said += [_count(kinds[kind], word) for kind, word in happened.items() if kinds.get(kind)]
    if crashes := kinds.get(Kind.CRASHED):
        said.append("1 crash" if crashes == 1 else f"{crashes} crashes")
    return ", ".join(said)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _names(found: Iterable[str]) -> str:
    """Each name once, in their order, as one would list them in a sentence; at most four."""
    names = [name for name in dict.fromkeys(found) if name]
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} others"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
