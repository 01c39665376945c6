"""An answer runs in a process of its own: what crosses, what it may call, what is cancelled, how it ends."""

from __future__ import annotations

import gc
import importlib
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.autograder import kit
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import Verdict, judge_apart, run_answer
from eip_ref.autograder.process import surface, table, values
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.process.wire import Budget
from eip_ref.backpressure import Buffer
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, QueueFull, Settled
from eip_ref.trace import Kind, Trace, record, whoami

from .apart import PATIENT, starter, trace
from .apart import answer as answer_of

TEXTS = """A toy
Repair · easy · 1 point · 1 minute
Answer: async def answer({parameters})
Called: It is called.
Promised: Nothing.
Hint: One.
Hint: Two.
Hint: Three.
Why: No reason.
wrong: Something is wrong. It was seen.
"""


@pytest.fixture(scope="module")
def by() -> Iterator[Zygote]:
    with starter() as zygote:
        yield zygote


def toy(scenario: Callable[..., Awaitable[object]], parameters: str = "thing") -> Exercise:
    """An exercise of that scenario, whose judge sees nothing."""
    return kit.exercise("toy.toy", TEXTS.format(parameters=parameters), kit.play(scenario), lambda trace: [])


def noted(trace: Trace) -> list[Any]:
    """What the scenario was told."""
    return [event.data["said"] for event in trace.filter(Kind.NOTE, where="said")]


def ended(trace: Trace) -> str:
    """How the run ended, when not by itself."""
    return str(trace[-1].data.get("ended", "")) if trace else ""


def say(said: object) -> None:
    record(Kind.NOTE, "said", who=whoami(), text="said", said=said)


async def told(answer: kit.Answer, seed: int) -> None:
    """Hand a function to the answer that takes down what it is called with."""
    await answer(say)


# What crosses


