"""How findings and figures name things: times, counts and messages, in words for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ...trace import Event, Kind

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


def plural(number: float, noun: str, several: str = "") -> str:
    """'1 message', '1,000 messages', '2 copies'."""
    return f"{number:,g} {noun if number == 1 else several or noun + 's'}"


def listing(items: Sequence[str], most: int = 5) -> str:
    """'a, b and c'; beyond `most` items, 'a, b, c, d and 7 more'."""
    if len(items) > most:
        items = [*items[: most - 1], f"{len(items) - most + 1} more"]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def short(identity: str) -> str:
    """A message id that is short enough to read; random ones are cut."""
    return identity if len(identity) <= 16 else identity[:8] + "…"


class Names:
    """What to call the messages of a trace: by id, and by label where the sender gave one."""

    def __init__(self, trace: Iterable[Event]) -> None:
        self.labels: dict[str, str] = {}
        for event in trace:
            if event.kind == Kind.SENT and event.data.get("label"):
                self.labels.setdefault(event.message, str(event.data["label"]))
        self._uses = Counter(self.labels.values())

    def message(self, identity: str) -> str:
        """'message m3 (order 17)'."""
        label = self.labels.get(identity)
        return f"message {short(identity)}" + (f" ({label})" if label and label != identity else "")

    def label(self, identity: str) -> str:
        """'order 17'; 'order m3' where others have the same label; the id where there is none."""
        label = self.labels.get(identity)
        if not label:
            return short(identity)
        return f"{label} {short(identity)}" if self._uses[label] > 1 and label != identity else label


def happened(event: Event) -> str:
    """'delivered to worker-1 at 2.0 s', 'acknowledged by worker-1 at 3.0 s'."""
    did = _PAST.get(Kind(event.kind), event.kind)
    if event.kind == Kind.EFFECT:
        did = f"handled ('{event.data.get('effect', 'the effect')}')"
    if event.kind == Kind.ACCEPTED:
        return f"{did} by {event.where} at {seconds(event.at)}"
    who = event.who if event.kind not in (Kind.EXPIRED, Kind.RETURNED, Kind.DEAD, Kind.DROPPED) else ""
    link = " to " if event.kind == Kind.DELIVERED else " by "
    return f"{did}{link + who if who else ''} at {seconds(event.at)}"
