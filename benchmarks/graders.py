"""The grader beside nbgrader and otter-grader, as ratios within one run: `make bench-graders`.

A class that does not exist hands in lesson 02: right answers, wrong ones and stubs. Each grader gets
the same notebooks and runs the same scenarios, by the command that a teacher would type. They take
turns, and the fastest of several rounds counts, so that a busy machine slows all of them alike.

nbgrader has no parallel mode. otter's own one needs Docker, so two `otter run` go side by side here.
The peers run the seeds of the check. `eip grade` runs three more, hidden ones, each life of a participant
in a process of its own; it also draws the pictures and writes the pages.

Memory is what all processes of a command hold together at one moment, the highest of what was seen in the
first round. Pages that several processes share are shared out among them, where the system tells.

`--parts` chooses what is measured: `make bench-graders ARGS="--parts alone class"`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import nbclient
import nbformat
import psutil  # type: ignore[import-untyped]

from benchmarks.grader_commands import AT_ONCE, CHECK, LESSON, PEERS, ROOT, Eip, Nbgrader, Notebook, Otter
from tests.autograder.class_of import learners, mix_in_hostile, notebook_of
from tests.autograder.exercise_cases import kept_answers

PROMISE = 0.3  #: seconds in which a check in a notebook is to answer

Work = Callable[[], object]


# Measuring


@dataclass
class Cost:
    """What a piece of work took at its best: seconds, and the most bytes in all its processes."""

    seconds: float = float("inf")
    memory: int = 0

    def time(self, work: Work) -> None:
        """Do the work once more, and remember the better time."""
        start = time.perf_counter()
        work()
        self.seconds = min(self.seconds, time.perf_counter() - start)

    def weigh(self, work: Work) -> None:
        """Do the work and look all the while how much memory it takes, which costs a little time."""
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,))
        watch.start()
        try:
            self.time(work)
        finally:
            done.set()
            watch.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(0.2):
            self.memory = max(self.memory, sum(map(held, psutil.Process().children(recursive=True))))


def held(process: psutil.Process) -> int:
    """The bytes of a process in memory, with its part of the pages that it shares with others."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        return 1024 * sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    except OSError:  # it has ended, or this system does not tell; then shared pages count in each of them
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0


def in_turns(rounds: int, works: Mapping[str, Work]) -> dict[str, Cost]:
    """The cost of each work, done in turns, by its name; its memory in the first round."""
    costs = {name: Cost() for name in works}
    for number in range(rounds):
        for name, work in works.items():
            (costs[name].time if number else costs[name].weigh)(work)
    return costs


def table(title: str, costs: Mapping[str, Cost], count: int = 1) -> None:
    """Print what each took for each of `count` submissions, beside the first."""
    print(f"\n{title}")
    first = next(iter(costs.values()))
    for name, cost in costs.items():
        beside = "" if cost is first else f"{cost.seconds / first.seconds:6.2f} ×"
        print(f"  {name:<34}{cost.seconds / count:7.2f} s {beside:<9}{cost.memory / 1e6:7.0f} MB", flush=True)


# What is measured


def a_class(folder: Path, options: argparse.Namespace) -> None:
    """A class, by `eip grade` and beside it the peers."""
    count, notebooks = options.submissions, class_of(options.submissions)
    ours, nbgrader, otter = Eip(folder, notebooks), Nbgrader(folder, notebooks), Otter(folder, notebooks)
    works: dict[str, Work] = {
        f"eip grade, {AT_ONCE} at a time": ours.grade,
        "nbgrader autograde": nbgrader.grade,
        f"otter run, {AT_ONCE} at a time": otter.grade,
    }
    table(f"A class of {count}, for each submission", in_turns(options.rounds, works), count)
    for name, peer in (("nbgrader", nbgrader), ("otter", otter)):
        same = sum(peer.marks()[learner] == points for learner, points in ours.marks().items())
        print(f"  {name} gives {same} of {count} the points that eip gives")


def alone(folder: Path, options: argparse.Namespace) -> None:
    """One notebook, by the same."""
    notebooks = class_of(1)
    ours, nbgrader, otter = Eip(folder, notebooks), Nbgrader(folder, notebooks), Otter(folder, notebooks)
    works: dict[str, Work] = {
        "eip grade": ours.grade,
        "eip check": partial(ours.grade_one, *notebooks),
        "nbgrader autograde": nbgrader.grade,
        "otter run": otter.grade,
    }
    table("One notebook alone", in_turns(options.rounds, works))


