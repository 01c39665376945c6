"""`python -m tests.seeded [--seeds N] [PATTERN …]`: seeded fault runs on all cores.

Prints a line for each run and, for one that failed, its smallest failing seed, what was wrong and the
trace. Processes are renewed now and then: a crashed participant keeps its memory until its process ends.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial

from eip_ref.trace import Trace

from . import Failure, SeededRun, every_run, play

CHUNK = 100  #: seeds that a worker plays at a time
CHUNKS_PER_PROCESS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print, and return the exit code: 0 when nothing failed."""
    runs = every_run()
    parser = argparse.ArgumentParser(prog="python -m tests.seeded", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="seeds per run, from 0 (200)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (one per core)")
    parser.add_argument(
        "patterns", nargs="*", help=f"of {', '.join(sorted({_pattern(each) for each in runs}))}"
    )
    options = parser.parse_args(arguments)
    wanted = [name for name in runs if not options.patterns or _pattern(name) in options.patterns]
    failed = False
    for name, failure, seconds in _all(wanted, options.seeds, options.jobs):
        said = f"seed {failure.seed} failed" if failure else "no violation"
        print(f"{name:<45} {options.seeds:>6} seeds  {seconds:6.1f} s  {said}", flush=True)
        if failure:
            failed = True
            _show(runs[name], failure)
    return 1 if failed else 0


def _all(names: Sequence[str], seeds: int, jobs: int) -> Iterator[tuple[str, Failure | None, float]]:
    # Not a ProcessPoolExecutor: with renewed workers it stops for ever in some versions of Python.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=CHUNKS_PER_PROCESS) as pool:
        for name in names:
            began = time.perf_counter()
            chunks = [range(start, min(start + CHUNK, seeds)) for start in range(0, seeds, CHUNK)]
            found = [each for each in pool.imap(partial(play, name), chunks) if each]
            yield name, found[0] if found else None, time.perf_counter() - began


def _show(run: SeededRun, failure: Failure) -> None:
    print("\n".join(f"    {line}" for words in failure.words for line in words.splitlines()))
    try:
        trace: Trace | None = run.play(failure.seed)
    except Exception as error:
        trace = getattr(error, "trace", None)
    print(trace.table(len(trace)) if trace is not None else "    there is no trace")


def _pattern(name: str) -> str:
    return name.partition("/")[0]


if __name__ == "__main__":
    sys.exit(main())
