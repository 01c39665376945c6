"""All benchmarks, printed and drawn: `make bench` writes build/bench/index.html.

Each module's comparisons become one picture of bars, on a scale on which twice as long and half as
long are equally far from "as long"; the aim is a line. Growth becomes lines: time and memory by size.
Nothing of it is kept in the repository, since other machines give other numbers.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from benchmarks import core
from benchmarks.core import Line
from benchmarks.growers import DISK, MEMORY, NOWHERE
from benchmarks.growth import GREATER, MOST, MOST_ON_DISK, SLOWER, Point
from benchmarks.pictures import by_size, ratios
from eip_ref.lab.figures import Figure

FOLDER = Path("build/bench")
MODULES = {  # what each measures
    "core": "The laboratory and the message queue",
    "publish_subscribe": "Publish–subscribe",
    "request_reply": "Request–reply",
    "backpressure": "Backpressure",
    "circuit_breaker": "Circuit breaker",
    "breakers": "Circuit breakers of other libraries",
    "api_gateway": "API gateway",
    "durable_queue": "Durable queue",
    "event_sourcing": "Event sourcing",
    "cqrs": "CQRS",
    "saga": "Saga",
}


class Plot(NamedTuple):
    """A picture and the name of its file."""

    name: str
    figure: Figure


# Comparisons


def compared(module: str, disk: Path | None) -> list[Line]:
    """Run a module and return what it told. None of it when a library that it needs is missing."""
    print(f"\n{MODULES[module]}\n")
    try:
        main = import_module(f"benchmarks.{module}").main
        core.LINES.clear()
        with tempfile.TemporaryDirectory(dir=disk) as folder:
            main(*[Path(folder)] * len(inspect.signature(main).parameters))
    except ModuleNotFoundError as error:
        print(f"left out: {error}")
        return []
    return list(core.LINES)


# Growth


def growth(most: int, most_on_disk: int) -> list[Point]:
    """Measure in a process without matplotlib, whose memory would be counted to each child's."""
    print("\nGrowth\n")
    out = FOLDER / "growth.json"
    command = [sys.executable, "-m", "benchmarks.growth", "--out", str(out)]
    subprocess.run([*command, "--most", str(most), "--most-on-disk", str(most_on_disk)], check=True)
    return [Point(**row) for row in json.loads(out.read_text())]


def grown(points: Iterable[Point], kept: str) -> list[Plot]:
    """Time and memory of all that keeps its messages in the same place, by size."""
    found: dict[str, list[Point]] = {}
    for point in points:
        if point.kept == kept:
            found.setdefault(point.name, []).append(point)
    if not found:
        return []
    name = kept.replace(" ", "-")
    aim = f"flat, and at most {GREATER:g} ×" if kept != MEMORY else "the same for each message"
    time_ = by_size(
        f"Time for one message, where {kept}",
        f"By how many there are; the aim is at most {SLOWER:g} × that among the fewest",
        "microseconds",
        found,
        lambda point: point.seconds * 1e6,
        SLOWER,
    )
    memory = by_size(
        f"Memory of the whole process, where {kept}",
        f"By how many messages there are; the aim is {aim}",
        "megabytes",
        found,
        lambda point: point.memory / 1e6,
        GREATER if kept != MEMORY else math.inf,
    )
    return [Plot(f"growth-{name}-time", time_), Plot(f"growth-{name}-memory", memory)]


# The page

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Benchmarks</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 820px; margin: 2rem auto; padding: 0 1rem }}
  img {{ width: 100%; max-width: 773px; background: #fff; border: 1px solid #8886; border-radius: 6px;
        display: block; margin: 1rem 0 }}
</style>
<h1>Benchmarks</h1>
<p>Every bar compares two ways of doing the same thing, one after the other on the same machine, and
takes the best of several rounds. Bars to the left of "as long" are quicker. A hatched bar is beyond
the aim. Times are of this machine; ratios travel.</p>
{pictures}
</html>
"""


def page(plots: Sequence[Plot]) -> str:
    """All pictures, one below the other."""
    pictures = [f'<img src="{plot.name}.svg" alt="{escape(plot.figure.alt)}">' for plot in plots]
    return _PAGE.format(pictures="\n".join(pictures))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmarks and draw what they tell.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="these only; 'growth' is one, too")
    parser.add_argument("--most", type=int, default=MOST, metavar="N", help="messages, for growth")
    parser.add_argument("--most-on-disk", type=int, default=MOST_ON_DISK, metavar="N", help="for SQLite")
    parser.add_argument("--disk", type=Path, metavar="FOLDER", help="a folder on the disk to measure")
    options = parser.parse_args()
    chosen = options.modules or [*MODULES, "growth"]
    if unknown := set(chosen) - {*MODULES, "growth"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)} and growth")
    FOLDER.mkdir(parents=True, exist_ok=True)
    plots = []
    for module in chosen:
        if module == "growth":
            points = growth(options.most, options.most_on_disk)
            plots += [plot for kept in (NOWHERE, DISK, MEMORY) for plot in grown(points, kept)]
        elif lines := compared(module, options.disk):
            plots.append(Plot(module, ratios(MODULES[module], lines)))
    for plot in plots:
        plot.figure.save(FOLDER / f"{plot.name}.svg")
    index = FOLDER / "index.html"
    index.write_text(page(plots), encoding="utf-8")
    print(f"\nThe plots are in {index}")


if __name__ == "__main__":
    main()
