# ruff: noqa: E501 (what attackers say stays in one line)
"""Attacks from inside the process of an answer: each comes to nothing, and its run ends with a name.

The exercise is passed by whoever receives one order, does the work for it and acknowledges it, all as the
scenario sees it; no attacker does. Most attackers leave the library aside and speak on the pipes themselves.
After each attack an honest answer still passes, from the same starter.
"""

from __future__ import annotations

import importlib
import inspect
import os
import resource
import textwrap
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from eip_ref.autograder import kit
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import Verdict, judge_trace, run_apart
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.process.surface import surface
from eip_ref.autograder.process.wire import Budget
from eip_ref.autograder.registry import lessons
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.trace import Kind, Trace, record

from .apart import answer, starter
from .hostile.submissions import READY as SPEAKER_READY
from .hostile.submissions import SPEAKER

TEXTS = """A shop
{kind} · easy · 1 point · 1 minute
Answer: async def answer(queue, work)
Called: It is called.
Promised: The order is done.
Hint: One.
Hint: Two.
Hint: Three.
Why: No reason.
wrong: The order was not done. It was seen.
"""
HONEST = """
async def answer(queue, work):
    lease = await queue.receive()
    work(lease.message)
    await lease.ack()
"""
MIB = 2**20


async def shop(answer: kit.Answer, seed: int) -> None:
    """Let the answer do one order, and take down whether it is done."""

    def work(order: Any) -> Any:
        worked.append(order)
        return order() if callable(order) else order

    worked: list[Any] = []
    async with MessageQueue("orders", lease=1000) as queue:
        await queue.put(Message("tea", id="order-1"))
        with anyio.move_on_after(100):
            result = await answer(queue, work)
            record(Kind.NOTE, "result", text="result", same=result == "secret" or result == seed)
        right = [getattr(each, "id", "") for each in worked] == ["order-1"]
        record(Kind.NOTE, "shop", text="shop", done=right and queue.counts.acked == 1)


def judge(trace: Trace) -> Iterator[kit.Symptom]:
    told = trace.filter(Kind.NOTE, where="shop")
    if not told or told[-1].data["done"] is not True:
        yield kit.Symptom("wrong", "The order was not done.", tuple(told))


def exercise(kind: str = "Repair") -> Exercise:
    return kit.exercise("toy.toy", TEXTS.format(kind=kind), kit.play(shop), judge)


@pytest.fixture(scope="module")
def by() -> Iterator[Zygote]:
    with starter() as zygote:
        yield zygote


def run(source: str, by: Zygote, budget: Budget, kind: str = "Repair", seed: int = 1) -> Verdict:
    """The verdict on a cell. Its text can be written down anywhere."""
    one = exercise(kind)
    text = run_apart(one, answer(one, source, by=by), seed, budget)
    text.encode()
    return judge_trace(one, text, seed)


def name_of(verdict: Verdict) -> str:
    return verdict.diagnosis.name if verdict.diagnosis else ""


def comes_to_nothing(source: str, by: Zygote, ending: str, budget: Budget, kind: str = "Repair") -> None:
    """The attack gets that name, costs no more memory than it may, and harms nobody after it."""
    before, files = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, len(os.listdir("/proc/self/fd"))
    verdict = run(source, by, budget, kind)
    assert name_of(verdict) in ending.split(), verdict.seen
    assert len(verdict.seen) < 5_000
    assert len(verdict.trace.to_json()) < 40 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
    assert len(os.listdir("/proc/self/fd")) == files
    assert run(HONEST, by, Budget(300.0)).passed


# Speakers: the wire itself

READY = SPEAKER_READY.format(kind="async", answer="answer")
END = "\nwhile True: hear()\n"


def speaker(body: str, before: str = READY) -> str:
    return SPEAKER + before + textwrap.dedent(body) + END


def test_who_speaks_the_wire_honestly_passes(by: Zygote) -> None:
    """So what the attackers below fail at is not the way in which they speak."""
    body = """
    lease = wait(op(1, [1, "receive"]))[2][0][2]
    held, fixed = lease["$ref"][0], lease["$ref"][4]
    assert ask("do", [2], [fixed["message"]], {})[0] == "ok"
    assert ask("do", [held, "ack"], [], {})[0] == "ok"
    wait(["return", 1, None])
    """
    assert run(speaker(body), by, Budget(300.0)).passed


