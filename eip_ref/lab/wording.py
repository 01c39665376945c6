"""Wording: how findings, figures and the player name times, counts, messages and events, for people.

And the quantiles of which they speak, which whoever draws nothing needs as well.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..trace import Event, Kind, Trace

__all__ = [
    "Names",
    "caption",
    "describe",
    "happened",
    "labels",
    "listing",
    "one_line",
    "plural",
    "quantile",
    "seconds",
    "short",
]

_LONGEST = 4_000  #: characters of one line
_NOT_DRAWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)  # what XML cannot hold, what breaks a line, and what turns the rest of it round


def one_line(text: str) -> str:
    """The text as a drawing can hold it: on one line, with � for each control sign that is no space.

    Of a text that no line can hold, beginning and end are left, with an ellipsis between them.
    """
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[1 - _LONGEST // 2 :]}"
    return _NOT_DRAWN.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))


def seconds(value: float) -> str:
    """A time or duration: '2.0 s', '0.05 s', '3 min 20 s', '2 h 5 min'."""
    if abs(value) < 120:
        text = f"{value:.3f}".rstrip("0")
        if 0 < abs(value) < 0.001:
            text = f"{value:.2g}"
        return f"{text}0 s" if text.endswith(".") else f"{text} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def plural(number: int, noun: str, several: str = "") -> str:
    """A number with its noun: '1 message', '1,000 messages', '2 copies'."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def listing(items: Sequence[str], max_items: int = 5) -> str:
    """The items in a sentence: 'a, b and c'; beyond `max_items` of them, 'a, b, c, d and 7 more'."""
    if len(items) > max_items:
        items = [*items[: max_items - 1], f"{len(items) - max_items + 1} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def short(identity: str) -> str:
    """A message id that is short enough to read; random ones are cut."""
    return identity if len(identity) <= 16 else identity[:8] + "…"


class Names:
    """The names of the messages of a trace: ids, and labels where the sender gave one."""

    def __init__(self, trace: Iterable[Event]) -> None:
        self.labels: dict[str, str] = {}
        for event in trace:
            if event.kind == Kind.SENT and event.data.get("label"):
                self.labels.setdefault(event.message, str(event.data["label"]))
        self._uses = Counter(self.labels.values())

    def message(self, identity: str) -> str:
        """A message by its id and label: 'message m3 (order 17)'."""
        label = self.labels.get(identity)
        return f"message {short(identity)}" + (f" ({label})" if label and label != identity else "")

    def label(self, identity: str) -> str:
        """Its label: 'order 17'; 'order m3' where others have the same one; the id where there is none."""
        label = self.labels.get(identity)
        if not label:
            return short(identity)
        return f"{label} {short(identity)}" if self._uses[label] > 1 and label != identity else label


_PAST = {
    Kind.SENT: "sent",
    Kind.ACCEPTED: "accepted",
    Kind.REFUSED: "refused",
    Kind.LOST: "lost",
    Kind.DELIVERED: "delivered",
    Kind.EXTENDED: "extended",
    Kind.ACKED: "acknowledged",
    Kind.NACKED: "handed back",
    Kind.EXPIRED: "taken back because its lease expired",
    Kind.RETURNED: "made ready again",
    Kind.DEAD: "moved to the dead letters",
    Kind.REPLAYED: "replayed",
    Kind.DROPPED: "dropped",
    Kind.STARTED: "started",
    Kind.FINISHED: "finished",
}


def happened(event: Event) -> str:
    """An event in the past tense: 'delivered to worker-1 at 2.0 s', 'acknowledged by worker-1 at 3.0 s'."""
    did = _PAST.get(Kind(event.kind), event.kind)
    if event.kind == Kind.EFFECT:
        did = f"handled ('{event.data.get('effect', 'the effect')}')"
    if event.kind == Kind.ACCEPTED:
        return f"{did} by {event.where} at {seconds(event.at)}"
    who = event.who if event.kind not in (Kind.EXPIRED, Kind.RETURNED, Kind.DEAD, Kind.DROPPED) else ""
    link = " to " if event.kind == Kind.DELIVERED else " by "
    return f"{did}{link + who if who else ''} at {seconds(event.at)}"


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
    f"{Kind.STATE} away": "{who} goes away from {where}",
    f"{Kind.STATE} here": "{who} is back at {where}",
}

_EXTRAS: dict[str, Callable[[Any], str]] = {
    "deliveries": lambda n: f"delivery {n}" if n and n > 1 else "",
    "delay": lambda s: f"delayed by {s:g} s" if s else "",
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
    named = Names(trace).labels
    return {e.message: named.get(e.message, e.message) for e in trace if e.message}


def caption(event: Event, label: str = "", remark: str = "") -> str:
    """The event as one sentence without its time; `label` names the message."""
    name = event.message if label in ("", event.message) else f"{label} ({event.message})"
    facts = {"attempted": "settle", "effect": "effect", "text": "", **event.data}
    who = event.who or event.where
    known = _SENTENCES.get(f"{event.kind} {event.data.get('now', '')}") or _SENTENCES.get(event.kind)
    unknown = "{where} is now {now}" if event.data.get("now") else "{where}: " + event.kind
    said = (known or unknown).format_map({**facts, "m": name, "where": event.where, "who": who})
    extras = [_EXTRAS[key](event.data[key]) for key in _SAID_BY.get(event.kind, ()) if event.data.get(key)]
    more = ", ".join(extra for extra in (*extras, remark) if extra)
    return one_line(f"{said} ({more})" if more else said)


def describe(trace: Trace) -> str:
    """The trace in words, for whoever cannot see the picture: who takes part, how it ended."""
    inner = {str(e.data.get("to")) for e in trace.filter(Kind.DEAD)}
    outer = trace.filter(test=lambda e: e.where not in inner)
    sent = outer.filter(Kind.SENT)
    if not sent:
        return f"A trace of {plural(len(trace), 'event')} in {seconds(trace.end)}, without any message."
    senders = _each(e.who for e in sent) or "a sender"
    channels, receivers = _each(e.where for e in sent), _each(e.who for e in outer.filter(Kind.DELIVERED))
    to = f" to {receivers}" if receivers else ""
    many = plural(len({e.message for e in sent}), "message")
    said = f"{many} from {senders} through {channels}{to} in {seconds(trace.end)}: {_ending(outer)}."
    return one_line(said)


def _ending(trace: Trace) -> str:
    kinds = Counter(event.kind for event in trace)
    ends = {
        Kind.ACCEPTED: "accepted",
        Kind.REFUSED: "refused",
        Kind.DELIVERED: "delivered",
        Kind.ACKED: "acknowledged",
        Kind.DROPPED: "dropped",
        Kind.LOST: "lost on the way",
        Kind.DEAD: "dead",
    }
    said = [f"{kinds[kind]:,} {word}" for kind, word in ends.items() if kinds[kind]]
    troubles = (
        (Kind.EXPIRED, "expired lease", ""),
        (Kind.FAILED, "failed attempt", ""),
        (Kind.CRASHED, "crash", "crashes"),
    )
    said += [plural(kinds[kind], one, several) for kind, one, several in troubles if kinds[kind]]
    return ", ".join(said)


def _each(names: Iterable[str]) -> str:
    """Each name once, in their order; at most four."""
    return listing([name for name in dict.fromkeys(names) if name], max_items=4)


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
