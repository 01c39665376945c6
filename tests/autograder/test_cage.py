"""The cage around an answer's process: nothing lives over its end, and no neighbour feels it.

Each test runs in every mode that this machine has.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from eip_ref.autograder.isolation import sandbox
from eip_ref.autograder.isolation.isolated import grade_notebook
from eip_ref.autograder.isolation.sandbox import (
    PACKAGE,
    PYTHON,
    Isolation,
    best_isolation,
    environment,
    weak_isolation,
)
from eip_ref.autograder.isolation.starter import SandboxFailed, Starter
from eip_ref.autograder.judging import judge_trace
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.process.wire import Budget, Ended
from eip_ref.autograder.registry import find, lesson_of

from .apart import LIMITS_ALONE, PATIENT, trace
from .class_of import notebook_of
from .exercise_cases import model_source, whole_source

EXERCISE = find("message_queue/order_per_key")
COMMANDS: dict[str, tuple[str, ...]] = {"limits": (*PYTHON, "-c", LIMITS_ALONE)}
if "each process in namespaces" in weak_isolation().words:
    COMMANDS["namespaces"] = PYTHON
if best_isolation().strong:
    COMMANDS["bubblewrap"] = (*best_isolation().before, *PYTHON)
CAGED = [mode for mode in COMMANDS if mode != "limits"]
STAYS = "\nasync def answer(): pass\n"  #: at the end of a cell: its process goes on


class Bench:
    """Two processes that start others, side by side, in one mode."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.starters = [
            Zygote(COMMANDS[mode], environment(tempfile.gettempdir()), ["eip_ref.course.message_queue"])
            for _ in range(2)
        ]
        self._first: set[int] = set()
        self.say("")
        self._first = self.alive()

    def live(self, source: str, at: int = 0, memory: int = 2**30) -> tuple[str, Callable[[], None]]:
        """Begin a life: what it says about its cells, and what ends it."""
        budget = Budget(PATIENT, memory=memory)
        budget.begin(self.starters[at].holds_more)
        wire, kill = self.starters[at].start(budget)
        wire.send(["cells", [["<cell 1>", source]], "answer", "async def answer()", None])

        def end() -> None:
            kill()
            wire.close()

        try:
            return str(wire.receive()), end
        except Ended as ended:
            end()
            return str(ended), end

    def say(self, source: str, at: int = 0) -> str:
        """A whole life: what it says of itself, by an error."""
        said, end = self.live(source, at)
        end()
        return said

    def settle(self) -> None:
        """Wait for the ends of lives: the starter does one thing after the other, and starts one ahead."""
        for _ in range(3):
            self.say("")

    def alive(self) -> set[int]:
        """The numbers of the processes of learners that live."""
        found = psutil.Process(self.starters[0]._process.pid).children(recursive=True)
        return {each.pid for each in found if _lives(each)} - self._first


def _lives(process: psutil.Process) -> bool:
    """False for one that has ended since it was found."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module", params=COMMANDS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    with made.starters[0], made.starters[1]:
        yield made


@pytest.fixture
def caged(bench: Bench) -> Bench:
    if bench.mode not in CAGED:
        pytest.skip("this mode does not promise it, and every report says so")
    return bench


def tell(expression: str) -> str:
    """A line of a cell that says what an expression is."""
    return f"\nraise ValueError(repr({expression}))\n"


KEEP = {
    "a file in /tmp": ("open('/tmp/kept', 'w').write('1')", "__import__('os').path.exists('/tmp/kept')"),
    "a file in /dev/shm": (
        "open('/dev/shm/kept', 'w').write('1')",
        "__import__('os').path.exists('/dev/shm/kept')",
    ),
    "a file at home": (
        "import os; open(os.path.expanduser('~/kept'), 'w').write('1')",
        "__import__('os').path.exists(__import__('os').path.expanduser('~/kept'))",
    ),
    "an abstract socket": (
        "import socket; kept = socket.socket(socket.AF_UNIX); kept.bind(b'\\0kept'); kept.listen()",
        "__import__('socket').socket(__import__('socket').AF_UNIX).connect_ex(b'\\0kept') == 0",
    ),
    "shared memory": (
        "import ctypes; assert ctypes.CDLL(None).shmget(4711, 4096, 0o1666) >= 0",
        "__import__('ctypes').CDLL(None).shmget(4711, 4096, 0) >= 0",
    ),
    "a module": ("import json; json.kept = 1", "hasattr(__import__('json'), 'kept')"),
    "the environment": ("import os; os.environ['KEPT'] = '1'", "'KEPT' in __import__('os').environ"),
}


@pytest.mark.parametrize("way", KEEP)
def test_nothing_is_kept_over_a_death_or_between_two_lives(caged: Bench, way: str) -> None:
    keep, look = KEEP[way]
    assert "True" in caged.say(f"{keep}{tell(look)}"), "the way works within one life"
    said, end = caged.live(f"{keep}{STAYS}")
    assert "ready" in said
    assert "ValueError" in (between := caged.say(tell(look)))
    assert "True" not in between
    end()
    assert "True" not in caged.say(tell(look))


def test_module_memory_dies_in_every_mode(bench: Bench) -> None:
    keep, look = KEEP["a module"]
    assert "True" in bench.say(f"{keep}{tell(look)}")
    assert "False" in bench.say(tell(look))


LEFT_BEHIND = """
import os, signal, time
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            time.sleep(1000)
        time.sleep(1000 if number else 0)
        os._exit(0)
