"""The faults that were done to real systems under load, and what they cost: counted from traces, and stored.

`load()` gives the rows to lessons; `eip_ref.field.table` writes them into its page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..trace import Event, Kind

__all__ = ["FAULTS", "Counts", "Row", "counted", "load", "picture", "section", "store"]

STORED = Path(__file__).parent / "measured" / "faults.json"

FAULTS = {
    "kill": "The broker is killed and started again on the same data",
    "cut": "The connections are cut",
    "consumer": "A consumer is killed at its work",
}


class Counts(NamedTuple):
    """Messages of one run. A message is worked on when a consumer has done its work, acked or not."""

    confirmed: int  #: their put returned
    lost: int  #: confirmed, and never worked on, though the queue was drained
    doubled: int  #: delivered again after their ack had returned
    reordered: int  #: delivered for the first time after a later one of the same producer
    unsure: int  #: their put raised: it may have been heard
    came: int  #: of those, delivered all the same


def counted(events: Iterable[Event]) -> Counts:
    """Count in the trace of a run whose messages have the ids "<producer>-<number>"."""
    by_kind: dict[str, set[str]] = {kind: set() for kind in Kind}
    doubled: set[str] = set()
    reordered = 0
    latest: dict[str, int] = {}
    for event in events:
        id = event.message
        if event.kind == Kind.DELIVERED:
            if id in by_kind[Kind.ACKED]:
                doubled.add(id)
            if id not in by_kind[Kind.DELIVERED]:
                producer, _, number = id.partition("-")
                reordered += int(number) < latest.get(producer, 0)
                latest[producer] = max(int(number), latest.get(producer, 0))
        by_kind[event.kind].add(id)
    accepted, unsure = by_kind[Kind.ACCEPTED], by_kind[Kind.SENT] - by_kind[Kind.ACCEPTED]
    return Counts(
        confirmed=len(accepted),
        lost=len(accepted - by_kind[Kind.FINISHED]),
        doubled=len(doubled),
        reordered=reordered,
        unsure=len(unsure),
        came=len(unsure & by_kind[Kind.DELIVERED]),
    )


class Row(NamedTuple):
    """One fault, done once to one system with one setting."""

    fault: str  #: one of `FAULTS`
    system: str  #: its label and version
    setting: str  #: how messages were kept and confirmed
    test: str  #: the test that has done it
    counts: Counts


def load(path: Path = STORED) -> list[Row]:
    """The stored rows, in the order of the page."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        Row(each["fault"], each["system"], each["setting"], test, Counts(**each["counts"]))
        for test, each in stored.items()
    ]


def store(row: Row, order: list[str], path: Path = STORED) -> None:
    """Put a row in the place of the one of the same test; `order` names all tests that there are."""
    rows = {each.test: each for each in load(path)} | {row.test: row}
    stored: dict[str, Any] = {}
    for test in order:
        if test in rows:
            facts = rows[test]._asdict()
            stored[facts.pop("test")] = {**facts, "counts": rows[test].counts._asdict()}
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


HEAD = """\
## Faults under load

![What was lost, doubled and reordered, as coloured squares](faults.svg)

Eight producers put one message after the other, and one consumer received and acked, when the fault came;
then the queue was drained. *Confirmed*: the put returned. *Lost*: confirmed, and never worked on. *Doubled*:
delivered again after the ack had returned. *Reordered*: first delivered after a later message of the same
producer. *Unsure*: the put raised; so many of them came all the same. One run for each row, on one node
and with one disk: a zero says that it was not seen, and the rules above say what is promised. What a killed
broker had given to the operating system was kept: this is no failure of power.
"""


def section(rows: list[Row]) -> Iterator[str]:
    """The lines of the page."""
    yield HEAD.rstrip()
    for fault, words in FAULTS.items():
        yield ""
        yield f"**{words}**"
        yield ""
        yield "| system | setting | confirmed | lost | doubled | reordered | unsure |"
        yield "|---|---|--:|--:|--:|--:|--:|"
        for row in rows:
            if row.fault == fault:
                yield _line(row)


def _line(row: Row) -> str:
    counts = row.counts
    system = f'[{row.system}](../../{row.test.partition("::")[0]} "{row.test}")'
    unsure = f"{counts.unsure}, came {counts.came}" if counts.unsure else "0"
    numbers = f"{counts.confirmed:,} | {counts.lost:,} | {counts.doubled:,} | {counts.reordered:,}"
    return f"| {system} | {row.setting} | {numbers} | {unsure} |"


def picture(rows: list[Row]) -> Any:
    """The numbers as coloured squares, one column for each fault: a figure of matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    names = list(dict.fromkeys(f"{row.system}: {row.setting}" for row in rows))
    columns = ("lost", "doubled", "reordered")
    figure = Figure(figsize=(13, 2 + 0.34 * len(names)), layout="constrained")
    places = figure.subplots(1, len(FAULTS), sharey=True)
    for axes, (fault, words) in zip(places, FAULTS.items(), strict=True):
        for row in rows:
            if row.fault != fault:
                continue
            y = names.index(f"{row.system}: {row.setting}")
            for x, column in enumerate(columns):
                number = getattr(row.counts, column)
                colour = "#2a9d5c" if not number else "#d1495b" if column == "lost" else "#f4a261"
                axes.add_patch(Rectangle((x + 0.05, y + 0.05), 0.9, 0.9, color=colour, linewidth=0))
                axes.text(x + 0.5, y + 0.5, f"{number:,}", ha="center", va="center", fontsize=8)
        axes.set(xlim=(0, len(columns)), ylim=(len(names), 0))
        axes.set_title(words.replace(" and ", "\nand "), fontsize=9)
        axes.set_xticks([x + 0.5 for x in range(len(columns))], columns)
        axes.set_yticks([y + 0.5 for y in range(len(names))], names)
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
    return figure