VALUES: list[Any] = [
    None, True, 0, -(2**63), 1.5, math.inf, -math.inf, "", "ä\0", [], [1, [2]], {}, {"a": {"b": [None]}},
    (1, (2,)), {1: "one", (1, 2): "two"}, {"$tuple": [1]}, {"$a": 1, "b": 2}, {1, 2}, frozenset({"a"}),
    b"\0\xff", Message({"a": [1]}, "Type", key="k", id="m1", headers={"h": 1}), Settled.DONE,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_equal(value: Any) -> None:
    """And as the type that it was."""
    packed = values.pack(value, refuse)
    again = values.unpack(packed, lambda tag, content: refuse(tag))
    assert again == value
    assert type(again) is type(value)


def refuse(value: object) -> Any:
    raise values.Uncrossable(f"{value!r} cannot cross")


def deep(times: int) -> list[Any]:
    return [deep(times - 1)] if times else []


@pytest.mark.parametrize(
    "value", [math.nan, 10**4000, deep(100), object()], ids=["nan", "long", "deep", "object"]
)
def test_a_value_that_cannot_cross_is_refused(value: Any) -> None:
    """Where it is handed over."""
    with pytest.raises(values.Uncrossable):
        values.pack(value, refuse)


@pytest.mark.parametrize(
    "data",
    [
        {"$enum": ["os", "name", "x"]},
        {"$enum": ["eip_ref.message_queue.protocol", "Settled", "NO"]},
        {"$record": ["subprocess", "Popen", {"args": "true"}]},
        {"$record": ["eip_ref.lab.faults", "Participant", {"name": "x"}]},
        {"$record": ["eip_ref.message", "Message", {"nonsense": 1}]},
        {"$float": "nan"},
        {"$bytes": "zz"},
        {"$nothing": 1},
        {"$dict": [[[1], 2]]},
        math.nan,
    ],
    ids=str,
)
def test_data_that_is_no_value_is_refused(data: Any) -> None:
    """No class is made but the records of the package, and none is imported."""
    with pytest.raises(values.Uncrossable):
        values.unpack(data, lambda tag, content: refuse(tag))


def test_every_name_of_the_table_is_there() -> None:
    """Each class exists, and has what the table lets an answer use."""
    for key, names in table.TABLE.items():
        module, _, name = key.rpartition(".")
        found = importlib.import_module(module if module == "contextlib" else f"eip_ref.{module}")
        kind = getattr(found, name)
        text = Path(str(sys.modules[kind.__module__].__file__)).read_text(encoding="utf-8")
        for word in names.split():
            part = word.rpartition(":")[2]
            assert hasattr(kind, part) or f"self.{part}" in text or f"{part}:" in text, (key, part)


def test_how_a_name_behaves_follows_from_its_class() -> None:
    """And a double that has a method of its own may suspend in it, whatever is said of the original."""

    class Slow(MessageQueue):
        async def ack(self, lease: Any) -> Settled:
            await anyio.sleep(1)
            return await super().ack(lease)

    assert surface.surface(MessageQueue)["ack"] == "now"
    assert surface.surface(Slow)["ack"] == "wait"
    assert surface.surface(Slow)["put"] == "wait"
    assert surface.surface(Slow)["close"] == "sync"
    assert surface.surface(Buffer)["counts"] == "attribute"
    assert "_messages" not in surface.surface(Slow)
    assert surface.surface(object) == {}


# Errors


async def raising(answer: kit.Answer, seed: int) -> None:
    """Raise an error of the scenario's in a function of its own, and see what comes back."""

    class Poor(QueueFull):
        pass

    error = Poor("no room")

    async def fails() -> None:
        raise error

    try:
        await answer(fails)
    except Exception as same:
        say(same is error)


@pytest.mark.parametrize(
    "body",
    [
        "await thing()",
        "try:\n        await thing()\n    finally:\n        pass",
        "try:\n        await thing()\n    except QueueFull as error:\n        raise error",
    ],
)
def test_an_error_that_comes_back_is_the_same_object(body: str, by: Zygote) -> None:
    """Also when it was caught by the name of its base."""
    text = f"from eip_ref.message_queue import QueueFull\nasync def answer(thing):\n    {body}"
    assert noted(trace(toy(raising), text, 1, by=by)) == [True]


async def catching(answer: kit.Answer, seed: int) -> None:
    try:
        await answer(say)
    except Exception as error:
        say([type(error).__name__, isinstance(error, LookupError), str(error)])


def test_an_error_of_the_answers_keeps_its_name_and_its_nearest_known_class(by: Zygote) -> None:
    """A scenario can catch it as it would in one process."""
    text = "class Odd(KeyError): pass\nasync def answer(thing):\n    raise Odd('x')"
    assert noted(trace(toy(catching), text, 1, by=by)) == [["Odd", True, "'x'"]]


def test_an_exit_is_no_exception(by: Zygote) -> None:
    """A scenario that catches every `Exception` does not catch it."""
    found = trace(toy(catching), "async def answer(thing):\n    raise SystemExit(3)", 1, by=by)
    assert (noted(found), ended(found)) == ([], "raised")


# What it may not do


@pytest.mark.parametrize(
    "text",
    [
        "queue._messages",
        "queue.policy",
        "queue._accept",
        "setattr(queue, 'lease', 99)",
        "queue.__class__.put.__globals__['os']",
        "object.__getattribute__(queue, '_messages')",
    ],
)
def test_what_is_in_no_table_is_not_there(text: str, by: Zygote) -> None:
    """An answer finds the surface of what it is given, and nothing behind it."""
    source = (
        "async def answer(queue):\n"
        "    try:\n"
        f"        {text}\n"
        "    except (AttributeError, KeyError, TypeError):\n"
        "        await queue.put(__import__('eip_ref.message').message.Message('not there'))"
    )

    async def scenario(answer: kit.Answer, seed: int) -> None:
        async with MessageQueue("orders") as queue:
            await answer(queue)
            say(queue.receive_nowait().message.body)

    assert noted(trace(toy(scenario, "queue"), source, 1, by=by)) == ["not there"]


def test_facts_of_an_answer_are_not_kept(by: Zygote) -> None:
    """Neither by `record`, nor by a queue of its own with the name of the scenario's."""
    text = (
        "from eip_ref.message import Message\nfrom eip_ref.message_queue import MessageQueue\n"
        "from eip_ref.trace import record\n"
        "async def answer(thing):\n"
        "    record('effect', 'shop', 'm1', effect='packed')\n"
        "    async with MessageQueue('orders') as queue:\n"
        "        await queue.put(Message('x'))\n"
    )
    assert len(trace(toy(told), text, 1, by=by)) == 0


def test_no_cell_says_what_is_imported_before_it(by: Zygote) -> None:
    """That would run with more rights than a cell has. Some modules are there, whoever asks."""
    text = (
        "import sys\nfound = [name in sys.modules for name in ('statistics', 'json', 'wave')]\n"
        "async def answer(thing): thing(found)\nif False: import wave"
    )
    assert noted(trace(toy(told), text, 1, by=by)) == [[True, True, False]]


# Cancellation


async def stopping(answer: kit.Answer, seed: int) -> None:
    """Cancel the answer at 5 s; say when it ended and what it settled."""
    async with MessageQueue("orders", lease=20) as queue:
        await queue.put(Message("tea"))
        with anyio.move_on_after(5):
            await answer(queue)
        say([anyio.current_time(), queue.counts.acked, queue.counts.ready])


@pytest.mark.parametrize(
    ("body", "acked", "ready", "until"),
    [
        ("await queue.receive()\n    await queue.receive()", 0, 0, 5),
        (
            "lease = await queue.receive()\n    try: await anyio.sleep(60)\n    finally: await lease.ack()",
            1, 0, 5,
        ),
        ("await anyio.sleep(4)\n    with anyio.CancelScope(shield=True): await anyio.sleep(3)", 0, 1, 7),
        ("await anyio.sleep_forever()", 0, 1, 5),
        (
            "lease = await queue.receive()\n    with anyio.CancelScope(shield=True):\n"
            "        try: await queue.receive(timeout=8)\n        except Exception: await lease.ack()",
            1, 0, 8,
        ),
        (
            "lease = await queue.receive()\n    try: await anyio.sleep(60)\n"
            "    except BaseException:\n        try: await queue.join()\n        finally: await lease.ack()",
            1, 0, 5,
        ),
    ],
)  # fmt: skip
def test_a_call_that_is_cancelled_ends_as_in_one_process(
    body: str, acked: int, ready: int, until: float, by: Zygote
) -> None:
    """With shields, clean-up, and waits that take nothing."""
    source = f"import anyio\nasync def answer(queue):\n    {body}"
    names: dict[str, Any] = {}
    exec(source, names)
    exercise = toy(stopping, "queue")
    there = trace(exercise, source, 1, by=by)
    assert noted(there) == [[until, acked, ready]]
    assert there.first_difference(Trace.from_json(run_answer(exercise, names["answer"], 1))) is None


def test_a_receive_that_is_cancelled_at_the_instant_of_a_delivery_takes_nothing_or_has_it(by: Zygote) -> None:
    """No message is lost between the two sides."""
    source = (
        "import anyio\nasync def answer(queue):\n"
        "    got = 0\n"
        "    while not got:\n"
        "        with anyio.move_on_after(1):\n"
        "            lease = await queue.receive()\n"
        "            got += 1\n"
        "    await lease.ack()"
    )

    async def scenario(answer: kit.Answer, seed: int) -> None:
        async with MessageQueue("orders", lease=100) as queue, anyio.create_task_group() as group:
            group.start_soon(answer, queue)
            await anyio.sleep(1)
            await queue.put(Message("tea"))
            await anyio.sleep(9)
            say([queue.counts.acked, queue.counts.in_flight])

    assert noted(trace(toy(scenario, "queue"), source, 1, by=by)) == [[1, 0]]


BLOCK = """
class Block:
    def __enter__(self): return self
    def __exit__(self, kind, error, where):
        self.said = f"{kind.__name__} {error}"
        return True
async def answer(thing): return Block()
"""


def test_a_block_of_the_answers_may_be_left_with_an_error(by: Zygote) -> None:
    """It is told of it as it would be in one process."""

    async def scenario(answer: kit.Answer, seed: int) -> None:
        block: Any = await answer(say)
        with block:
            raise ValueError("no")
        say(block.said)

    assert noted(trace(toy(scenario), BLOCK, 1, by=by)) == ["ValueError no"]


# Lives


MEMORY = (
    "seen = []\n"
    "async def answer(thing):\n"
    "    seen.append(1)\n"
    "    thing(len(seen))\n"
    "    await __import__('anyio').sleep(60)"
)


def test_memory_dies_with_a_life(by: Zygote) -> None:
    """A death is the end of the process; a stop is not."""

    async def scenario(answer: kit.Answer, seed: int) -> None:
        async def life() -> None:
            for _ in range(2):
                with anyio.move_on_after(10):
                    await answer(say)
            await kit.die()

        with anyio.move_on_after(60):
            await kit.mortal("worker", life, deaths=1).run()

    assert noted(trace(toy(scenario), MEMORY, 1, by=by)) == [1, 2, 1, 2]


# Waiting for ever


async def never_told(answer: kit.Answer, seed: int) -> None:
    """Nothing ever comes."""
    async with MessageQueue("orders") as queue:
        await answer(queue)


WAITS = {
    "an operation": "    await queue.receive()",
    "a helper": "    await take(queue)\n\nasync def take(queue):\n    await queue.receive()",
    "no operation": "    await anyio.Event().wait()",
    "two tasks": "    async with anyio.create_task_group() as group:\n"
    "        group.start_soon(forever)\n        group.start_soon(take, queue)\n\n"
    "async def take(queue):\n    await queue.receive()\n\n"
    "async def forever():\n    await anyio.sleep_forever()",
}


@pytest.mark.parametrize("waits", WAITS)
def test_a_deadlock_names_the_line_of_the_answer(waits: str, by: Zygote) -> None:
    """In the words of one process, for each task of the answer; a class has its public name."""
    source = f"import anyio\nasync def answer(queue):\n{WAITS[waits]}\n"
    names: dict[str, Any] = {"__name__": "notebook"}
    exec(source, names)
    exercise = toy(never_told, "queue")
    here = Trace.from_json(run_answer(exercise, names["answer"], 1))[-1].data["text"]
    there = trace(exercise, source, 1, by=by)[-1].data["text"]
    assert set(there.splitlines()) == set(here.replace("LeaseQueue.", "MessageQueue.").splitlines())


# What nobody awaits


async def served(answer: kit.Answer, seed: int) -> None:
    """Hand it a queue, and let it fail when nothing was put there."""
    async with MessageQueue("orders") as queue:
        await answer(queue)
        await queue.receive(timeout=0)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "queue.put(Message())",
            "Line 4 of your cell does not wait for what it calls:\n    queue.put(Message())",
        ),
        ("put = queue.put(Message())", "`MessageQueue.put` was called, and nobody waited for it."),
        (
            "helper()\nasync def helper(): pass",
            "Line 4 of your cell does not wait for what it calls:\n    helper()",
        ),
        (
            "for _ in range(20_000): queue.join()",
            "Line 4 of your cell does not wait for what it calls:\n    for _ in range(20_000): queue.join()",
        ),
        (
            "lease = queue.receive()\n    await lease.ack()",
            "`MessageQueue.receive` was called, and nobody waited for it.",
        ),
        (
            "async with anyio.create_task_group() as group:\n        group.start_soon(take, queue)\n"
            "async def take(queue):\n    lease = queue.receive()\n    await lease.ack()",
            "`MessageQueue.receive` was called, and nobody waited for it.",
        ),
        ("pass", ""),
        ("with anyio.move_on_after(0):\n        await queue.receive()", ""),
    ],
)
def test_a_call_that_nobody_awaits_is_the_first_to_be_told(body: str, told: str, by: Zygote) -> None:
    """It does nothing, and whatever the judge sees then comes of that."""
    source = f"import anyio\nfrom eip_ref.message import Message\nasync def answer(queue):\n    {body}\n"
    verdict = verdict_of(toy(served, "queue"), source, by=by)
    names = [finding.mistake.name for finding in verdict.findings]
    assert names == ["never-awaited"] * bool(told) + ["raised"]
    assert verdict.seen == told or not told


