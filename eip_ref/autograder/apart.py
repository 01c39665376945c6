"""A check's runs: in processes of their own, as grading runs them.

The process that starts them is kept from one check to the next. In a notebook it is started ahead; it ends
with the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from threading import Event

from ..trace import Trace
from .exercise import Diagnosis, Exercise
from .isolation.isolated import not_found
from .isolation.sandbox import LIMITS, Isolation
from .isolation.starter import SandboxFailed, Starter
from .judging import NotJudged, Verdict, judge_answer, judge_apart
from .mistakes import WITHOUT_A_RUN
from .own_cells import CALLED, Unknown, cells_of
from .process.answer import Answer, Missing
from .process.start import NotStarted
from .process.wire import Budget

__all__ = ["HERE", "judge", "warm_up"]

HERE = Isolation("as this process", strong=False)  #: the answer is one's own
PLAYED = (
    "The answer ran in this process, because {why}. So a crash was only played, and grading, which runs it "
    "in a process of its own, may see more."
)
OTHER_NAME = "Grading looks for `{wanted}`, and this is `{name}`: give it that name."


def judge(exercise: Exercise, answer: object) -> tuple[Verdict, str]:
    """The verdict on an answer that this kernel or script has defined, and a remark on it, or "".

    It runs with each seed until it has no points to lose. A KeyboardInterrupt ends it at once.
    """
    if exercise.form.complaint(answer) is not None:  # then nothing of it runs
        return judge_answer(exercise, answer), ""
    try:
        name, cells = cells_of(exercise, answer)
        with closing(Starter(None, HERE)) as starter:
            apart = Answer(exercise, cells, starter.zygote())
            verdict = _interruptibly(lambda stopped: _judged(exercise, apart, stopped))
    except (Unknown, SandboxFailed, NotStarted, OSError) as why:
        return judge_answer(exercise, answer), PLAYED.format(why=_reason(why))
    return verdict, "" if name == exercise.answer else OTHER_NAME.format(wanted=exercise.answer, name=name)


def warm_up() -> None:
    """Begin to start what starts the processes, unless it is there, and do not wait for it."""
    with suppress(SandboxFailed, OSError):  # the check will say so
        Starter(None, HERE).begin()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Unknown) else "no process for it could be started here"


def _interruptibly(work: Callable[[Callable[[], bool]], Verdict]) -> Verdict:
    """Do it in a thread, where no loop runs, and have it stop when this thread is interrupted."""
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            return pool.submit(copy_context().run, work, stop.is_set).result()
        except BaseException:
            stop.set()
            raise


def _judged(exercise: Exercise, answer: Answer, stopped: Callable[[], bool]) -> Verdict:
    def budget() -> Budget:
        return Budget(LIMITS.wall, size=LIMITS.output, silence=LIMITS.silence, stopped=stopped)

    try:
        return judge_apart(exercise, answer, exercise.seeds, budget)
    except Missing as missing:
        problems = [each for each in missing.problems if each.file != CALLED]
        return _failed(exercise, exercise.seeds[0], *not_found(exercise, problems[-1:]))
    except NotJudged as why:
        return _failed(exercise, why.seed, "not-judged", str(why))


def _failed(exercise: Exercise, seed: int, name: str, seen: str) -> Verdict:
    return Verdict(exercise, False, seed, Trace((), seed=seed), seen, (Diagnosis(WITHOUT_A_RUN[name], seen),))