def many(folder: Path, options: argparse.Namespace) -> None:
    """Many submissions by themselves, and with all the hostile ones of the tests among them."""
    notebooks = class_of(options.many)
    honest, mixed = Eip(folder / "honest", notebooks), Eip(folder / "mixed", notebooks)
    mix_in_hostile(mixed.submissions)
    more = sum(1 for _ in mixed.submissions.iterdir()) - len(notebooks)
    works: dict[str, Work] = {
        f"{len(notebooks)} submissions": honest.grade,
        f"the same and {more} hostile ones": mixed.grade,
    }
    table(f"Many submissions, all of them, {AT_ONCE} at a time", in_turns(1, works))
    before, after = honest.marks(), mixed.marks()
    same = sum(after[learner] == points for learner, points in before.items())
    print(f"  {same} of {len(before)} keep their points")


def class_of(count: int) -> dict[str, Notebook]:
    """The notebooks of so many learners."""
    return {learner.replace(" ", "-"): notebook_of(learner) for learner in learners(count)}


def checks(folder: Path, options: argparse.Namespace) -> None:
    """`check` in a real kernel: right answers, then wrong ones with their pictures; twice each."""
    cells = [nbformat.v4.new_code_cell(source) for source in checked()]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    client = nbclient.NotebookClient(notebook, timeout=120, extra_arguments=["--log-level=ERROR"])
    client.execute(env={**os.environ, "EIP_HOME": str(folder)})
    times = [seconds(cell) for cell in notebook.cells if CHECK.match(cell.source)]
    half = len(times) // 2
    print(f"\ncheck(...) in a kernel, beside the {PROMISE * 1000:.0f} ms that it may take")
    for name, found in (
        ("right answers, first call", times[:half:2]),
        ("right answers, second call", times[1:half:2]),
        ("wrong answers, first call", times[half::2]),
        ("wrong answers, second call", times[half + 1 :: 2]),
    ):
        print(f"  {name:<28} median {beside(statistics.median(found))}; slowest {beside(max(found))}")


def checked() -> Iterator[str]:
    """The imports; of each exercise the model answer and its check, twice; then the same of a wrong one."""
    stored = json.loads((ROOT / "solutions" / LESSON.notebook).read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in stored["cells"] if cell["cell_type"] == "code"]
    checks = [source for source in code if CHECK.match(source)]
    yield code[0]
    for check in checks:
        yield from (code[code.index(check) - 1], check, check)
    for exercise, check in zip(LESSON.exercises, checks, strict=True):
        wrong = next(
            kept for kept in kept_answers(LESSON.package) if kept.exercise == exercise and kept.mistake
        )
        yield from (wrong.source, check, check)


def seconds(cell: Notebook) -> float:
    """From the kernel's word that it begins to its word that it is done."""
    told = cell["metadata"]["execution"]
    begun, done = told["iopub.execute_input"], told["shell.execute_reply"]
    return (datetime.fromisoformat(done) - datetime.fromisoformat(begun)).total_seconds()


def beside(found: float) -> str:
    return f"{found * 1000:5.0f} ms, {found / PROMISE:4.2f} ×"


def versions(*names: str) -> str:
    """What is installed beside us."""
    code = (
        "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    )
    return subprocess.check_output([PEERS / "python", "-c", code, *names], text=True).strip()


PARTS = {"checks": checks, "alone": alone, "class": a_class, "many": many}


def main() -> None:
    parser = argparse.ArgumentParser(description="The grader beside its peers, as ratios within one run.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--submissions", type=int, default=40, metavar="N", help="of the class")
    parser.add_argument("--many", type=int, default=200, metavar="N", help="submissions without a peer")
    parser.add_argument("--rounds", type=int, default=2, metavar="N")
    options = parser.parse_args()
    if not (PEERS / "nbgrader").exists():
        raise SystemExit("The peers are not installed in build/peers: use `make bench-graders`.")
    print(f"{versions('nbgrader', 'otter-grader')}; {os.cpu_count()} processors, best of {options.rounds}")
    with tempfile.TemporaryDirectory(prefix="bench-graders-") as name:
        for part in options.parts:
            folder = Path(name) / part
            folder.mkdir()
            PARTS[part](folder, options)


if __name__ == "__main__":
    main()