def test_an_answer_may_throw_away_what_it_need_not_await(by: Zygote) -> None:
    """All that was promised is there."""
    source = "async def answer(thing):\n    other()\n    thing(0)\nasync def other(): pass"
    assert verdict_of(toy(told), source, by=by).passed


def verdict_of(exercise: Exercise, source: str, *, by: Zygote) -> Verdict:
    return judge_apart(exercise, answer_of(exercise, source, by=by), [1], lambda: Budget(PATIENT))


# Endings


@pytest.mark.parametrize(
    ("ending", "body"),
    [
        ("out-of-time", "while True: pass"),
        ("out-of-time", "import time\n    time.sleep(60)"),
        ("out-of-time", "import signal\n    signal.pause()"),
        ("died", "import os\n    os._exit(0)"),
        ("died", "import ctypes\n    ctypes.string_at(0)"),
        ("died", "import os\n    os.closerange(3, 64)\n    os._exit(1)"),
        ("too-much", "thing('x' * 900_000)\n    while True: thing('x' * 900_000)"),
        ("runaway", "while True: await __import__('anyio').lowlevel.checkpoint()"),
        ("deadlock", "await __import__('anyio').Event().wait()"),
        ("raised", "raise ValueError('no')"),
        ("raised", "thing(object())"),
        ("not started", "raise NotImplementedError()"),
    ],
)
def test_every_ending_has_its_name(ending: str, body: str, by: Zygote) -> None:
    """Whatever the answer does, the run comes back."""
    found = trace(toy(told), f"async def answer(thing):\n    {body}", 1, by=by, wall=3)
    assert ended(found) == ending


