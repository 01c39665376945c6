"""A check in a notebook's kernel: which cells are judged, and what an answer can do to the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupyter_client")
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="here an answer runs in the kernel itself")

PATIENCE = 300  #: seconds for whatever must come
IMPORTS = """
import anyio
from eip_ref.autograder import check
from eip_ref.message_queue import LeaseQueue
"""
RIGHT = """
async def work(queue: LeaseQueue, handle):
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except Exception:
            await lease.nack(delay=0.5)
        else:
            await lease.ack()
"""
WRONG = """
async def work(queue, handle):
    while True:
        lease = await queue.receive()
        await lease.ack()
        try:
            await handle(lease.message)
        except Exception:
            pass
"""
LOOPS = """
async def work(queue, handle):
    while True:
        pass
"""
CHECK = 'check("message_queue/mend_the_worker", work)'


@dataclass
class Kernel:
    """A kernel, and what a browser does with it."""

    manager: Any
    client: Any

    def begin(self, source: str, cell: str | None = None) -> str:
        """Run a cell, whose id may be told as JupyterLab tells it, and do not wait for it."""
        content = {"code": source, "silent": False, "store_history": True, "stop_on_error": False}
        about = {"cellId": cell} if cell else {}
        message = self.client.session.msg("execute_request", content, metadata=about)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def heard(self, begun: str, until: str = "idle") -> str:
        """What a cell says and shows, until this is said."""
        said = ""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != begun:
                continue
            content = message["content"]
            said += content.get("text", "") + content.get("ename", "") + content.get("evalue", "")
            said += content.get("data", {}).get("text/plain", "")
            if until in said or content.get("execution_state") == until:
                return str(said)

    def run(self, *sources: str) -> str:
        """Run cells, and return what the last one showed. A text may begin with the id of its cell and |."""
        for source in sources:
            cell, bar, text = source.partition("|")
            begun = self.begin(text, cell) if bar and cell.isalnum() else self.begin(source)
            shown = self.heard(begun)
        return shown


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelManager]:
    home = tmp_path_factory.mktemp("home")
    names = {"EIP_HOME": str(home), "IPYTHONDIR": str(home / "ipython")}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(home), env=os.environ | names)
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(started: KernelManager) -> Iterator[Kernel]:
    """The same kernel for all tests: whatever an answer did, it must be usable."""
    client = started.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    kernel = Kernel(started, client)
    shown = kernel.run(
        "imports|" + IMPORTS,
        "bounds|from dataclasses import replace\nfrom eip_ref.autograder import apart\nbefore = apart.LIMITS",
    )
    assert "Error" not in shown
    yield kernel
    client.stop_channels()


def test_what_is_judged_is_what_ran_last(kernel: Kernel) -> None:
    """A cell that is run again counts, and so does a second cell that says otherwise."""
    assert "Acknowledged before" in kernel.run("a|" + WRONG, CHECK)
    assert "✓ Passed" in kernel.run("b|" + RIGHT, CHECK)
    assert "Acknowledged before" in kernel.run("a|" + WRONG, CHECK)
    assert "✓ Passed" in kernel.run("a|" + RIGHT, CHECK)


def test_a_kernel_need_not_wait_for_what_a_check_has_started(kernel: Kernel) -> None:
    """At its end it kills its own group until that is empty; Jupyter does not wait so long, and kills it."""
    assert "✓ Passed" in kernel.run("a|" + RIGHT, CHECK)
    children = "import psutil\n[os.getpgid(each.pid) == os.getpgrp() for each in psutil.Process().children()]"
    assert kernel.run("import os\n" + children) == "[False]"


def test_an_answer_may_stand_in_several_cells(kernel: Kernel) -> None:
    """Helpers, a value that another cell changes, and a wrapper around the answer; also with the check."""
    helper = "delays = []\nasync def back(lease):\n    await lease.nack(delay=delays[0])"
    split = RIGHT.replace("await lease.nack(delay=0.5)", "await back(lease)")
    wrapped = "inner = work\nasync def work(queue, handle):\n    await inner(queue, handle)\n" + CHECK
    assert "✓ Passed" in kernel.run(helper, "delays.append(0.5)", "a|" + split, CHECK)
    assert "✓ Passed" in kernel.run("%%time\n" + wrapped)


@pytest.mark.parametrize(
    "first", ["%%time\nfiles = !echo", "%time", "?help\n%timeit -n 1 -r 1 1 + 1\nawait anyio.sleep(0)"]
)
def test_magics_and_top_level_await_cost_nothing(kernel: Kernel, first: str) -> None:
    """In the cell of a right answer: they belong to the notebook."""
    below = ("\n%time " if first == "%time" else "\n") + "delay = 0.5\n" + RIGHT.replace("0.5", "delay")
    assert "✓ Passed" in kernel.run(f"m|{first}{below}", CHECK)


def test_what_the_notebook_no_longer_has_is_missed(kernel: Kernel) -> None:
    """As it will be when the notebook is graded."""
    split = RIGHT.replace("await lease.nack(delay=0.5)", "await gone(lease)")
    kernel.run("c|async def gone(lease):\n    await lease.nack(delay=0.5)", "c|pass")
    assert "NameError" in kernel.run("a|" + split, CHECK)


@pytest.mark.parametrize("cell", ["a|", ""])
def test_a_cell_that_python_cannot_read_is_not_passed_over(kernel: Kernel, cell: str) -> None:
    """The kernel still has what it defined before, and the learner believes that the new text is judged."""
    assert "✓ Passed" in kernel.run(cell + RIGHT, CHECK)
    shown = kernel.run(cell + RIGHT + "        await (", CHECK)
    assert "line 11: SyntaxError" in shown
    assert "not valid Python" in shown
    assert "✓ Passed" in kernel.run(cell + RIGHT, CHECK)


@pytest.mark.parametrize("made", ["exec", "partial"])
def test_without_a_cell_the_answer_runs_here(kernel: Kernel, made: str) -> None:
    """The report says so."""
    kernel.run("a|" + RIGHT)
    answer = "functools.partial(work)" if made == "partial" else "made['work']"
    text = f"import functools\nmade = {{'LeaseQueue': LeaseQueue}}\nexec({RIGHT!r}, made)"
    shown = kernel.run(text, CHECK.replace("work)", answer + ")"))
    assert "✓ Passed" in shown
    assert "grading, which runs it in a process of its own, may see more" in shown


def test_another_name_is_told(kernel: Kernel) -> None:
    """Grading would not find it."""
    shown = kernel.run(RIGHT.replace("work", "my_work"), CHECK.replace("work)", "my_work)"))
    assert "✓ Passed" in shown
    assert "Grading looks for `work`" in shown


@pytest.mark.parametrize(
    ("deed", "named"),
    [
        ("__import__('os')._exit(1)", "The process ended while the answer ran"),
        ("bytearray(2**33)", "MemoryError"),
        ("[print('x' * 10_000) for _ in range(10_000)]", "Seen:"),
        ("__import__('os').kill(__import__('os').getppid(), 9)", "Seen:"),  # a user can, and root cannot
    ],
)
def test_an_answer_does_no_harm_to_the_kernel(kernel: Kernel, deed: str, named: str) -> None:
    """What it does is named, and the kernel and its next check are as before."""
    shown = kernel.run(f"a|async def work(queue, handle):\n    {deed}", CHECK)
    assert "✗ Not passed" in shown
    assert named in shown
    assert "x" * 100 not in shown
    assert "✓ Passed" in kernel.run("a|" + RIGHT, CHECK)


def test_an_endless_loop_ends_with_its_name(kernel: Kernel) -> None:
    """And what a sooner seed has shown would have been told instead."""
    shown = kernel.run("a|" + LOOPS, f"apart.LIMITS = replace(before, silence=0.5)\n{CHECK}")
    assert "The answer did not come back in time" in shown
    assert "✓ Passed" in kernel.run("apart.LIMITS = before", "a|" + RIGHT, CHECK)


def test_an_interrupt_ends_a_check_at_once(kernel: Kernel) -> None:
    """The kernel has its KeyboardInterrupt, and the next check runs."""
    kernel.run("a|" + LOOPS, "apart.LIMITS = replace(before, silence=1e6)")
    begun = kernel.begin(f"print('begins', flush=True)\n{CHECK}")
    kernel.heard(begun, until="begins")
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in kernel.heard(begun)
    assert "✓ Passed" in kernel.run("apart.LIMITS = before", "a|" + RIGHT, CHECK)


def test_a_cell_that_was_interrupted_is_left_out(kernel: Kernel) -> None:
    """It would hang every check after it."""
    begun = kernel.begin("pause = 0.5\nprint('begins', flush=True)\nwhile pause:\n    pass")
    kernel.heard(begun, until="begins")
    kernel.manager.interrupt_kernel()
    assert "KeyboardInterrupt" in kernel.heard(begun)
    assert "NameError" in kernel.run("a|" + RIGHT.replace("0.5", "pause"), CHECK)


def test_what_starts_the_processes_ends_with_the_kernel(started: KernelManager, kernel: Kernel) -> None:
    """Also when the kernel is killed. This is the last test: there is no kernel after it."""
    number = int(
        kernel.run(
            "from eip_ref.autograder.isolation import starter\nprint(starter._kept._zygote._process.pid)"
        )
    )
    started.shutdown_kernel(now=True)
    until = time.monotonic() + PATIENCE
    while _lives(number) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _lives(number)


def _lives(number: int) -> bool:
    try:
        os.kill(number, 0)
        stat = Path(f"/proc/{number}/stat")
        return not stat.exists() or ") Z" not in stat.read_text()
    except ProcessLookupError:
        return False