SPOKEN = {
    # lines that are none
    "rubbish": ("garbled", r'write(b"rubbish\n")'),
    "an empty line": ("garbled", r'write(b"\n")'),
    "an empty list": ("garbled", r'write(b"[]\n")'),
    "a dictionary": ("garbled", r'write(b"{}\n")'),
    "half a line, then the end": ("died", r'write(b"[1, 2"); os._exit(0)'),
    "two values in a line": ("garbled", r'write(b"[1] [2]\n")'),
    "deep JSON": ("garbled too-much", r'write(b"[" * 500_000 + b"\n")'),
    "JSON deep as can be read": ("garbled", r'write(b"[" * 900 + b"]" * 900 + b"\n")'),
    "a million digits": ("garbled", r'write(b"[" + b"9" * 1_000_000 + b"]\n")'),
    "bytes that are no text": ("garbled", r'write(b"[\"\xff\xfe\"]\n")'),
    "half a surrogate": ("garbled", 'back("\\ud800")'),
    "half a surrogate in bytes": ("garbled", r'write(b"[\"wait\", null, [[\"return\", 1, \"\xed\xa0\x80\"]]]\n")'),
    "half a surrogate as a name": ("garbled", 'ask("id", "\\udfff")'),
    "NUL in a label": ("garbled", 'back({"$record": [*MESSAGE, {"body": "\\0", "id": "\\0"}]})'),
    # bounds
    "a line above the bound": ("too-much", r'write(b"[\"" + b"x" * 2**20 + b"\"]\n")'),
    "a line one byte above the bound": ("too-much", r'write(b"[\"" + b"x" * (2**20 - 4) + b"\"]\n")'),
    "a line at the bound": ("garbled", r'write(b"[\"" + b"x" * (2**20 - 5) + b"\"]\n")'),
    "a line without an end": ("too-much", 'while True: write(b"x" * 65536)'),
    "many long lines": ("too-much", 'while True: ask("do", [2], ["x" * 900_000], {})'),
    "many open operations": (
        "too-much", 'for line in range(99): wait(*[op(line * 9000 + n, [1, "join"], lane=n + 1) for n in range(9000)])'
    ),
    "many operations of one task": ("too-much", 'wait(*[op(n, [1, "join"]) for n in range(9000)])'),
    "many references": (
        "too-much",
        'for line in range(99): ask("do", [2], [[{"$ref": [line * 9999 + n + 2, "plain", "f", {}]} for n in range(9999)]], {})',
    ),
    "many methods": (
        "too-much",
        'for line in range(99): ask("do", [2], [{"$ref": [line + 2, "object", "O", {f"m{n}": "plain" for n in range(9999)}]}], {})',
    ),
    "many errors": (
        "too-much garbled",
        'for line in range(99): ask("do", [2], [[error("ValueError", number=line * 5000 + n) for n in range(5000)]], {})',
    ),
    "an ending of many words": ("raised", 'wait(["raise", 1, error("ValueError", text="x" * 900_000)])'),
    "rubbish of many words": ("garbled", 'back({"$enum": ["eip_ref.message", "x" * 900_000, "x"]})'),
    # time
    "time of 400 digits": ("garbled", "wait(due=10**400)"),
    "time set back": ("garbled", "wait(due=-5)"),
    "NaN as time": ("garbled", 'wait(due=float("nan"))'),
    "true as time": ("garbled", "wait(due=True)"),
    "text as time": ("garbled", 'wait(due="soon")'),
    "no time at all": ("out-of-time", 'wait(due=float("inf"))'),
    "turns at one instant": ("never-ends", "while True: wait(due=0)"),
    "a deadline of 400 digits": ("garbled", 'wait(op(1, [1, "receive"], until=10**400))'),
    "NaN as deadline": ("garbled", 'wait(op(1, [1, "receive"], until=float("nan")))'),
    "text as deadline": ("garbled", 'wait(op(1, [1, "receive"], until="soon"))'),
    "a deadline in the past": ("wrong", 'wait(op(1, [1, "receive"], until=-1e200))\nback(None)'),
    # what was not asked, or is over
    "an answer to no question": ("garbled", 'say("answer", None, False, None)'),
    "an entry that is none": ("garbled", "wait(5)"),
    "an unknown entry": ("garbled", 'wait(["steal", 1])'),
    "entries that are no list": ("garbled", 'say("wait", None, {})'),
    "an unknown word": ("garbled", 'say("judge", True)'),
    "a return of no call": ("garbled", 'wait(["return", 2, None])'),
    "two returns of one call": ("garbled", 'wait(["return", 1, None], ["return", 1, None])'),
    "a return and an error": ("garbled", 'wait(["return", 1, None], ["raise", 1, error("ValueError")])'),
    "an operation after the end": ("garbled", 'wait(["return", 1, None], op(1, [1, "receive"]))'),
    "an operation of no call": ("garbled", 'wait(op(1, [1, "receive"], lane=3, call=77))'),
    "two operations of one number": ("garbled", 'wait(op(1, [1, "join"]), op(1, [1, "join"], lane=2))'),
    "an operation replayed": (
        "wrong", 'wait(op(1, [1, "receive"]))\nwait(op(1, [1, "receive"], until=5))\nback(None)'
    ),
    "a cancel of nobody's operation": ("wrong", 'wait(["cancel", 99], ["return", 1, None])'),
    "a cancel of another lane's": (
        "wrong", 'wait(op(1, [1, "receive"], lane=4), ["cancel", 1])\nwait(["over", 4], ["return", 1, None])'
    ),
    "the end of a lane that is none": ("wrong", 'wait(["over", 9], ["return", 1, None])'),
    "a question of an unknown call": ("garbled", 'ask("id", "m", call=5)'),
    "a question of no call": ("garbled", 'ask("id", "m", call="1")'),
    # what was not handed out
    "an unknown thing": ("garbled", 'wait(op(1, [99, "receive"]))'),
    "a negative number": ("garbled", 'wait(op(1, [-1, "receive"]))'),
    "a hidden method": ("garbled", 'wait(op(1, [1, "_expire"]))'),
    "a method of Python's": ("garbled", 'ask("do", [1, "__getattribute__"], ["_messages"], {})'),
    "a class by its name": ("garbled", 'ask("get", 1, "__class__")'),
    "the globals of a function": ("garbled", 'ask("get", 2, "__globals__")'),
    "the memory of a function": ("garbled", 'ask("get", 2, "__closure__")'),
    "the rules of a transaction": ("garbled", 'ask("get", 1, "policy")'),
    "what a transaction does then": ("garbled", 'ask("do", [1, "then"], [], {})'),
    "a wait as a question": ("garbled", 'ask("do", [1, "receive"], [], {})'),
    "a method as a value": ("garbled", 'ask("get", 1, "receive")'),
    "a channel made outside of a test": ("garbled", 'ask("make", "eip_ref.message_queue:MessageQueue", ["x"], {})'),
    "a counter read as another's": ("garbled", 'ask("get", 1, "writes")'),
    # tags
    "a lease of one's own": ("garbled", 'back({"$lease": {"message": "tea"}})'),
    "a reference that was not given": ("garbled", 'back({"$back": 3})'),
    "a reference of no number": ("garbled", 'back({"$back": "1"})'),
    "a thing that was not told": ("garbled", 'back({"$ref": [77]})'),
    "a thing with no name": ("garbled", 'back({"$ref": [7, "plain", "a b", {}]})'),
    "a thing of a strange kind": ("garbled", 'back({"$ref": [7, "judge", "a", {}]})'),
    "sharing outside of a test": ("garbled", 'back({"$shared": [1, []]})'),
    "a record of Python's": ("garbled", 'back({"$record": ["os", "stat_result", {}]})'),
    "a record with more": ("garbled", 'back({"$record": [*MESSAGE, {"body": 1, "judge": 1}]})'),
    "a class that is no record": ("garbled", 'back({"$record": ["eip_ref.message_queue", "MessageQueue", {"name": "x"}]})'),
    "an enum that is none": ("garbled", 'back({"$enum": ["eip_ref.message", "Message", "x"]})'),
    "a set of lists": ("garbled", 'back({"$set": [[]]})'),
    "pairs that are none": ("garbled", 'back({"$dict": [[1]]})'),
    "bytes that are none": ("garbled", 'back({"$bytes": "xyz"})'),
    "NaN behind a tag": ("garbled", 'back({"$float": "nan"})'),
    "a value that is too deep": ("garbled", "value = []\nfor _ in range(250): value = [value]\nback(value)"),
    "a number of 4,000 digits": ("garbled", "back(10**4000)"),
    # errors
    "no error at all": ("garbled", 'wait(["raise", 1, 5])'),
    "an error that was never sent": ("garbled", 'wait(["raise", 1, {"$home": [1, None]}])'),
    "an interrupt": ("raised", 'wait(["raise", 1, error("KeyboardInterrupt", "BaseException")])'),
    "an exit": ("raised", 'wait(["raise", 1, error("SystemExit", "BaseException", args=[0])])'),
    "a group with an interrupt": (
        "raised",
        'wait(["raise", 1, {"$group": [1, [], "x", [error("KeyboardInterrupt", "BaseException", number=2)]]}])',
    ),
    "an empty group": ("garbled", 'wait(["raise", 1, {"$group": [1, [], "x", []]}])'),
    "a group that is made by hand": (
        "garbled", 'wait(["raise", 1, error("BaseExceptionGroup", args=["x", {"$tuple": []}])])'
    ),
    "groups in groups": (
        "garbled",
        'value = error("ValueError", number=999)\n'
        'for n in range(200): value = {"$group": [n, [], "x", [value]]}\n'
        'wait(["raise", 1, value])',
    ),
    "the end of the run, by a name of one's own": (
        "raised",
        'wait(["raise", 1, error(["eip_ref.autograder.process.wire", "Ended"], "BaseException",'
        ' attributes={"name": "passed"})])',
    ),
    "a deadlock of one's own": (
        "raised waits-for-ever", 'wait(["raise", 1, error(["eip_ref.lab.clock", "Deadlock"], "RuntimeError")])'
    ),
    "a run that proves nothing": (
        "raised", 'wait(["raise", 1, error(["eip_ref.autograder.exercise", "Vacuous"], "Exception")])'
    ),
    "a cancellation": ("raised wrong", 'wait(["raise", 1, error(["asyncio.exceptions", "CancelledError"], "BaseException")])'),
    "the end of an iteration": ("raised", 'wait(["raise", 1, error("StopIteration", "Exception")])'),
    "an error whose class is none": ("garbled", 'wait(["raise", 1, error("print")])'),
    "an error of names that are none": ("garbled", """wait(["raise", 1, {"$error": [1, ["builtins"], "x", ["x"], {}, None]}])"""),
    "an error at a line that is a text": ("raised", 'wait(["raise", 1, error("ValueError", line=["5", 5])])'),
    "an error with a line of its own": ("raised", 'wait(["raise", 1, error("ValueError", attributes={"own_line": 5})])'),
    "an error without a class": ("garbled", 'wait(["raise", 1, error()])'),
    "an error with a trace of its own": ("raised", 'wait(["raise", 1, error("ValueError", attributes={"trace": 1})])'),
    # results
    "what equals everything": (
        "wrong", 'back({"$ref": [7, "object", "Liar", {"__eq__": "plain", "__hash__": "plain", "id": "plain"}]})'
    ),
    "work for an order of its own": (
        "wrong", 'ask("do", [2], [{"$record": [*MESSAGE, {"body": "tea", "id": "order-1"}]}], {})\nback(None)'
    ),
    "a value with odd keys": ("wrong", 'back({"": {"$": 1, "$x": 2, "\\0": None}})'),
    "no words after the call": ("out-of-time", "time.sleep(60)"),
}  # fmt: skip
WALL = {"out-of-time": 1.0}


