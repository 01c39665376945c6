"""From an answer to a verdict, in two halves that share nothing but JSON.

`run_answer` lets the answer work and always comes back with a trace as JSON, however the run ended: how
it ended is the last event of the trace. `judge_trace` reads that trace, never sees the answer, and says
what the verdict is. `judge_answer` puts both together over several seeds.

*Left out:* a limit on real time and memory. An answer that loops without ever awaiting hangs here
until it is interrupted.
"""

from __future__ import annotations

import gc
import inspect
import linecache
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..lab.clock import Deadlock, Runaway
from ..lab.crash import closing_the_dead
from ..trace import Event, Kind, Trace, TraceTooLong
from .exercise import OWN_LINE, Diagnosis, Ending, Exercise, Mistake, Vacuous
from .marks import Mark, PartMark
from .mistakes import ENDINGS, NEVER_AWAITED, PROVES_NOTHING
from .process.answer import Answer
from .process.wire import Budget, Ended

__all__ = ["NotJudged", "Verdict", "judge_answer", "judge_apart", "judge_trace", "run_answer", "run_apart"]

MAX_TRACE = 16 * 2**20  #: characters of a trace, written down
ENDING = "the run"  #: the `where` of the note that says how a run ended
FORGOTTEN = "forgotten"  #: in a note at the beginning: a call that the answer did not await

NO_PYTEST = "`pytest.raises` is not understood here: use `try`, `except` and `assert`."

UNJUDGED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What judging may raise for a trace that no run of the exercise can write."""


class NotJudged(Exception):
    """The judge cannot read what the run with this seed has left; the text says what it met."""

    def __init__(self, met: Exception, seed: int) -> None:
        super().__init__(f"The judge met {type(met).__name__}.")
        self.seed = seed


@dataclass(frozen=True)
class Verdict:
    """The judgement on one run of an answer."""

    exercise: Exercise
    passed: bool
    seed: int
    trace: Trace
    seen: str  #: what was seen, in words
    findings: tuple[Diagnosis, ...] = ()

    @property
    def parts(self) -> tuple[PartMark, ...]:
        """The marks of the exercise's parts, where it has some. A mistake of no part costs all of them."""
        made = {finding.mistake.name: finding for finding in self.findings}
        of_parts = {name for part in self.exercise.parts for name in part.mistakes}
        of_none = made.keys() - of_parts - {NEVER_AWAITED.name}  # which led to one of the others
        lost = (
            (part, [made[name] for name in part.mistakes if name in made]) for part in self.exercise.parts
        )
        return tuple(
            PartMark(
                part.title,
                0 if found or of_none else part.points,
                part.points,
                (found or self.findings)[0].mistake.title if found or of_none else "",
            )
            for part, found in lost
        )

    @property
    def points(self) -> int:
        """The points that it earns."""
        return self.exercise.points if self.passed else sum(part.points for part in self.parts)

    @property
    def mark(self) -> Mark:
        """The same as the mark of an answer, without its seed."""
        name, most, mistake = self.exercise.name, self.exercise.points, self.diagnosis
        if mistake is None:
            return Mark(name, most, most, parts=self.parts)
        said = (mistake.name, mistake.title, mistake.explanation, self.seen, self.trace.to_json())
        return Mark(name, self.points, most, *said, self.parts)

    def then(self, other: Verdict) -> Verdict:
        """Both as one: the first that failed, with what the other one found besides.

        An answer need not be run with more seeds when it has no points to lose.
        """
        if self.passed or other.passed:
            return other if self.passed else self
        known = {finding.mistake for finding in self.findings}
        more = (finding for finding in other.findings if finding.mistake not in known)
        return replace(self, findings=(*self.findings, *more))

    @property
    def diagnosis(self) -> Mistake | None:
        """The mistake that the first finding looks like, or None when it passed."""
        return self.findings[0].mistake if self.findings else None


def judge_answer(exercise: Exercise, answer: object, seeds: Iterable[int] | None = None) -> Verdict:
    """Run and judge `answer` with each seed until it has no points to lose, and return the verdict.

    Never raises for anything that the answer does, but for `KeyboardInterrupt`.
    """
    return _whole(
        judge_trace(exercise, run_answer(exercise, answer, seed), seed)
        for seed in (exercise.seeds if seeds is None else seeds)
    )