def test_an_endless_loop_in_a_cell_ends_too(by: Zygote) -> None:
    """Before the answer is there."""
    found = trace(toy(told), "async def answer(thing): pass\nwhile True: pass", 1, by=by, wall=1)
    assert ended(found) == "out-of-time"


def test_a_run_that_is_ended_warns_of_nothing(by: Zygote) -> None:
    """Such as of tasks that had not begun. And no filter of warnings is left."""

    async def scenario(answer: kit.Answer, seed: int) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 1)
            await answer(say)

    before = [*warnings.filters]
    answer = answer_of(toy(scenario), "async def answer(thing):\n    import os\n    os._exit(0)", by=by)
    assert not judge_apart(toy(scenario), answer, [1], lambda: Budget(PATIENT)).passed
    assert warnings.filters == before
    gc.collect()


SIDE = "import gc\n    side = next(o for o in gc.get_objects() if type(o).__name__ == 'Side')\n    "


async def comparing(answer: kit.Answer, seed: int) -> None:
    """Compare what the answer returns with what is right."""
    found = await answer(say)
    say([found == "right", found in ("right",), found != "right", isinstance(found, str)])


@pytest.mark.parametrize("name", ["__eq__", "__ne__", "__class__", "__hash__"])
def test_an_object_of_the_answers_equals_nothing(name: str, by: Zygote) -> None:
    """Even if its process says that it has a comparison of its own, and says yes to everything."""
    source = (
        f"async def answer(thing):\n    {SIDE}number = side.hand_out(object())\n"
        f"    told = {{'$ref': [number, 'object', 'Liar', {{{name!r}: 'plain'}}]}}\n"
        "    side.say('wait', None, [['return', 1, told]])\n"
        "    while True:\n        side.hear()\n        side.say('answer', True, False, None)"
    )
    assert noted(trace(toy(comparing), source, 1, by=by, wall=20)) == [[False, False, True, False]]


