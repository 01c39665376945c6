"""How long a check lets a learner wait: the model answer of each exercise, as a script checks it.

Run it as `python -m benchmarks.checks` on a quiet machine. It prints each exercise with its starts of
processes, and the median of those that need up to ten beside the aim.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eip_ref.autograder import apart
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.registry import lessons
from tests.autograder.exercise_cases import model_source, whole_source

__all__ = ["main"]

FEW = 10  #: starts
AIM = 0.3  #: seconds for a check that needs few starts
TIMES = 3  #: that each is measured; the median counts


def main() -> None:
    """Measure, and print."""
    starts: list[object] = []
    start = Zygote.start

    def counted(zygote: Zygote, *args: Any) -> Any:
        starts.append(zygote)
        return start(zygote, *args)

    Zygote.start = counted  # type: ignore[assignment, method-assign]
    few = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EIP_HOME"] = folder
        for exercise in (each for lesson in lessons() for each in lesson.exercises):
            answer = _model(exercise, Path(folder))
            seconds, needed = [], 0
            for _ in range(TIMES):
                starts.clear()
                begun = time.perf_counter()
                verdict, remark = apart.judge(exercise, answer)
                seconds.append(time.perf_counter() - begun)
                needed = len(starts)
                assert verdict.passed, (exercise.name, verdict.seen)
                assert not remark, remark
            middle = statistics.median(seconds)
            few += [middle] if needed <= FEW else []
            print(f"{exercise.name:50} {needed:4} starts {middle:7.3f} s")
    print(
        f"{len(few)} with up to {FEW} starts: median {statistics.median(few):.3f} s, "
        f"longest {max(few):.3f} s; the aim is {AIM} s"
    )


def _model(exercise: Exercise, folder: Path) -> Any:
    """The model answer, as a module that was loaded from a file defines it."""
    path = folder / f"{exercise.name.replace('/', '_')}.py"
    path.write_text(whole_source(exercise, model_source(exercise)), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, exercise.answer)


if __name__ == "__main__":
    main()
