"""Mend the dispatcher

Repair · hard · 4 points · 12 minutes

Answer: class Dispatcher(send) with async ask, async hear, waiting
Called: One `Dispatcher(send)` and ten questions, most of them at the same time, each with a timeout of 2 s.
    Stock answers them in another order; one while `send` is still at work, one too late, and one never. An
    eleventh caller is cancelled while she waits.
Promised: Each caller gets the answer to its own question as soon as it is there, or None when it did not
    come in time. Nobody waits for another caller. When no caller is left, `waiting()` is 0.
Hint: How can `hear` know whose reply it has? Look at what a reply carries: `reply.correlation_id`.
Hint: A dictionary from the id of a question to the one who waits for it. When does a question enter it, and
    at which of its ends does it leave?
Hint: Enter the table before `await self.send(question)`. Then `try:` send and wait, `finally:` take it out.
    In `hear`, look up `reply.correlation_id`, and do nothing when it is not there.
Why: The id finds the caller, whatever the order. A caller that is in the table before it sends misses no
    answer, and `finally` takes it out at each of its ends: answered, timed out, cancelled.

anothers-answer: A caller got another's answer. Answers come in the order in which they are ready, and that
    is not the order of the questions.
no-reply: What a caller got is no reply. `ask` returns the `Message` that `hear` was given, or None.
one-at-a-time: One caller waits for another. With a lock around the call, or around `send`, each answer is
    right, and all callers stand in a line.
answer-missed: An answer came in time and its caller did not get it. `hear` must find who asked: a reply has
    an `id` of its own, and the id of its question is its `correlation_id`.
quick-one-missed: An answer came and its caller did not get it. It came while the question was still being
    sent.
slept-on: An answer was there and its caller slept on. Wait for an event, one for each caller, which wakes
    her at once, and not for a time.
left-waiting: Somebody is still in the table. All callers have returned. What is left there is left for
    ever, and every timeout adds one more.
left-when-cancelled: A caller who was cancelled is still in the table. Cancellation leaves `ask` as an
    exception does: of what stands below, only `finally` runs.
no-end (deadlock): A caller waits for ever. Stock never answers one of the questions, and only the timeout
    can end that.
too-patient: A caller waited longer than its timeout. Its customer has left by then.
error-came-out (raised): An error came out of the dispatcher. A reply that nobody waits for is no error, and
    neither is a timeout: `ask` returns None.
"""

from __future__ import annotations

from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...message import Message
from ...trace import Kind, Trace, acting, record

__all__ = ["EXERCISE", "ten_questions"]

TIMEOUT = 2.0
SENDING = 0.1
NEVER = 1e9
SOON = 0.2  #: the seconds in which a caller must have returned with an answer that is there


async def ten_questions(dispatcher_class: kit.Answer, seed: int) -> None:
    """Ask ten prices over one dispatcher. Stock answers in an order of its own."""
    chance = Random(seed)
    seconds = [*(round(chance.uniform(0.3, 1.5), 2) for _ in range(6)), 0.0, 2.6, NEVER]
    chance.shuffle(seconds)
    if seconds[0] < 1:  # the first one has company that is quicker, whatever the seed
        seconds[0] = 1.6
    fates = {f"tea {number}": wait for number, wait in enumerate(seconds, 1)}
    fates |= {"tea 10": 0.0, "tea 11": NEVER}
    rows: list[dict[str, Any]] = []
    sent: dict[str, float] = {}

    async def stock(question: Message) -> None:
        wait = fates[str(question.body)]
        if wait < NEVER:
            await anyio.sleep(wait)
            reply = Message(f"price of {question.body}", correlation_id=question.id)
            record(Kind.SENT, "shop", reply.id, who="stock", label=reply.body)
            await dispatcher.hear(reply)

    async def send(question: Message) -> None:
        record(Kind.SENT, "stock", question.id, label=question.body)
        sent[str(question.body)] = anyio.current_time()
        group.start_soon(stock, question)
        await anyio.sleep(SENDING)

    async def ask(tea: str) -> None:
        began = anyio.current_time()
        reply = await dispatcher.ask(Message(tea), TIMEOUT)
        got = str(reply.body) if isinstance(reply, Message) else reply if reply is None else repr(reply)
        row = {"tea": tea, "got": got, "reply": isinstance(reply, Message | None), "wait": fates[tea]}
        late = sent.get(tea, began) - began
        rows.append({**row, "took": anyio.current_time() - began, "sent_after": late})

    dispatcher = dispatcher_class(send)
    async with anyio.create_task_group() as group:
        with acting("shop"):
            async with anyio.create_task_group() as callers:
                for tea in list(fates)[:10]:
                    callers.start_soon(ask, tea)
                    await anyio.sleep(0.01)
        await anyio.sleep(1)
        left = dispatcher.waiting()
        with acting("shop"), anyio.move_on_after(TIMEOUT / 2):
            await dispatcher.ask(Message("tea 11"), TIMEOUT)
    kit.write_down(rows=rows, left=left, left_when_cancelled=dispatcher.waiting() - left)


def judge(trace: Trace) -> kit.Symptoms:
    facts, shown = kit.facts(trace), trace.filter(Kind.SENT)
    for row in facts["rows"]:
        tea, got, wait, took = row["tea"], row["got"], row["wait"], row["took"]
        there = f"stock answered {tea} after {wait:g} s, and its caller"
        if not row["reply"]:
            yield kit.seen("no-reply", f"the caller for {tea} got {got}.", shown)
        elif got not in (None, f"price of {tea}"):
            yield kit.seen("anothers-answer", f"the caller for {tea} got {got!r}.", shown)
        elif row["sent_after"] > SENDING / 2:
            words = f"the question for {tea} was sent {row['sent_after']:.1f} s after it was asked."
            yield kit.seen("one-at-a-time", words, shown)
        elif took > TIMEOUT + SENDING + 0.01:
            yield kit.seen("too-patient", f"the caller for {tea} waited {took:.1f} s.", shown)
        elif got is None and wait <= TIMEOUT - 2 * SENDING:
            quick = "quick-one-missed" if wait < SENDING else "answer-missed"
            yield kit.seen(quick, f"{there} got None.", shown)
        elif got is not None and took > max(wait, SENDING) + SOON:
            yield kit.seen("slept-on", f"{there} returned after {took:.1f} s.", shown)
    if facts["left"] > 0:
        words = f"all ten callers have returned, and `waiting()` says {facts['left']}."
        yield kit.seen("left-waiting", words, shown)
    if facts["left_when_cancelled"] > 0:
        words = (
            f"the eleventh caller was cancelled after {TIMEOUT / 2:g} s, and `waiting()` has grown by one."
        )
        yield kit.seen("left-when-cancelled", words, shown)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(ten_questions), judge)
