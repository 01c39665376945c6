"""The measured table: which system keeps which promise, as the last `make field` found it.

`load()` gives it to lessons; `python -m eip_ref.field.table` writes `docs/field/` from it.
"""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import values
from . import faults

if TYPE_CHECKING:
    from ..lab.figures import Figure

__all__ = ["Cell", "Found", "Table", "load", "page", "picture", "shown"]

STORED = Path(__file__).parent / "measured" / "promises.json"
PAGES = Path(__file__).parents[2] / "docs" / "field"

Found = str
COLOURS = {
    "kept": "#2a9d5c",
    "kept with a setting": "#8cc63f",
    "not kept": "#d1495b",
    "not applicable": "#d9d9d9",
}

MARKS = {"kept": "✓", "kept with a setting": "(✓)", "not kept": "✗", "not applicable": "–"}
"""In the picture too, for those who do not see its colours."""


ROOM = 5  #: systems in one table of words, so that nobody has to scroll sideways to read one
NOT_RUN = "not run"  #: in place of a cell that nothing has measured


class Cell(NamedTuple):
    """One system's verdict on one promise."""

    found: Found
    words: str  #: the setting, or what it does instead, or why it is not asked
    test: str  #: the test that proves it


class Table(NamedTuple):
    """All that was measured for one pattern, in the order in which it is shown."""

    pattern: str
    systems: Mapping[str, str]  #: label and version by id
    promises: Mapping[str, str]  #: the sentence by the name of its test
    cells: Mapping[tuple[str, str], Cell]  #: by system and promise; one that was never run has none


def load(path: Path = STORED) -> list[Table]:
    """The stored tables, one for each pattern."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [
        Table(pattern, each["systems"], each["promises"], _cells(each)) for pattern, each in stored.items()
    ]


def _cells(stored: dict[str, Any]) -> dict[tuple[str, str], Cell]:
    return {
        (system, promise): Cell(*cell)
        for system, column in stored["cells"].items()
        for promise, cell in column.items()
    }


def store(tables: list[Table], path: Path = STORED) -> None:
    """Write the tables, in a form in which two runs differ only where something has changed."""
    stored: dict[str, Any] = {}
    for table in tables:
        cells: dict[str, dict[str, Cell]] = {system: {} for system in table.systems}
        for (system, promise), cell in table.cells.items():
            cells[system][promise] = cell
        stored[table.pattern] = {"systems": table.systems, "promises": table.promises, "cells": cells}
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def words(promise: str) -> str:
    """The name of a test as a sentence."""
    said = promise.removeprefix("test_").replace("_", " ").capitalize()
    return said.replace("fifo", "FIFO").replace("json", "JSON")


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.pattern[0].upper()}{table.pattern[1:]}"
    yield ""
    yield f"![What is said below, as coloured squares]({picture_name(table)})"
    for systems in _side_by_side(list(table.systems)):
        yield ""
        yield f"| promise | {' | '.join(table.systems[system] for system in systems)} |"
        yield "|---" * (1 + len(systems)) + "|"
        for promise in table.promises:
            found = (_linked(table.cells.get((system, promise))) for system in systems)
            yield f"| {words(promise)} | {' | '.join(found)} |"
    for system, label in table.systems.items():
        yield ""
        yield f"**{label}**"
        yield ""
        for promise in table.promises:
            cell = table.cells.get((system, promise))
            if cell is not None and cell.words:
                yield f"- *{words(promise)}* is {cell.found}: {cell.words}."


def _side_by_side(systems: list[str]) -> Iterator[list[str]]:
    """As many of them as a page has room for beside the promises, and about as many each time."""
    times = math.ceil(len(systems) / ROOM)
    size = math.ceil(len(systems) / times)
    for first in range(0, len(systems), size):
        yield systems[first : first + size]


def _linked(cell: Cell | None) -> str:
    if cell is None:
        return NOT_RUN
    return f'[{cell.found}](../../{cell.test.partition("::")[0]} "{cell.test}")'


def picture_name(table: Table) -> str:
    return values.name("pattern", table.pattern).replace(" ", "-").replace("–", "-") + ".svg"


def picture(table: Table) -> Any:
    """The table as coloured squares, a figure of matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows, columns = list(table.promises), list(table.systems)
    figure = Figure(figsize=(6 + 0.55 * len(columns), 2.2 + 0.26 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for x, system in enumerate(columns):
        for y, promise in enumerate(rows):
            cell = table.cells.get((system, promise))
            if cell is None:
                axes.text(x + 0.5, y + 0.5, NOT_RUN, ha="center", va="center", fontsize=5)
            else:
                axes.add_patch(_square(x, y, COLOURS[cell.found]))
                axes.text(x + 0.5, y + 0.5, MARKS[cell.found], ha="center", va="center", fontsize=7)
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_xticks(
        [x + 0.5 for x in range(len(columns))], list(table.systems.values()), rotation=45, ha="left"
    )
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [words(promise) for promise in rows])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    legend = [Patch(color=colour, label=f"{MARKS[found]} {found}") for found, colour in COLOURS.items()]
    figure.legend(handles=legend, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def shown(pattern: str) -> Figure:
    """The table of one pattern for a notebook. Raises LookupError for one that was never measured."""
    from ..lab.figures import Figure

    known = {table.pattern: table for table in load()}
    if pattern not in known:
        raise LookupError(f"no table of {pattern!r} is stored; there are {', '.join(known)}")
    table = known[pattern]
    svg = _svg(picture(table))
    return Figure(svg[svg.index("<svg") :], "; ".join(_in_words(table)))


def _in_words(table: Table) -> Iterator[str]:
    for system, label in table.systems.items():
        found = Counter(cell.found for (of, _), cell in table.cells.items() if of == system)
        words = [f"{found[verdict]} {verdict}" for verdict in MARKS]
        if missing := len(table.promises) - found.total():
            words.append(f"{missing} {NOT_RUN}")
        yield f"{label}: {', '.join(words)}"


def _svg(figure: Any) -> str:
    """The picture, the same bytes in every process."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "field", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _square(x: int, y: int, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x + 0.05, y + 0.05), 0.9, 0.9, color=colour, linewidth=0)


HEAD = """\
# The same patterns on real systems

Each promise of a pattern was asked of each system by a test, in real time, on one node of it. `make field`
asks again, and writes these tables. A system was given the settings of a careful operator. *Kept with a
setting*: by such a setting, or by what the adapter adds; the words below a table say which, and where a test
can take it away, it proves that the promise is then broken. *Not applicable*: what the system has not, by
design. A cell leads to its test; where none of a column was ever run, it says *not run*.
[compose.yaml](compose.yaml) has the systems as containers; on its Kafka,
`eip app dashboard --kafka localhost:9092` runs the dashboard.

`make bench-field` compares the rate of each adapter with that of its client alone, and says beside it what
both promised in that run. Rates of different systems are not compared with each other: one has a message on
its disk where another has it in its memory.
"""


def page(tables: list[Table], runs: list[faults.Row]) -> str:
    """All tables, and the runs with a fault, as one page of Markdown."""
    lines = (line for table in tables for line in ("", *_section(table)))
    return HEAD + "\n".join([*lines, "", *faults.section(runs)]) + "\n"


def main() -> None:
    """Write the page and the pictures."""
    tables, runs = load(), faults.load()
    (PAGES / "README.md").write_text(page(tables, runs), encoding="utf-8")
    pictures = {picture_name(table): picture(table) for table in tables}
    for name, figure in {**pictures, "faults.svg": faults.picture(runs)}.items():
        (PAGES / name).write_text(_svg(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