@pytest.mark.parametrize("attack", SPOKEN)
def test_a_speaker_comes_to_nothing(attack: str, by: Zygote) -> None:
    """Forged lines, numbers, times, tags and errors."""
    ending, body = SPOKEN[attack]
    comes_to_nothing(speaker(body), by, ending, Budget(WALL.get(ending, 60.0)))


def test_no_interrupt_stops_whoever_judges(by: Zygote) -> None:
    """Not even one that an answer raises in earnest."""
    source = "async def answer(queue, work): raise KeyboardInterrupt"
    comes_to_nothing(source, by, "raised", Budget(60.0))


# Before the answer is there


READINESS = {
    "nothing": ("died", "os._exit(0)"),
    "rubbish": ("garbled", r'write(b"x\n")'),
    "a thing of a strange kind": ("garbled", 'say("ready", None, ["judge", "answer", {}], 1)'),
    "a thing with no name": ("garbled", 'say("ready", None, ["async", "a b", {}], 1)'),
    "methods that are none": ("garbled", 'say("ready", None, ["object", "a", [1]], 1)'),
    "a long complaint": ("wrong-form", 'say("ready", "x" * 900_000, ["", "", {}], 1)'),
    "deep problems": ("garbled", r'write(b"[\"missing\", " + b"[" * 900 + b"]" * 900 + b"]\n")'),
    "a question": ("garbled", 'say("ask", 1, "id", "m")'),
    "a function in place of a coroutine": ("raised", 'say("ready", None, ["plain", "answer", {}], 1)\nhear()\nsay("answer", 5, False, None)'),
}  # fmt: skip


