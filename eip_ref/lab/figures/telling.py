"""A sequence diagram in words: its times, what it leaves out, and what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ...trace import Kind
from ..wording import listing, plural, seconds
from .rows import Row, Steps


def clock(rows: list[Row]) -> Callable[[float], str]:
    """How times are written in the left margin: seconds, or hours, minutes and seconds."""
    if not rows or rows[-1].at < 1000:
        digits = max([1, *(len(f"{row.at:.3f}".rstrip("0").partition(".")[2]) for row in rows)])
        return lambda at: f"{at:.{digits}f} s"
    digits = 2 if any(row.at % 1 for row in rows) else 0
    width = 5 if digits else 2
    return lambda at: f"{int(at // 3600)}:{int(at % 3600 // 60):02}:{at % 60:0{width}.{digits}f}"


def notes_on(chosen: Steps) -> list[str]:
    """What the diagram does not show, in words."""
    notes = []
    if chosen.shown < chosen.total and not chosen.left_out:
        cut = f"Cut here: {chosen.shown:,} of {plural(chosen.total, 'event')} shown"
        notes.append(f"{cut}, until {seconds(chosen.until)} of {seconds(chosen.last)}.")
    elif chosen.shown < chosen.total:
        notes.append(f"{chosen.shown:,} of {plural(chosen.total, 'event')} shown.")
    if chosen.left_out:
        notes.append(f"No room for {listing(chosen.left_out)}.")
    if chosen.total == 0:
        notes.append("Nothing happened.")
    return notes


def alt_of(chosen: Steps, title: str) -> str:
    """The diagram in words: who is there, what happened how often, what went wrong."""
    if not chosen.shown:
        return f"{title}. Message sequence diagram without any event."
    forms = Counter(row.form for row in chosen.rows)
    counts = [
        (forms["send"] + forms["open"] + forms["refused"] + forms["lost"], "sent"),
        (forms["lost"], "lost on the way"),
        (forms["refused"], "refused"),
        (forms["deliver"] + forms["again"], "delivered"),
        (forms["again"], "of these delivered again"),
        (forms["ack"], "acknowledged"),
        (forms["nack"], "handed back"),
        (forms[Kind.EXPIRED], "taken back because the lease was over"),
        (forms["stale"], "stale"),
        (forms["dead"], "moved to the dead letters"),
        (forms[Kind.DROPPED], "dropped"),
    ]
    said = ", ".join(f"{number} {what}" for number, what in counts if number)
    crashes = [f"{r.label} at {seconds(r.at)}" for r in chosen.rows if r.form == Kind.CRASHED]
    who = listing([*chosen.lifelines], max_items=10)
    when = f"from {seconds(chosen.rows[0].at)} to {seconds(chosen.until)}"
    what = f"{title}. Message sequence diagram of {who}, {when}: {said or plural(chosen.shown, 'event')}."
    return " ".join([what, *(f"{crash}." for crash in crashes), *notes_on(chosen)])