"""


def test_what_a_life_started_ends_with_it(bench: Bench) -> None:
    said, end = bench.live(LEFT_BEHIND + STAYS)
    assert "ready" in said
    assert bench.alive()
    before = bench.alive()
    end()
    bench.settle()
    assert not before & bench.alive()


CROWD = """
import threading, time
count = 0
try:
    while count < 200:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        count += 1
except RuntimeError:
    pass
async def answer(): pass
answer.__name__ = f"n{count}"
"""


def test_a_crowd_of_threads_takes_nothing_from_a_neighbour(caged: Bench) -> None:
    crowds = [caged.live(CROWD, at) for at in (0, 1)]
    for said, _ in crowds:
        assert "'n63'" in said
    for _, end in crowds:
        end()


def test_a_process_without_end_of_memory_is_told_so(bench: Bench) -> None:
    assert "MemoryError" in bench.say("kept = []\nwhile True: kept.append(bytearray(2**24))")


CHILDREN = """
import os, time
kept = bytearray(MANY * 2**20)
for _ in range(8):
    if os.fork() == 0:
        own = bytearray(2**24)
        time.sleep(1000)
EACH
"""


def test_memory_is_bounded_for_all_processes_of_a_life_together(bench: Bench) -> None:
    """Here by 200 MiB. Eight children have 16 MiB each; the pages of their parent count once."""
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not tell what processes hold")
    waits, works = "time.sleep(1000)", "time.sleep(0.5)" + STAYS
    within, beyond = (CHILDREN.replace("MANY", str(many)) for many in (20, 100))
    said, _ = bench.live(beyond.replace("EACH", waits), memory=200 * 2**20)
    assert "more than 200 MiB of memory" in said
    bench.starters[0].await_memory(100 * 2**20)
    said, end = bench.live(within.replace("EACH", works), memory=200 * 2**20)
    assert "ready" in said
    end()


def test_pages_that_no_process_holds_are_few(caged: Bench) -> None:
    """Shared memory stays when who made it has let it go."""
    if os.geteuid() != 0:
        pytest.skip("only root may bound it")
    source = "import ctypes\nmade = [ctypes.CDLL(None).shmget(n, 2**20, 0o1666) for n in range(1, 40)]"
    assert "True" in caged.say(source + tell("-1 in made"))


def test_a_process_that_ignores_signals_is_ended(bench: Bench) -> None:
    ignores = (
        "import signal\nfor each in range(1, 32):\n"
        " try: signal.signal(each, signal.SIG_IGN)\n except OSError: pass\n"
    )
    said, end = bench.live(ignores + STAYS)
    assert "ready" in said
    before = bench.alive()
    end()
    bench.settle()
    assert not before & bench.alive()


def test_the_first_process_of_a_space_does_not_end_by_its_own_signals(caged: Bench) -> None:
    """So these are no way to an ending: the answer simply goes on."""
    signals = "import os, signal\nfor each in (signal.SIGSTOP, signal.SIGKILL): os.kill(os.getpid(), each)"
    assert "went on" in caged.say(signals + tell("'went on'"))


def test_no_other_process_is_in_sight(caged: Bench) -> None:
    assert "(1, [])" in caged.say("import os" + tell("(os.getpid(), os.listdir('/proc'))"))
    said = caged.say(
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nfirst = libc.umount2(b'/proc', 2)\n"
        "second = libc.unshare(0x10020000) or libc.umount2(b'/proc', 2)"
        + tell("(first, second, os.listdir('/proc'))")
    )
    assert "(-1, -1, [])" in said


def test_there_is_no_network(caged: Bench, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        said = caged.say(f"import socket\nsocket.create_connection(('127.0.0.1', {port}))")
    assert "OSError" in said


@pytest.mark.parametrize("file", ["solutions", "exercises", "tests"])
def test_the_solutions_are_not_there(caged: Bench, file: str) -> None:
    place = str(PACKAGE.parent / file)
    said = caged.say("import os" + tell(f"os.path.isdir({place!r}) and os.listdir({place!r})"))
    assert "False" in said or "[]" in said


def test_files_of_others_are_not_there(caged: Bench, tmp_path: Path) -> None:
    hidden = tmp_path / "submission.ipynb"
    hidden.write_text("secret")
    assert "False" in caged.say("import os" + tell(f"os.path.exists({str(hidden)!r})"))


@pytest.mark.parametrize("place", ["/", "/usr", "/etc", str(PACKAGE)])
def test_no_file_outside_can_be_written(caged: Bench, place: str) -> None:
    said = caged.say(f"open({place + '/written'!r}, 'w')")
    assert "OSError" in said or "PermissionError" in said or "FileNotFoundError" in said


HARM = {
    "a crowd of threads": CROWD,
    "children that fork": "import os\nfor _ in range(6):\n try: os.fork()\n except OSError: pass\n",
    "a child for each child": LEFT_BEHIND,
    "much memory": "kept = bytearray(2**29)",
    "children with memory": (
        "import os, time\nfor _ in range(3):\n"
        " if os.fork() == 0:\n  kept = bytearray(2**27)\n  time.sleep(1000)\n"
    ),
    "a full folder": (
        "import os\ntry:\n for n in range(100): open(f'{n}', 'wb').write(bytes(2**20))\nexcept OSError: pass"
    ),
    "all signals": (
        "import os, signal\nfor number in (signal.SIGSTOP, signal.SIGKILL):\n"
        " for one in (-1, os.getppid() or -1):\n  try: os.kill(one, number)\n  except OSError: pass\n"
    ),
    "an endless loop": (
        "import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()"
    ),
    "all files": "import os\ntry:\n while True: os.dup(0)\nexcept OSError: pass",
    "namespaces": "import ctypes\nfor _ in range(50): ctypes.CDLL(None).unshare(0x10000000)",
    "shared memory": "import ctypes\nfor _ in range(50): ctypes.CDLL(None).shmget(0, 2**20, 0o1666)",
    "locks": "import fcntl, json\nkept = open(json.__file__)\nfcntl.flock(kept, fcntl.LOCK_EX)",
}


@pytest.mark.parametrize("harm", HARM)
def test_a_neighbour_keeps_its_marks(bench: Bench, harm: str) -> None:
    if bench.mode == "limits" and harm in ("all signals", "children that fork"):
        pytest.skip("in this mode it may reach what its account may reach, and every report says so")
    said, end = bench.live(HARM[harm] + STAYS)
    assert said
    source, seed = whole_source(EXERCISE, model_source(EXERCISE)), EXERCISE.seeds[0]
    text = trace(EXERCISE, source, seed, by=bench.starters[1]).to_json()
    end()
    assert judge_trace(EXERCISE, text, seed).passed
    assert "ready" in bench.say(STAYS), "and the next life of its own starter begins"


@pytest.mark.parametrize(
    "isolation", {each.words: each for each in (best_isolation(), weak_isolation())}.values()
)
def test_the_next_notebook_gets_the_same_starter_only_where_no_answer_reaches_it(
    isolation: Isolation,
) -> None:
    lesson = lesson_of(EXERCISE)
    with closing(Starter(lesson, isolation)) as starter:
        first = starter.zygote()
    with closing(Starter(lesson, isolation)) as starter:
        assert (starter.zygote() is first) == isolation.spaces
        ended = starter.zygote()
        ended.close()
        assert starter.zygote() is not ended
        assert starter.zygote().lives()


SKIPS = f"import sys; del sys.argv[1 : {1 + len(PYTHON)}]; "  #: the command that stands behind a beginning
CROWDED = """
import os