@pytest.mark.parametrize("attack", READINESS)
def test_who_lies_about_what_the_cells_define_comes_to_nothing(attack: str, by: Zygote) -> None:
    """Said in a cell, before anybody asked."""
    ending, body = READINESS[attack]
    comes_to_nothing(speaker(body, before=""), by, ending, Budget(60.0))


# Two more bounds


@pytest.mark.parametrize(
    "body",
    [
        'while True: ask("id", "m")',
        'now = 0.0\nwhile True: now = wait(due=now + 1e-9)[1]',
        'while True: say("changed", [])',
    ],
    ids=["questions", "time that creeps", "changes of nothing"],
)  # fmt: skip
def test_lines_without_an_end_are_bounded(body: str, by: Zygote) -> None:
    """Each of them is short and right."""
    comes_to_nothing(speaker(body), by, "never-ends", Budget(300.0, lines=4_000))


def test_small_lists_are_bounded_by_what_is_said(by: Zygote) -> None:
    """Each takes more memory here than room on the wire, so the bound is low."""
    body = 'while True: ask("do", [2], [[[]] * 20_000], {})'
    comes_to_nothing(speaker(body), by, "too-much", Budget(60.0, size=2**18))
    assert Budget(60.0).size <= 4 * MIB


def test_things_that_an_answer_is_given_are_bounded(by: Zygote) -> None:
    """The judge keeps each of them."""
    body = 'while True: ask("make", "eip_ref.message_queue:MessageQueue", ["x"], {})'
    comes_to_nothing(speaker(body), by, "too-much", Budget(60.0, handed_out=100), "Write the test")


