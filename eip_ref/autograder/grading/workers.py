"""Many jobs on an executor of `concurrent.futures`. A worker that dies takes no other job along.

*Left out:* a deadline for a job. A job must keep its own; grading does, for each exercise.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

from .. import registry

__all__ = ["Lost", "Pool", "Workers"]

Key = TypeVar("Key")
Job = TypeVar("Job")
Result = TypeVar("Result")
AHEAD = 2  #: jobs for each worker that are handed out and not done; more would only fill the memory


@dataclass(frozen=True)
class Lost:
    """A job that gave nothing, though it was tried a second time, alone."""

    words: str


class Workers:
    """Runs jobs on an executor, `count` of them at a time and some ahead."""

    def __init__(self, executor: Executor, count: int) -> None:
        self.executor, self.count = executor, count

    def run(
        self, work: Callable[[Job], Result], jobs: Iterable[tuple[Key, Job]]
    ) -> Iterator[tuple[Key, Result | Lost]]:
        """Yield what `work` gives for each job, by its key, in the order in which they are done.

        A job whose worker died is tried once more when all others are done, with nothing beside it.
        """
        waiting, running = iter(jobs), dict[Future[Result], tuple[Key, Job]]()
        again: list[tuple[Key, Job]] = []
        while True:
            for key, job in islice(waiting, self.count * AHEAD - len(running)):
                running[self._submit(work, job)] = key, job
            if not running:
                break
            done = wait(running, return_when=FIRST_COMPLETED).done
            for future in sorted(done, key=lambda future: future.exception() is not None):
                key, job = running.pop(future)
                error = future.exception()
                if error is None:
                    yield key, future.result()
                elif isinstance(error, Exception):
                    again.append((key, job))
                else:
                    raise error  # an interrupt is no fault of the job
        for key, job in again:
            yield key, self._alone(work, job)

    def _alone(self, work: Callable[[Job], Result], job: Job) -> Result | Lost:
        future = self._submit(work, job)
        error = future.exception()
        return future.result() if error is None else Lost(f"{type(error).__name__}: {error}")

    def _submit(self, work: Callable[[Job], Result], job: Job) -> Future[Result]:
        try:
            return self.executor.submit(work, job)
        except BrokenExecutor:
            self.renew()
            return self.executor.submit(work, job)

    def renew(self) -> None:
        """Replace an executor that broke. Somebody else's is not ours to replace."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Somebody else's executor is not ours to end."""


class Pool(Workers):
    """Runs jobs in processes of this machine, which know the lessons before the first job comes.

    A context: leaving it by an error, such as KeyboardInterrupt, ends the processes at once.
    """

    def __init__(self, count: int, lessons: Sequence[str]) -> None:
        self._lessons = lessons
        self._others = set(multiprocessing.active_children())
        super().__init__(self._made(count), count)

    def _made(self, count: int) -> Executor:
        spawn = multiprocessing.get_context("spawn")  # a fork would take threads and locks along
        return ProcessPoolExecutor(count, mp_context=spawn, initializer=_ready, initargs=(self._lessons,))

    def _submit(self, work: Callable[[Job], Result], job: Job) -> Future[Result]:
        with _interrupts_later():  # a process may begin here
            return super()._submit(work, job)

    def renew(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.executor = self._made(self.count)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self.executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Ctrl-C waits; in a process that begins meanwhile it waits until `_ready` runs there."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready(lessons: Sequence[str]) -> None:
    """A worker's first act: leave Ctrl-C to the one who handed out the jobs, and import the lessons."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    for name in lessons:
        with suppress(LookupError):
            registry.lesson(name)
