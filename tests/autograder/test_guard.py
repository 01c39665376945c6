"""The guard inside an answer's process: each test is a process of its own, since a guard stands for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from .exercise_cases import ROOT

BEGIN = """
import sys
from eip_ref import lab, trace
from eip_ref.autograder.isolation.guard import Ground, Guard
from eip_ref.autograder.isolation.runner import _warm_up
from eip_ref.message_queue import MessageQueue
from eip_ref.message import Message
from eip_ref.trace import record, recording

__name__ = "eip_ref.grader"  # the cells are run by the grader
_warm_up()
names = {"__name__": "notebook"}
guard = Guard(Ground(), names, sys.argv[1])
guard.stand()

def cell(text):
    exec(compile(text, "<cell 1>", "exec"), names)

def facts(scenario):
    return [event.kind for event in lab.simulate(scenario)]
"""


def guarded(code: str, folder: Path) -> str:
    """What a guarded process prints in the end: what was refused, what was changed, and more."""
    end = "\nprint('refused', guard.refused, 'changed', guard.changed)"
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + dedent(code) + end, str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert not run.stderr, run.stderr
    return run.stdout


def test_facts_of_the_library_are_kept_and_those_of_the_answer_are_not(tmp_path: Path) -> None:
    """What an answer records counts for nothing, and harms nothing."""
    code = """
        async def scenario():
            names.update(record=record, partial=__import__("functools").partial, recording=recording)
            async with MessageQueue("orders") as queue:
                await queue.put(Message("a"))
                run = '''
        def says():
            record("effect", "worker", "m1")
        says()
        with recording(partial(record, "effect", "worker", "m1")):
            pass
        '''
                cell(run.replace("\\n        ", "\\n"))

        print(facts(scenario))
        """
    said = guarded(code, tmp_path)
    assert "effect" not in said
    assert "accepted" in said
    assert said.endswith("refused  changed \n")


@pytest.mark.parametrize(
    "what",
    [
        "__import__('os').fork()",
        "__import__('os').system('true')",
        "__import__('os').kill(0, 0)",
        "__import__('socket').create_connection(('192.0.2.1', 80))",
        "__import__('sys').settrace(print)",
        "__import__('sys').addaudithook(print)",
        "__import__('sys')._getframe()",
        "__import__('gc').get_objects()",
        "__import__('ctypes').CDLL(None)",
        "__import__('subprocess').Popen('true')",
        "open('/etc/hosts')",
        "open('../outside', 'w')",
        "__import__('os').listdir('/')",
        "__import__('os').rename('x', '../outside')",
        "__import__('os').symlink('/', 'x')",
        "__import__('os').open(__import__('sys').prefix, 0)",
        "__import__('pathlib').Path('../outside').mkdir()",
        "eval('1')",
        "(lambda: 0).__code__",
        "(lambda: (yield))().gi_frame",
        "__import__('timeit').timeit('().__class__', number=1)",
        "open('solutions')",
    ],
)
def test_what_no_answer_needs_is_refused_and_noted(what: str, tmp_path: Path) -> None:
    """Even when the answer swallows the error."""
    code = f"""
        cell({f"try:{chr(10)}    {what}{chr(10)}except BaseException:{chr(10)}    pass"!r})
        """
    what_is_said = guarded(code.replace("open('solutions')", f"open('{ROOT}/README.md')"), tmp_path)
    assert "refused  changed" not in what_is_said
    assert not (tmp_path.parent / "outside").exists()


@pytest.mark.parametrize(
    "what",
    [
        "open('mine', 'w').write('x')",
        "import statistics; statistics.mean([1, 2])",
        "from dataclasses import dataclass; dataclass(type('A', (), {'__annotations__': {'a': int}}))",
        "from collections import namedtuple; namedtuple('A', 'b c')(1, 2)",
        "import sqlite3; sqlite3.connect(':memory:').execute('select 1')",
        "import traceback; traceback.format_exc()",
        "import logging; logging.getLogger('x').info('hello')",
    ],
)
def test_what_an_honest_answer_does_is_not_refused(what: str, tmp_path: Path) -> None:
    """It may write to its folder, and use Python's modules."""
    assert guarded(f"cell({what!r})", tmp_path).endswith("refused  changed \n")


@pytest.mark.parametrize(
    "what",
    [
        "trace.record = print",
        "MessageQueue.put = print",
        "MessageQueue.more = print",
        "lab.simulate = print",
        "__import__('asyncio').sleep = print",
        "__import__('random').Random.sample = print",
        "__import__('heapq').heappush = print",
        "__import__('builtins').len = print",
        "trace.Kind.EFFECT._value_ = 'x'; trace.Event.__str__ = print",
    ],
)
def test_a_change_to_what_a_run_rests_on_is_noticed(what: str, tmp_path: Path) -> None:
    """By identity, so that nothing that equals everything passes for the real thing."""
    code = f"names.update(trace=trace, MessageQueue=MessageQueue, lab=lab)\ncell({what!r})"
    said = guarded(code, tmp_path)
    assert "changed \n" not in said


def test_a_change_that_is_undone_is_noticed_when_facts_were_recorded_in_between(tmp_path: Path) -> None:
    """The guard looks every few facts, and not only in the end."""
    code = """
        async def scenario():
            names.update(MessageQueue=MessageQueue)
            async with MessageQueue("orders") as queue:
                cell("real = MessageQueue.receive; MessageQueue.receive = print")
                for _ in range(9):
                    await queue.put(Message("a"))
                cell("MessageQueue.receive = real")

        facts(scenario)
        """
    assert "changed eip_ref.message_queue" in guarded(code, tmp_path)


def test_a_loop_with_a_clock_of_its_own_is_noticed(tmp_path: Path) -> None:
    """The clock may be changed on the loop itself."""
    code = """
        import asyncio

        async def scenario():
            async with MessageQueue("orders") as queue:
                asyncio.get_running_loop().time = lambda: 0.0
                await queue.put(Message("a"))

        facts(scenario)
        """
    assert "changed the clock" in guarded(code, tmp_path)