def test_a_flood_that_never_lets_the_judge_wait_ends_in_time(by: Zygote) -> None:
    """The judge looks at the time for each line."""
    flood = r'while True: write(b"[\"changed\"]\n" * 5000)'
    comes_to_nothing(speaker(flood), by, "out-of-time", Budget(0.5, lines=10**9, size=10**12))


# In a test, where lists are shared


def test_a_long_label_is_not_written_down_again_and_again(by: Zygote) -> None:
    """It crosses once, and would stand in each event."""
    body = """
    held = ask("make", "eip_ref.message_queue:MessageQueue", ["x" * 900_000], {})[1]["$ref"][0]
    wait(op(1, [held, "__aenter__"]))
    for n in range(60):
        ask("do", [held, "put_nowait"], [{"$record": [*MESSAGE, {"body": 1, "id": f"m{n}"}]}], {})
    wait(op(2, [held, "__aexit__"], None))
    back(None)
    """
    comes_to_nothing(speaker(body), by, "too-much", Budget(60.0), "Write the test")


SHARED = {
    "a list in itself": 'ask("do", [2], [{"$shared": [-1, [{"$shared": [-1, [1]]}]]}], {})',
    "two lists in each other": (
        'say("changed", {"$shared": [-1, [1]]}, {"$shared": [-2, [{"$shared": [-1, [1]]}]]})\n'
        'say("changed", {"$shared": [-1, [{"$shared": [-2, [{"$shared": [-1, [1]]}]]}]]})\n'
        'ask("do", [2], [{"$shared": [-1, [2]]}], {})'
    ),
    "a long chain of lists": (
        'for n in range(1, 1500): say("changed", {"$shared": [-n, [{"$shared": [1 - n, [n]]}] if n > 1 else [1]]})\n'
        'ask("do", [2], [{"$shared": [-1499, [2]]}], {})'
    ),
    "more lists than may be shared": 'say("changed", *[{"$shared": [-n, [n]]} for n in range(1, 9000)])\nhear()',
    "a list that becomes a dictionary": 'say("changed", {"$shared": [-1, []]}, {"$shared": [-1, {}]})\nhear()',
    "a list under no number": 'say("changed", {"$shared": ["x", []]})\nhear()',
}  # fmt: skip


@pytest.mark.parametrize("attack", SHARED)
def test_what_is_shared_in_a_test_harms_nobody(attack: str, by: Zygote) -> None:
    """Lists that no text can be made of."""
    endings = "garbled too-much raised wrong"
    comes_to_nothing(speaker(SHARED[attack] + "\nback(None)"), by, endings, Budget(60.0), "Write the test")


# As an answer that gets hold of its own side

