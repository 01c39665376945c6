"""Many jobs on an executor of `concurrent.futures`. A worker that dies or hangs takes no other job along.

A job has a deadline: it runs in a child process that the kernel ends then, whatever it does. `Pool` has
such children on this machine. Somebody else's executor is not ours to end, so a job that goes there keeps
its deadline itself: it runs by `in_a_child`, in a child of the worker.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, Self, TypeVar

from .. import registry
from ..isolation.starter import SandboxFailed

__all__ = ["Failed", "Lost", "OutOfTime", "Pool", "Workers", "in_a_child", "nothing", "serve"]

Key = TypeVar("Key")
Job = TypeVar("Job")
Result = TypeVar("Result")
AHEAD = 2  #: jobs for each worker that are handed out and not done; more would only fill the memory
SERVE = f"from {__name__} import serve; serve()"


class Failed(Exception):
    """A job raised an error, or ended its process."""


class OutOfTime(Failed):
    """A job did not come back in its time."""


@dataclass(frozen=True)
class Lost:
    """A job that gave nothing: it ran out of time, or failed also when it was tried again, alone."""

    words: str


class Workers:
    """Runs jobs on an executor, `count` of them at a time and some ahead."""

    def __init__(self, executor: Executor, count: int) -> None:
        self.executor, self.count = executor, count

    def run(
        self, work: Callable[[Job], Result], jobs: Iterable[tuple[Key, Job]]
    ) -> Iterator[tuple[Key, Result | Lost]]:
        """Yield what `work` gives for each job, by its key, in the order in which they are done.

        A job that failed is tried once more when all others are done, with nothing beside it; one that ran
        out of time is not.
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
                elif isinstance(error, OutOfTime):
                    yield key, Lost(str(error))
                elif isinstance(error, Exception):
                    again.append((key, job))
                else:
                    raise error  # an interrupt is no fault of the job
        for key, job in again:
            future = self._submit(work, job)
            error = future.exception()
            yield key, future.result() if error is None else Lost(_words(error))

    def _submit(self, work: Callable[[Job], Result], job: Job) -> Future[Result]:
        try:
            return self._handed_out(work, job)
        except Exception as error:  # an executor that is broken
            broken: Future[Result] = Future()
            broken.set_exception(error)
            return broken

    def _handed_out(self, work: Callable[[Job], Result], job: Job) -> Future[Result]:
        return self.executor.submit(work, job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Somebody else's executor is not ours to end."""


def nothing() -> None:
    """Begin a child that needs nothing before its first job."""


class Pool(Workers):
    """Runs jobs in processes of this machine. Each calls `begin` before its first job.

    `seconds` is the time of a job. A context: leaving it ends the processes at once.
    """

    def __init__(
        self,
        count: int,
        begin: Callable[[], object] = nothing,
        seconds: Callable[[Any], float] = lambda job: 600.0,
    ) -> None:
        super().__init__(ThreadPoolExecutor(count), count)
        self._children, self._seconds = _Children(begin), seconds

    def _handed_out(self, work: Callable[[Job], Result], job: Job) -> Future[Result]:
        return self.executor.submit(self._children.run, work, job, self._seconds(job))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        self._children.end()
        self.executor.shutdown()
        self._children.close()


def in_a_child(work: Callable[[Job], Result], job: Job, seconds: float) -> Result:
    """Do a job in a child of this process, which is ended when it does not come back in its time.

    Raises `OutOfTime` then, and `Failed` when the job does not give a result. The child is kept for later
    jobs of this process.
    """
    return _here.run(work, job, seconds)


class _Children:
    """Processes that wait for jobs, one job each at a time."""

    def __init__(self, begin: Callable[[], object] = nothing) -> None:
        self._begin = begin
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(self, work: Callable[[Job], Result], job: Job, seconds: float) -> Result:
        with self._lock:
            if self._ended:
                raise Failed("no jobs are taken any more")
            child = self._idle.pop() if self._idle else _Child(self._begin)
            self._all.add(child)
        passed, said = child.ask(work, job, seconds)
        with self._lock:
            if child.alive:
                self._idle.append(child)
            else:
                self._all.discard(child)
                child.close()
        if not passed:
            raise said
        return said  # type: ignore[no-any-return]

    def end(self) -> None:
        """Kill all of them; a job that runs fails."""
        with self._lock:
            self._ended = True
            for child in self._all:
                child.end()

    def close(self) -> None:
        """Wait for the end of all, when no job runs any more."""
        self.end()
        while self._all:
            self._all.pop().close()


class _Child:
    """A process of a session of its own, so that Ctrl-C is left to who handed out the jobs."""

    def __init__(self, begin: Callable[[], object]) -> None:
        self._talk, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            )
        self.alive = True
        with suppress(OSError):  # it has ended, as its first job will find out
            self._talk.send(begin)

    def ask(self, work: Callable[[Any], Any], job: object, seconds: float) -> tuple[bool, Any]:
        """The result of the work, or the error to raise."""
        try:
            self._talk.send((work, job, seconds))
            passed, said = self._talk.recv()
            return passed, said if passed else Failed(said)
        except (EOFError, OSError):
            self.end()
            if self._process.wait() == -signal.SIGALRM:
                return False, OutOfTime(f"it did not come back within {seconds:g} seconds, and was ended")
            return False, Failed("its process ended")

    def end(self) -> None:
        """Kill it, with all that it started."""
        self.alive = False
        if self._process.poll() is None or self._process.returncode < 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self._talk.close()
        self._process.wait()


_here = _Children()
atexit.register(_here.close)


def serve() -> None:
    """The life of a child: do each job that comes, and be ended by an alarm in one that takes too long."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    talk = Connection(int(sys.argv[1]))
    with suppress(EOFError):  # who handed out the jobs has ended
        talk.recv()()
        gc.freeze()  # what is here stays: no need to look at it again and again
        while True:
            work, job, seconds = talk.recv()
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                said = True, work(job)
            except Exception as error:
                said = False, _words(error)
            signal.setitimer(signal.ITIMER_REAL, 0)
            talk.send(said)


def _words(error: BaseException) -> str:
    told = isinstance(error, Failed | SandboxFailed | registry.UnknownExercise)
    return str(error) if told else f"{type(error).__name__}: {error}"
