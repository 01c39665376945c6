"""How each pattern grows with the number of messages: `python -m benchmarks.growth --most 1000000`.

Each size runs in a fresh process, so that its peak memory is its own. Time is the processor's for one
message, the best of several rounds; nothing here waits for a disk. Memory is the most that the whole
process held, Python and imports included.
The aims: a message takes at most 1.5 times as long among many as among a thousand; what keeps no
messages needs no more memory for more of them, and what keeps them needs the same for each.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio

from benchmarks.growers import DISK, GROWERS, MEMORY, SMALLEST, Grower, Stopwatch

MOST, MOST_ON_DISK = 100_000, 100_000
SLOWER = 1.5  #: times as long as among the fewest, at most
GREATER = 1.3  #: times as much memory, at most, where nothing is kept in it


# Measuring


@dataclass(frozen=True)
class Point:
    """What one grower took at one size."""

    name: str
    kept: str
    count: int
    seconds: float  #: for one message
    memory: int  #: bytes, the most of the whole process


def peak() -> int:
    """The most bytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measured(grower: Grower, count: int) -> Point:
    """Do the work in this process, several times if it is short."""
    seconds = math.inf
    for _ in range(max(1, min(5, 200_000 // count))):
        gc.collect()
        with tempfile.TemporaryDirectory() as folder:
            watch = Stopwatch()
            anyio.run(grower.work, count, Path(folder), watch)
        seconds = min(seconds, watch.seconds)
    return Point(grower.name, grower.kept, count, seconds / count, peak())


def in_a_process(grower: Grower, count: int) -> Point:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--one", grower.name, str(count)]
    return Point(**json.loads(subprocess.check_output(command, text=True)))


def sizes(most: int) -> list[int]:
    """From the smallest, by factors of ten."""
    return [SMALLEST * 10**power for power in range(10) if SMALLEST * 10**power <= most]


def grown(grower: Grower, most: int, most_on_disk: int) -> list[Point]:
    """The grower at every size, told as it is measured."""
    points: list[Point] = []
    for count in sizes(min(most, most_on_disk) if grower.kept == DISK else most):
        points.append(in_a_process(grower, count))
        tell(points)
    return points


# Telling


def tell(points: list[Point]) -> None:
    """Print the last point beside the first."""
    first, last = points[0], points[-1]
    took = f"{last.seconds * 1e6:8.2f} µs {last.seconds / first.seconds:5.2f} ×"
    held = f"{last.memory / 1e6:8.1f} MB {last.memory / first.memory:5.2f} ×"
    print(f"{last.name if last is first else '':<34}{last.count:>9,} {took} {held}", flush=True)


def verdict(points: list[Point]) -> str:
    """Whether the growth is as it should be, in words."""
    first, last = points[0], points[-1]
    slower = max(point.seconds for point in points) / first.seconds
    time_ = f"{slower:.2f} × the time"
    time_ += "" if slower <= SLOWER else f", more than {SLOWER} ×"
    if last.kept == MEMORY:
        each = (last.memory - first.memory) / max(1, last.count - first.count)
        return f"{time_}; keeps {each:,.0f} bytes for each"
    greater = last.memory / first.memory
    return f"{time_}; {greater:.2f} × the memory" + ("" if greater <= GREATER else f", more than {GREATER} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of each pattern at growing sizes.")
    parser.add_argument("--most", type=int, default=MOST, metavar="N", help="messages, at most")
    parser.add_argument("--most-on-disk", type=int, default=MOST_ON_DISK, metavar="N", help="for SQLite")
    parser.add_argument("--only", default="", metavar="WORDS", help="what has these words in its name")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers to this JSON file, too")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        named = {grower.name: grower for grower in GROWERS}
        print(json.dumps(asdict(measured(named[options.one[0]], int(options.one[1])))))
        return
    found = [
        grown(grower, options.most, options.most_on_disk) for grower in GROWERS if options.only in grower.name
    ]
    print("\nAmong the most messages, beside the fewest")
    for points in found:
        print(f"{points[0].name:<34}{verdict(points)}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps([asdict(point) for points in found for point in points]))


if __name__ == "__main__":
    main()