SIDE = 'import gc, os, threading, time\nside = next(each for each in gc.get_objects() if type(each).__name__ == "Side")\n'
INSIDE = {
    "writes into all files": ("garbled", r"""
        for file in range(3, 64):
            try: os.write(file, b"rubbish\n")
            except OSError: pass
        await queue.receive()"""),
    "closes where it writes": ("died", "os.close(side._writes)\nawait queue.receive()"),
    "closes where it reads": ("died", "os.close(side._reads)\nawait queue.receive()"),
    "leaves a child that holds the pipes": ("died out-of-time", "if os.fork(): os._exit(0)\ntime.sleep(30)"),
    "has a thread that writes": ("garbled", r"""
        threading.Thread(target=lambda: os.write(side._writes, b"x\n")).start()
        time.sleep(0.1)
        await queue.receive()"""),
    "stops itself": ("wrong out-of-time", "os.kill(os.getpid(), 19)"),
    "calls what was not handed out": ("garbled", 'side.sync([1, "_expire"], (), {})'),
    "forgets what it was given": ("raised wrong", "side._stubs.clear()\nside._stub_numbers.clear()\nreturn queue._stub_of"),
    "gives another's number": ("garbled raised", "vars(queue)['_stub_of'] = (side, 99)\nawait queue.receive()"),
    "sets the time back": ("garbled", "wait = side.wait\nside.wait = lambda due: wait(-1.0)\nawait queue.receive()"),
    "sets a thousand timers": ("wrong", """
        import anyio
        async with anyio.create_task_group() as group:
            for n in range(1000): group.start_soon(anyio.sleep, n / 1000)"""),
    "changes its form": ("wrong", """
        class Order:
            times = 0
            def __getattr__(self, name):
                self.times += 1
                return "order-1" if self.times % 2 else self
        work(Order())"""),
    "has the names of the surface": ("raised wrong", """
        class Message:
            id, body = "order-1", "tea"
            def ack(self): return self
            def message(self): return self
        return Message()"""),
    "calls back again and again": ("raised wrong never-ends garbled", """
        def again(): return work(again)
        work(again)"""),
    "returns the seed that it guesses": ("wrong", "return 1"),
    "raises a cancellation": ("wrong raised", "import asyncio\nraise asyncio.CancelledError"),
    "raises the end of the run": ("raised", "from eip_ref.autograder.process.wire import Ended\nraise Ended('died')"),
}  # fmt: skip


@pytest.mark.parametrize("attack", INSIDE)
def test_an_answer_that_takes_hold_of_its_side_comes_to_nothing(attack: str, by: Zygote) -> None:
    """All in its process is its own, so nothing in there says what is right."""
    ending, body = INSIDE[attack]
    source = SIDE + "async def answer(queue, work):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    comes_to_nothing(source, by, ending, Budget(WALL.get(ending, 60.0)))


# What can be found out


def test_a_process_knows_nothing_of_the_scenario(by: Zygote) -> None:
    """Its memory, arguments, environment and files have neither the seed nor what the judge holds."""
    source = """
import gc, os, stat, sys
def modes():
    for number in range(64):
        try:
            yield os.fstat(number).st_mode
        except OSError:
            pass
async def answer(queue, work):
    before = 918273644
    held = [each for one in gc.get_objects() for each in (one.values() if type(one) is dict else one if type(one) in (list, tuple) else ())]
    seen = [each for each in held if type(each) is int and each - 1 == before]
    text = str(sys.orig_argv) + str(dict(os.environ))
    if os.path.exists("/proc/self/cmdline"):
        text += open("/proc/self/cmdline").read()
    pipes = [each for each in modes() if stat.S_ISFIFO(each)]
    sockets = [each for each in modes() if stat.S_ISSOCK(each)]
    raise ValueError(str([len(seen), str(before + 1) in text, len(pipes), len(sockets)]))
"""
    assert "[0, False, 2, 0]" in run(source, by, Budget(60.0), seed=918_273_645).seen


@pytest.mark.parametrize(
    "name", [each.name for one in lessons() for each in one.exercises if each.kind == "write the test"]
)
def test_a_test_is_told_the_same_of_each_implementation(name: str) -> None:
    """How a name behaves does not say which of them is broken."""
    lesson, slug = name.split("/")
    module = importlib.import_module(f"eip_ref.course.{lesson}.{slug}")
    kinds: list[Any] = [each for each in vars(module).values() if inspect.isclass(each)]
    for kind in kinds:
        for base in kind.__mro__[1:-1]:
            assert surface(base).items() <= surface(kind).items()
