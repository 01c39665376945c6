"""Many jobs on any executor: a worker that dies takes no other job along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from eip_ref.autograder.grading.workers import Lost, Pool, Workers, in_a_child


def double_or_die(number: int) -> int:
    if number == 3:
        os._exit(1)
    return 2 * number


def divide(number: int) -> float:
    return 12 / number


def interrupt_oneself(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


def numbered(count: int) -> list[tuple[int, int]]:
    return [(number, number) for number in range(count)]


def test_every_job_is_done_once() -> None:
    """Also when there are many more than workers."""
    with ThreadPoolExecutor(2) as threads:
        assert dict(Workers(threads, 2).run(lambda n: 2 * n, numbered(50))) == {n: 2 * n for n in range(50)}


def test_a_job_that_kills_its_worker_costs_no_other_job() -> None:
    """It is tried a second time, alone, and then given up with a reason."""
    with Pool(2) as pool:
        done = dict(pool.run(double_or_die, numbered(8)))
    assert {key: value for key, value in done.items() if key != 3} == {n: 2 * n for n in range(8) if n != 3}
    assert isinstance(done[3], Lost)
    assert done[3].words == "its process ended"


def test_a_job_that_raises_costs_no_other_job() -> None:
    """The reason is what it raised."""
    with ThreadPoolExecutor(1) as threads:
        done = dict(Workers(threads, 1).run(divide, numbered(3)))
    assert done == {0: Lost("ZeroDivisionError: division by zero"), 1: 12.0, 2: 6.0}


def test_few_jobs_are_read_ahead() -> None:
    """A class does not wait in memory: no more jobs are taken than two for each worker."""
    taken: list[int] = []

    def jobs() -> Iterator[tuple[int, int]]:
        for number in range(20):
            taken.append(number)
            yield number, number

    with ThreadPoolExecutor(2) as threads:
        results = Workers(threads, 2).run(abs, jobs())
        next(results)
        assert len(taken) <= 5
        assert len(list(results)) == 19


def test_a_pool_leaves_the_interrupt_to_who_started_it() -> None:
    """Ctrl-C goes to all processes of a terminal; a worker finishes what it has."""
    with Pool(1) as pool:
        assert dict(pool.run(interrupt_oneself, numbered(2))) == {0: 0, 1: 1}


def test_an_interrupt_ends_the_pool_at_once() -> None:
    """What runs is not waited for."""
    with pytest.raises(KeyboardInterrupt):
        run_until_the_first_is_done()


def run_until_the_first_is_done() -> None:
    with Pool(1) as pool:
        for _ in pool.run(wait_for_ever_after_the_first, numbered(3)):
            raise KeyboardInterrupt


def wait_for_ever_after_the_first(number: int) -> int:
    if number:
        threading.Event().wait()
    return number


def hang(number: int) -> int:
    if number == 2:
        threading.Event().wait()
    return -number if number != 3 else int(9.0) ** 10**9  # one call of C, which hears of nothing


def test_a_job_that_hangs_is_ended_and_costs_no_other_job() -> None:
    """Whether it waits or computes; it is not tried again, since that would cost its time once more."""
    with Pool(2, seconds=lambda job: 3.0 if job in (2, 3) else 600.0) as pool:
        done = dict(pool.run(hang, numbered(6)))
    lost = Lost("it did not come back within 3 seconds, and was ended")
    assert done == {0: 0, 1: -1, 2: lost, 3: lost, 4: -4, 5: -5}


def hang_in_a_child(number: int) -> int:
    return in_a_child(hang, number, 3.0 if number == 2 else 600.0)


def test_on_somebody_elses_executor_a_job_keeps_its_deadline_itself() -> None:
    """Its worker is free again afterwards."""
    with ThreadPoolExecutor(1) as threads:
        done = dict(Workers(threads, 1).run(hang_in_a_child, [(n, n) for n in (1, 2, 4)]))
    assert done == {1: -1, 2: Lost("it did not come back within 3 seconds, and was ended"), 4: -4}


class Broken(Executor):
    """Somebody else's executor that has lost all its workers."""

    def submit(self, work: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        raise RuntimeError("no workers")


def test_an_executor_without_workers_gives_reasons() -> None:
    """And no endless retries."""
    assert dict(Workers(Broken(), 2).run(abs, numbered(2))) == {
        n: Lost("RuntimeError: no workers") for n in (0, 1)
    }


def test_a_worker_loads_no_lesson_but_its_own() -> None:
    """Others may load what draws, which takes a second and much memory."""
    source = (
        "import sys; from eip_ref.autograder import registry; registry.lesson('acks_and_leases'); "
        "from eip_ref.autograder.grading.lesson_detection import mentioned; "
        "mentioned(b'check(\"message_queue/mend_the_worker\")', registry.outlines()); "
        "print(*(name for name in sys.modules if name.startswith('eip_ref.course.')))"
    )
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert {name.split(".")[2] for name in ran.stdout.split()} == {"message_queue"}
