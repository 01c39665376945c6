"""A class, graded: from a folder of submissions to a folder of results, as `eip grade` does it.

Each notebook's marks are kept as soon as they are known, so a run that was interrupted goes on where
it stopped, and a later run grades only what changed: the notebook, the secret, the limits, or the
course itself.

The marks do not depend on who works on them: any executor of `concurrent.futures` will do, such as the
one that Dask's `Client.get_executor()` gives. The course must be installed where its workers are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from .. import registry
from ..isolation.isolated import all_missed
from ..isolation.sandbox import Isolation, best_isolation
from ..marks import Marks
from . import jobs, reports
from .class_record import ClassRecord, Graded, Run
from .gradebook import OtherColumns
from .jobs import Drawing, Job
from .layouts import Found, Submission, find_submissions
from .pictures import Pictures, missing
from .results import Results, course_digest, digest
from .roster import Roster, near
from .safe_files import NotRead, Problem, read
from .untrusted import file_names
from .workers import Lost, Pool, Workers

__all__ = ["UnknownLearner", "grade_class"]

BAR = "{desc} |{bar}| {n} of {total}, {elapsed} passed, about {remaining} left"
Step = Callable[[], object]  #: to be called when one more is done


def grade_class(
    folder: Path,
    out: Path,
    *,
    lesson: str = "",
    at_once: int = 0,
    secret_file: Path | None = None,
    again: bool = False,
    only: Collection[str] = (),
    roster: Path | None = None,
    deadline: datetime | None = None,
    executor: Executor | None = None,
    grade: Callable[[Job], str] | None = None,
    draw: Callable[[Drawing], str] | None = None,
) -> ClassRecord:
    """Grade all submissions in `folder`, write all results to `out`, and return what is in them.

    `lesson` is for notebooks that do not tell theirs. `at_once` is how many notebooks are graded at a
    time, by default as many as there are processors here; with an `executor` of yours the work is done
    there, so say how many workers it has. `again` grades also what did not change. `only` are learners who
    are graded again, whatever changed; what `out` says of all others stays. `roster` is a file as `Roster`
    reads it; what was handed in after `deadline` is marked. `grade` and `draw` do a job; on an `executor` of
    yours they keep the deadline of `jobs.seconds` themselves, as those do that are taken by default.

    Raises OSError when `folder` cannot be read or `out` not be written, ValueError when `folder` holds too
    much to be that of a class, `WeakSecret`, `BadRoster`,
    `OtherColumns`, `UnknownLearner`, and `UnknownExercise` for an unknown lesson. No submission makes it
    raise.
    """
    began, start = datetime.now().astimezone(), time.monotonic()
    known = Roster.read(roster) if roster else None
    found = find_submissions(
        folder,
        registry.outlines(),
        lesson=lesson and registry.lesson(lesson).module,
        leave_out=[out, roster] if roster else [out],
        roster=known,
        deadline=deadline,
    )
    results = Results(out)
    _refuse_strangers(only, found, results)
    secret, files, people = (
        results.secret(secret_file),
        file_names(found.learners),
        known.names if known else {},
    )
    here = None if executor else best_isolation()
    state = _State(found, results, secret, files, people, Pictures(results), here)
    with _workers(executor, at_once or _processors(), found) as workers:
        _grade(state, workers, grade or _in_time(jobs.grade, executor), again, only)
        _draw(state, workers, draw or _in_time(jobs.draw, executor))
    run = Run(f"{began:%Y-%m-%d %H:%M %Z}", time.monotonic() - start, state.graded, state.kept)
    book = replace(state.book(), run=run)
    reports.write(book, results, state.pictures, only)
    return book


class UnknownLearner(LookupError):
    """Nobody of this name is in the class."""


def _refuse_strangers(only: Collection[str], found: Found, results: Results) -> None:
    for name in only:
        if name not in found.learners:
            raise UnknownLearner(f"nobody in this class is called {name!r}{near(name, found.learners)}")
    if only and not results.has("gradebook.csv"):
        raise OtherColumns(f"there is no gradebook in {results.folder}; grade the whole class first")


def _processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_time(work: Callable[[Any], str], executor: Executor | None) -> Callable[[Any], str]:
    """The work, which keeps its deadline itself on somebody else's executor."""
    return work if executor is None else partial(jobs.in_time, work)


def _workers(executor: Executor | None, count: int, found: Found) -> AbstractContextManager[Workers]:
    if executor is not None:
        return Workers(executor, count)
    lessons = sorted({each.lesson for each in found.submissions})
    begin = partial(jobs.begin, lessons, best_isolation())
    return Pool(max(1, min(count, len(found.submissions))), begin, jobs.seconds)


