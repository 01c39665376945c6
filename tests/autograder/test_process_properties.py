"""Generated answers do the same twice, in a process of their own as in one, and get one verdict everywhere.

EIP_EXAMPLES is the number of answers.
"""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.autograder import apart
from eip_ref.autograder.isolation import isolated
from eip_ref.autograder.isolation.isolated import grade_notebook
from eip_ref.autograder.isolation.sandbox import weak_isolation
from eip_ref.autograder.judging import judge_trace, run_answer
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.registry import find, lesson_of
from eip_ref.trace import Trace

from .apart import starter, trace
from .hostile.submissions import answering, in_bytes

WORKER = find("message_queue/mend_the_worker")  #: a queue, a function that waits, an error, a death, a stop
HEAD = """import anyio
from eip_ref.message import Message
from eip_ref.message_queue import Empty, QueueClosed

async def work(queue, pack):
    lease = None
"""
ALONE = replace(lesson_of(WORKER), exercises=(WORKER,))
FILE = "<an answer>"
Block = list[str]


@pytest.fixture(scope="module")
def by() -> Iterator[Zygote]:
    with starter() as zygote:
        yield zygote


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripts")


@pytest.fixture(scope="module")
def ends(by: Zygote) -> Iterator[None]:
    """The check and grading, with the same seeds and from the same starter."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (isolated, apart):
            patch.setattr(module, "Starter", lambda *_: SimpleNamespace(zygote=lambda: by, close=int))
        patch.setattr(isolated, "seeds_for", lambda exercise, secret: exercise.seeds)
        yield


def inside(head: str, block: Block) -> Block:
    """The block, indented below a line."""
    return [head, *(f"    {line}" for line in block)]


DONE = ["lease = await queue.receive()", "await pack(lease.message)", "await lease.ack()"]
STEPS = st.sampled_from(
    [
        ["lease = await queue.receive()"],
        ["lease = await queue.receive(timeout=2)"],
        ["lease = queue.receive_nowait()"],
        ["if lease: await pack(lease.message)"],
        ["if lease: await lease.ack()"],
        ["if lease: await lease.nack()"],
        ["if lease: await lease.extend(5)"],
        DONE,
        ['await queue.put(Message("one more"))'],
        ["await anyio.sleep(0)"],
        ["await anyio.sleep(0.5)"],
        ["await anyio.sleep(4)"],
        ['raise ValueError("no more")'],
    ]
)
SECONDS = st.sampled_from([0, 0.5, 1, 3])
ENDS = ["except Exception", "except BaseException", "finally"]


def deeper(blocks: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    """Blocks in other blocks."""
    return st.one_of(
        st.lists(blocks, min_size=2, max_size=4).map(lambda found: [*chain(*found)]),
        st.builds(lambda n, block: inside(f"for _ in range({n}):", block), st.integers(2, 3), blocks),
        st.builds(lambda s, block: inside(f"with anyio.move_on_after({s}):", block), SECONDS, blocks),
        st.builds(lambda s, block: inside(f"with anyio.fail_after({s}):", block), SECONDS, blocks),
        blocks.map(lambda block: inside("with anyio.CancelScope(shield=True):", block)),
        blocks.map(lambda block: inside("with anyio.CancelScope() as scope:", ["scope.cancel()", *block])),
        st.builds(tried, blocks, st.sampled_from(ENDS), blocks),
        st.lists(blocks, min_size=1, max_size=2).flatmap(
            lambda parts: blocks.map(lambda block: grouped(parts, block))
        ),
    )


def tried(block: Block, end: str, then: Block) -> Block:
    """The block, and what is done after an error in it, or at its end."""
    again = ["raise"] if "Base" in end else []
    return [*inside("try:", block), *inside(f"{end}:", [*then, *again])]


def grouped(parts: list[Block], block: Block) -> Block:
    """Tasks that work beside a block."""
    lines: Block = []
    for number, part in enumerate(parts):
        lines += inside(f"async def part_{number}(lease=None):", part)
    starts = [f"group.start_soon(part_{number})" for number in range(len(parts))]
    return [*lines, *inside("async with anyio.create_task_group() as group:", [*starts, *block])]


def made(block: Block, times: str, last: Block) -> str:
    """The text of an answer that repeats a block."""
    loop = inside(times, [*block, *last]) if times else block
    return HEAD + "\n".join(f"    {line}" for line in loop)


ANSWERS = st.builds(
    made,
    st.recursive(STEPS, deeper, max_leaves=8),
    st.sampled_from(["while True:", "for _ in range(3):", ""]),
    st.sampled_from([["await anyio.sleep(1)"], DONE]),
)


def in_one_process(source: str, seed: int) -> Trace:
    """The trace of an answer that runs here."""
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)
    names: dict[str, Any] = {"__name__": "notebook"}
    exec(compile(source, FILE, "exec"), names)
    text = run_answer(WORKER, names[WORKER.answer], seed)
    return Trace.from_json(text.replace("LeaseQueue.", "MessageQueue."))  # elsewhere only that name is known


def as_a_script(source: str, folder: Path) -> Any:
    """The answer that a script of this text has defined."""
    path = folder / "a_script.py"
    path.write_text(source)
    linecache.checkcache(str(path))
    spec = importlib.util.spec_from_file_location("a_script", path)
    assert spec
    assert spec.loader
    module = sys.modules["a_script"] = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), vars(module))
    return getattr(module, WORKER.answer)


@settings(max_examples=int(os.environ.get("EIP_EXAMPLES", "20")), derandomize=True)
@given(ANSWERS)
def test_an_answer_does_the_same_in_a_process_of_its_own(
    by: Zygote, ends: None, folder: Path, source: str
) -> None:
    """Event by event, and again at its second run; so check and grading come to the same verdict."""
    seed = WORKER.seeds[0]
    there = trace(WORKER, source, seed, by=by)
    assert there.first_difference(trace(WORKER, source, seed, by=by)) is None
    here = in_one_process(source, seed)
    assert here.first_difference(there) is None
    checked, _ = apart.judge(WORKER, as_a_script(source, folder))
    notebook = in_bytes(answering(ALONE, {WORKER.name: source}))
    graded = grade_notebook(notebook, ALONE, secret=b"secret", isolation=weak_isolation())
    assert graded.marks == (checked.mark,)
    text = there.to_json()
    assert judge_trace(WORKER, text, seed).findings == judge_trace(WORKER, here.to_json(), seed).findings