def test_a_folder_that_was_left_behind_is_in_nobodys_way(tmp_path: Path, monkeypatch: Any) -> None:
    """Numbers of processes come again; and all folders are gone when the starter is closed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o777)
    with starter() as by:
        trace(toy(told), MEMORY, 1, by=by)
        last = max(int(each) for each in os.listdir("/proc") if each.isdigit())
        left = [tmp_path / f"answer-{number}" for number in range(last, last + 300)]
        for each in left:
            each.mkdir()
        assert noted(trace(toy(told), MEMORY, 1, by=by)) == [1]
    assert set(tmp_path.iterdir()) == set(left)


def test_one_process_is_not_the_others(by: Zygote) -> None:
    """After all of that the next answer runs."""
    assert noted(trace(toy(told), "async def answer(thing):\n    thing(7)", 1, by=by)) == [7]


def test_the_same_seed_gives_the_same_trace(by: Zygote) -> None:
    """Also with several tasks that do the same at the same instant."""
    source = (
        "import anyio\nasync def answer(queue):\n"
        "    async def work():\n"
        "        while True:\n"
        "            lease = await queue.receive()\n"
        "            await anyio.sleep(1)\n"
        "            await lease.ack()\n"
        "    async with anyio.create_task_group() as group:\n"
        "        for _ in range(4): group.start_soon(work)"
    )

    async def scenario(answer: kit.Answer, seed: int) -> None:
        async with MessageQueue("orders", lease=20) as queue:
            for number in range(9):
                await queue.put(Message(f"order {number}"))
            with anyio.move_on_after(30):
                await answer(queue)

    traces = {trace(toy(scenario, "queue"), source, 1, by=by).to_json() for _ in range(3)}
    assert len(traces) == 1