def judge_apart(
    exercise: Exercise,
    answer: Answer,
    seeds: Iterable[int],
    budget: Callable[[], Budget],
    clean: Callable[[str], str] = str,
) -> Verdict:
    """`judge_answer` for an answer that runs in processes of its own; each run has a new budget.

    `clean` is given each trace as JSON before it is judged. Raises `NotJudged`, and what `run_apart` raises.
    """
    return _whole(
        _judged(exercise, clean(run_apart(exercise, answer, seed, budget())), seed) for seed in seeds
    )


def _whole(verdicts: Iterable[Verdict]) -> Verdict:
    """All of them as one. No more are asked for when there are no points to lose."""
    whole: Verdict | None = None
    with _only_new_objects_collected():
        for verdict in verdicts:
            whole = whole.then(verdict) if whole else verdict
            if not whole.points:
                break
    assert whole, "an exercise has a seed"
    return whole


_frozen_by_others = False  #: not asked again when it is true: to count goes through all of them


@contextmanager
def _only_new_objects_collected() -> Iterator[None]:
    """Keep the garbage collector from all that was there before: runs make many objects, and it would look
    again and again through what a kernel has loaded.
    """
    global _frozen_by_others
    _frozen_by_others = _frozen_by_others or gc.get_freeze_count() > 0
    if _frozen_by_others:  # whose it is to end
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _judged(exercise: Exercise, text: str, seed: int) -> Verdict:
    try:
        return judge_trace(exercise, text, seed)
    except UNJUDGED as error:
        raise NotJudged(error, seed) from error


def run_answer(exercise: Exercise, answer: object, seed: int) -> str:
    """The trace of one run, as JSON. One that does not end by itself ends with a note that says how."""
    return run_stub(exercise, exercise.form.complaint(answer), answer, seed)


def run_stub(exercise: Exercise, complaint: str | None, answer: Any, seed: int) -> str:
    """`run_answer` for what stands in the place of an answer, and the complaint about the answer's form."""
    if complaint is not None:
        words = f"`{exercise.answer}` must be {exercise.form.words}. {complaint}"
        return _ended(Trace((), seed=seed), Ending.WRONG_FORM, words)
    try:
        return _written(exercise.run(answer, seed))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and the like are the answer's doing as well
        return _ended_by(error, answer, seed)


def run_apart(exercise: Exercise, answer: Answer, seed: int, budget: Budget) -> str:
    """`run_answer` for an answer that runs in processes of its own, within these bounds.

    Raises `Missing` when its cells do not define it, and `NotStarted` when a process was not to be had.
    """
    answer.begin(budget)
    with warnings.catch_warnings(), closing_the_dead():
        warnings.filterwarnings("ignore", "coroutine .* was never awaited")
        try:
            text = run_stub(exercise, answer.complaint(), answer.stub(), seed)
            return text if budget.forgotten is None else _with_forgotten(text, *budget.forgotten)
        except Ended as ending:  # before the run began
            return _ended(Trace((), seed=seed), ending.name, str(ending), ending.name)
        finally:
            answer.end()
            if budget.cut_off:
                gc.collect()  # here nobody is warned of tasks that had not begun


def judge_trace(exercise: Exercise, text: str, seed: int) -> Verdict:
    """Judge a trace from its JSON. Pure: the same text gives the same verdict.

    Raises ValueError when the text is no trace.
    """
    trace = Trace.from_json(text)
    forgotten = str(trace[0].data.get(FORGOTTEN, "")) if trace and trace[0].where == ENDING else ""
    trace = trace[1:] if forgotten else trace
    if trace and _is_ending(trace[-1]):
        findings = [_diagnose_ending(exercise, trace[-1])]
        trace = trace[:-1]
    else:
        try:
            findings = exercise.judge(trace)
        except Vacuous as nothing:
            findings = [Diagnosis(PROVES_NOTHING, f"This run proves nothing: {nothing}")]
    if findings and forgotten:
        findings = [Diagnosis(NEVER_AWAITED, forgotten, findings[0].events), *findings]
    if findings:
        return Verdict(exercise, False, seed, trace, findings[0].words, tuple(findings))
    return Verdict(exercise, True, seed, trace, "All that was promised.")


