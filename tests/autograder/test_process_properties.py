"""Generated answers do the same twice, and the same in a process of their own as in one process."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.autograder.judging import judge_trace, run_answer
from eip_ref.autograder.process.start import Zygote
from eip_ref.autograder.registry import find
from eip_ref.trace import Trace

from .apart import starter, trace

WORKER = find("message_queue/mend_the_worker")  #: a queue, a function that waits, an error, a death, a stop
HEAD = """import anyio
from eip_ref.message import Message
from eip_ref.message_queue import Empty, QueueClosed

async def work(queue, pack):
    lease = None
"""
FILE = "<an answer>"
Block = list[str]


@pytest.fixture(scope="module")
def by() -> Iterator[Zygote]:
    with starter() as zygote:
        yield zygote


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
    return run_answer(WORKER, names[WORKER.answer], seed)


@settings(max_examples=60, derandomize=True)
@given(ANSWERS)
def test_an_answer_does_the_same_in_a_process_of_its_own(by: Zygote, source: str) -> None:
    """Event by event, and again at its second run; so the judgement is the same."""
    seed = WORKER.seeds[0]
    there = trace(WORKER, source, seed, by=by)
    assert there.first_difference(trace(WORKER, source, seed, by=by)) is None
    here = in_one_process(source, seed)
    assert here.first_difference(there) is None
    text = there.to_json()
    assert judge_trace(WORKER, text, seed).findings == judge_trace(WORKER, here.to_json(), seed).findings