@dataclass
class _State:
    """The knowledge of one run so far."""

    found: Found
    results: Results
    secret: bytes
    files: Mapping[str, str]  #: the name that each learner's files have
    people: Mapping[str, str]  #: the name that each learner has in the roster
    pictures: Pictures
    isolation: Isolation | None  #: of all answers; None: the best there is where they run
    known: dict[Submission, Graded] = field(default_factory=dict)
    undrawn: dict[str, tuple[str, Submission]] = field(default_factory=dict)  #: by picture: its exercise
    problems: list[Problem] = field(default_factory=list)
    graded: int = 0
    kept: int = 0

    def know(self, each: Submission, marks: Marks) -> None:
        """Remember the marks, and of their traces, which are large, only the names of their pictures."""
        names = {mark.exercise: self.pictures.name(mark.exercise, mark.trace) for mark in marks.marks}
        names = {exercise: name for exercise, name in names.items() if name}
        self.undrawn |= {
            name: (exercise, each) for exercise, name in names.items() if name not in self.pictures
        }
        light = replace(marks, marks=tuple(replace(mark, trace="") for mark in marks.marks))
        self.known[each] = Graded(each.learner, light, each.notes, each.late, names)

    def keep(self, each: Submission, marks: Marks) -> None:
        """Remember marks of an earlier run."""
        self.know(each, marks)
        self.problems += _unreadable(each, marks)
        self.kept += not self.known[each].lost

    def _not_drawn(self) -> Iterator[Problem]:
        for each in self.known.values():
            for exercise, name in each.pictures.items():
                if why := self.pictures.get(name).why:
                    yield Problem(f"{each.learner}, {exercise}", why, harmless=True)

    def book(self) -> ClassRecord:
        handed_in = map(registry.lesson, {each.lesson for each in self.found.submissions})
        return ClassRecord(
            lessons=tuple(sorted(handed_in, key=lambda lesson: lesson.label)),
            files=self.files,
            graded=tuple(self.known[each] for each in self.found.submissions if each in self.known),
            problems=(*self.found.problems, *self.problems, *self._not_drawn()),
            people=self.people,
            missing=self.found.missing,
        )


def _grade(
    state: _State, workers: Workers, grade: Callable[[Job], str], again: bool, only: Collection[str]
) -> None:
    """Grade what is not kept from before, and keep it."""
    digests: dict[Submission, str] = {}
    with _progress("Grading", len(state.found.submissions)) as step:
        for each, done in workers.run(grade, _jobs(state, digests, step, again, only)):
            if isinstance(done, Lost):
                state.problems.append(Problem(_place(each), f"could not be graded: {done.words}"))
                seen = f"The grader stopped over it: {done.words}."
                state.know(each, all_missed(registry.lesson(each.lesson), "not-graded", seen))
            else:
                marks = Marks.from_json(done)
                state.results.keep(state.files[each.learner], each.lesson, digests[each], marks)
                state.know(each, marks)
                state.problems += _unreadable(each, marks)
            state.graded += not state.known[each].lost
            step()


def _jobs(
    state: _State, digests: dict[Submission, str], step: Step, again: bool, only: Collection[str]
) -> Iterator[tuple[Submission, Job]]:
    """The jobs that are left to do, each read from disk when its turn comes.

    When all are handed out, what is needed for the reports is loaded.
    """
    for each in state.found.submissions:
        if only and each.learner not in only:
            with suppress(LookupError):
                state.keep(each, state.results.marks(state.files[each.learner], each.lesson))
            step()
            continue
        try:
            job = Job(read(each.path), each.lesson, state.secret, isolation=state.isolation)
        except NotRead as reason:
            state.problems.append(Problem(_place(each), str(reason)))
            state.know(each, all_missed(registry.lesson(each.lesson), "unreadable-notebook", str(reason)))
            step()
            continue
        digests[each] = _digest(job)
        kept = (
            None
            if again or only
            else state.results.kept(state.files[each.learner], each.lesson, digests[each])
        )
        if kept is None:
            yield each, job
            continue
        state.keep(each, kept)
        step()
    reports.load()  # now, while the workers work


def _digest(job: Job) -> str:
    """Of all that the marks of a notebook depend on. An executor's machines should be like this one."""
    return digest(job.data, job.secret, repr(job.limits), best_isolation().words, course_digest(job.lesson))


def _draw(state: _State, workers: Workers, draw: Callable[[Drawing], str]) -> None:
    """Draw each picture that is not drawn yet, once, whoever's trace it shows."""
    with _progress("Drawing", len(state.undrawn)) as step:
        for name, done in workers.run(draw, _drawings(state)):
            state.pictures.keep(name, missing(done.words) if isinstance(done, Lost) else done)
            step()


def _drawings(state: _State) -> Iterator[tuple[str, Drawing]]:
    for name, (exercise, each) in state.undrawn.items():
        marks = state.results.marks(state.files[each.learner], each.lesson)
        trace = next(mark.trace for mark in marks.marks if mark.exercise == exercise)
        yield name, Drawing(exercise, trace)


def _unreadable(each: Submission, marks: Marks) -> Iterator[Problem]:
    if {mark.mistake for mark in marks.marks} == {"unreadable-notebook"}:
        yield Problem(_place(each), marks.marks[0].seen)


def _place(each: Submission) -> str:
    return f"{each.learner}, {each.path.name}"


@contextmanager
def _progress(words: str, total: int) -> Iterator[Step]:
    """A bar on the terminal; none where nobody looks, or where nothing is to be done."""
    from tqdm import tqdm  # `eip check` does without

    hidden = None if total else True  # None: hidden where standard error is no terminal
    with tqdm(total=total, desc=words, bar_format=BAR, leave=False, disable=hidden) as bar:
        yield bar.update