def _is_ending(event: Event) -> bool:
    return event.kind == Kind.NOTE and event.where == ENDING and event.data.get("ended") in ENDINGS


def _diagnose_ending(exercise: Exercise, event: Event) -> Diagnosis:
    ended, error = event.data["ended"], event.data.get("error", "")
    mistake = exercise.endings.get(error) or exercise.endings.get(ended) or ENDINGS[ended]
    return Diagnosis(mistake, str(event.data["text"]))


def _ended(trace: Trace, ended: str, words: str, error: str = "") -> str:
    data = {"ended": ended, "text": words, "error": error}
    note = Event(trace.end, "note", ENDING, "", "", data)
    return Trace([*_storable(trace), note], seed=trace.seed).to_json()


def _with_forgotten(text: str, line: int, words: str) -> str:
    """The trace with a note at its beginning of what was called and never awaited."""
    told = f"Line {line} of your cell does not wait for what it calls:\n    {words}"
    told = told if line else f"`{words}` was called, and nobody waited for it."
    trace = Trace.from_json(text)
    note = Event(0.0, "note", ENDING, "", "", {FORGOTTEN: told})
    return Trace([note, *trace], seed=trace.seed).to_json()


def _written(trace: Trace) -> str:
    """The trace as JSON. Raises `Ended` when it is too long to be kept, and TypeError for other data."""
    try:
        return trace.to_json(MAX_TRACE)
    except TraceTooLong as why:
        raise Ended("too-much", _sentence(why) + ".") from None


def _storable(trace: Trace) -> Iterable[Event]:
    """The first events of a trace that can be kept, without those that cannot be written as JSON."""
    size = 0
    for event in trace:
        try:
            size += len(Trace([event]).to_json())
        except (TypeError, ValueError):
            continue
        if size > MAX_TRACE:
            return
        yield event


def _ended_by(error: BaseException, answer: object, seed: int) -> str:
    partial = getattr(error, "trace", None)
    trace = Trace(partial.events if isinstance(partial, Trace) else (), seed=seed)
    leaves = list(_leaves(error))
    cause = next((leaf for leaf in leaves if isinstance(leaf, NotImplementedError)), leaves[0])
    name = type(cause).__name__
    ended = next((leaf for leaf in leaves if isinstance(leaf, Ended)), None)
    if ended is not None:
        return _ended(trace, ended.name, str(ended), ended.name)
    if isinstance(cause, NotImplementedError):
        return _ended(trace, Ending.NOT_STARTED, "The answer raises NotImplementedError.", name)
    if isinstance(cause, Deadlock):
        return _ended(trace, Ending.DEADLOCK, _sentence(cause), name)
    if isinstance(cause, Runaway | TraceTooLong):
        return _ended(trace, Ending.RUNAWAY, _sentence(cause), name)
    return _ended(trace, Ending.RAISED, _raised(cause, answer), name)


def _leaves(error: BaseException) -> Iterable[BaseException]:
    """The errors themselves, taken out of the groups that task groups put them in."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _raised(error: BaseException, answer: object) -> str:
    """The error in words, with the line of the learner's own code that it left last."""
    said = f": {error}" if str(error) else ""
    what = f"{type(error).__name__}{said}"
    line = _own_line(error, answer)
    of_pytest = any(kind.__name__ == "OutcomeException" for kind in type(error).__mro__)
    advice = f"\n{NO_PYTEST}" if of_pytest else ""
    if line is None:
        return f"The run ended with {what}{advice}"
    number, code = line
    return f"Line {number} of your cell raised {what}\n    {code}{advice}"


def _own_line(error: BaseException, answer: object) -> tuple[int, str] | None:
    told: tuple[int, str] | None = getattr(error, OWN_LINE, None)
    if told is not None:
        return told
    module = _module(answer)
    own = [
        (number, frame.f_code.co_filename)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") == module
    ]
    if not own:
        return None
    number, filename = own[-1]
    return number, linecache.getline(filename, number).strip()


def _module(answer: Any) -> str:
    if inspect.isroutine(answer) or inspect.isclass(answer):
        return answer.__module__ or ""
    return _module(answer.func) if hasattr(answer, "func") else type(answer).__module__


def _sentence(error: BaseException) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