fork, forks = os.fork, []

def fails() -> int:
    if forks:
        raise BlockingIOError(11, "no more processes")
    forks.append(1)
    return fork()

os.fork = fails
"""  #: a machine that lets a zygote find out about its cage, and fork no more


def test_a_machine_that_starts_no_process_is_no_fault_of_the_answer() -> None:
    """The teacher is told, and nobody gets a mark."""
    lesson = lesson_of(find("message_queue/mend_the_worker"))
    crowded = Isolation("crowded", strong=False, before=(*PYTHON, "-c", CROWDED + SKIPS + LIMITS_ALONE))
    data = json.dumps(notebook_of("Ada Abara")).encode()
    with pytest.raises(SandboxFailed, match="the machine lacks memory or processes"):
        grade_notebook(data, lesson, secret=b"secret", isolation=crowded)


def test_no_answer_runs_in_another_way_than_its_report_says() -> None:
    """Where namespaces worked when they were tried and then do not, nothing is graded in silence."""
    lesson = lesson_of(EXERCISE)
    said = Isolation("in namespaces", strong=True, before=(*PYTHON, "-c", SKIPS + LIMITS_ALONE), spaces=True)
    with (
        closing(Starter(lesson, said)) as starter,
        pytest.raises(SandboxFailed, match="no more what it was"),
    ):
        starter.zygote()


def test_why_a_machine_has_no_better_cage_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bubblewrap and of namespaces, in the system's own words."""
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho bwrap: no user namespaces here >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(broken))
    monkeypatch.setattr(sandbox, "weak_isolation", lambda: Isolation("weak", strong=False, why="no luck"))
    found = sandbox.best_isolation.__wrapped__()
    assert (found.words, found.why) == (
        "weak",
        "bubblewrap does not work: bwrap: no user namespaces here; no luck",
    )
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert sandbox.best_isolation.__wrapped__().why == "there is no bubblewrap; no luck"
    alone = sandbox._cage((*PYTHON, "-c", LIMITS_ALONE))
    assert alone == ("limits", "a process does not live in them")
