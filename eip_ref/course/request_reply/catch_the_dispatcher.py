"""Catch the dispatcher

Write the test · hard · 4 points · 12 minutes

Answer: async def test_dispatcher(make)
Called: Your `test_dispatcher(make)` on two correct dispatchers and on six broken ones. `make()` gives a new
    one.
Promised: The test passes for each correct dispatcher and raises AssertionError for each broken one.
Hint: With one caller at a time nearly everything is right. Start two with a task group, and answer the
    second one first.
Hint: The question stands in `sent` at once, and `ask` still sends for 0.1 s. What if the answer comes just
    then? What if it never comes, and what does `waiting` say afterwards?
Hint: Ask "a" and "b" in a task group, sleep 0.05, and let `hear` get the reply to "b" and then that to "a".
    Assert what each got. Then `ask("c", 1)` inside `anyio.fail_after(5)`, answer nothing, and assert None
    and `waiting == 0`. Then cancel one: `with anyio.move_on_after(0.5): await dispatcher.ask("d", 1)`.
Why: Two callers, the answers in the other order, at once, then none at all, and a caller who is cancelled:
    each broken dispatcher fails one of these. The test says nothing about how replies are matched, only
    about who gets what.

accuses-a-correct-dispatcher: Fails a dispatcher that keeps the promise. Look at what you assert beyond it,
    such as an order of the questions in `sent`, or a time that is too exact.
misses-the-wrong-answer: Does not see that answers go to whoever has waited longest. With one caller at a
    time, or with answers in the order of the questions, nobody sees it.
misses-the-quick-answer: Does not see that a quick answer is missed. It comes while the question is still
    being sent.
misses-the-line: Does not see that callers wait for each other. Each answer is right, and all stand in one
    line.
misses-the-endless-wait: Does not see that a timeout is ignored. When the answer never comes, neither does
    the end.
misses-what-is-left: Does not see that a timeout leaves its question in the table. It grows for ever.
misses-who-was-cancelled: Does not see that a caller who was cancelled is left in the table. Each customer
    who closes her window adds one.
"""

from __future__ import annotations

import math

import anyio

from ...autograder import kit
from ...message import Message
from ...request_reply import RequestError, Requestor

__all__ = ["EXERCISE"]

SENDING = 0.1


class Dispatcher:
    """The question's id finds who waits. What is `sent` stands there at once, and is on its way for 0.1 s."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self._table: dict[str, tuple[anyio.Event, list[Message]]] = {}

    @property
    def waiting(self) -> int:
        return len(self._table)

    async def ask(self, text: str, timeout: float) -> str | None:
        question = Message(text)
        came, replies = self._table[question.id] = anyio.Event(), []
        try:
            with anyio.move_on_after(timeout):
                await self._send(question)
                await came.wait()
        finally:
            self._table.pop(question.id, None)
        return str(replies[0].body) if replies else None

    async def _send(self, question: Message) -> None:
        self.sent.append(question)
        await anyio.sleep(SENDING)

    async def hear(self, reply: Message) -> None:
        if reply.correlation_id in self._table:
            came, replies = self._table[reply.correlation_id]
            replies.append(reply)
            came.set()


class OverARequestor(Dispatcher):
    """The same with the requestor of the reference."""

    def __init__(self) -> None:
        super().__init__()
        self._requestor = Requestor(self._send, name="shop")

    @property
    def waiting(self) -> int:
        return self._requestor.waiting

    async def ask(self, text: str, timeout: float) -> str | None:
        try:
            return str((await self._requestor.request(text, timeout=timeout)).body)
        except RequestError:
            return None

    async def hear(self, reply: Message) -> None:
        body, status = str(reply.body), {"outcome": "answer"}
        await self._requestor.receive(reply.copy(body=body, headers=status))


class LongestWaiting(Dispatcher):
    """Gives a reply to whoever has waited longest."""

    async def hear(self, reply: Message) -> None:
        longest = next((key for key, (came, _) in self._table.items() if not came.is_set()), None)
        await super().hear(reply.copy(correlation_id=longest))


class EntersTooLate(Dispatcher):
    """Enters the table when the question has been sent."""

    async def ask(self, text: str, timeout: float) -> str | None:
        question = Message(text)
        await self._send(question)
        came, replies = self._table[question.id] = anyio.Event(), []
        try:
            with anyio.move_on_after(timeout):
                await came.wait()
        finally:
            self._table.pop(question.id, None)
        return str(replies[0].body) if replies else None


class OneAtATime(Dispatcher):
    """Asks only when the one before has its answer."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = anyio.Lock()

    async def ask(self, text: str, timeout: float) -> str | None:
        async with self._lock:
            return await super().ask(text, timeout)


class NeverEnding(Dispatcher):
    """Takes a timeout, and forgets it."""

    async def ask(self, text: str, timeout: float) -> str | None:
        return await super().ask(text, math.inf)


class Leaking(Dispatcher):
    """Takes out of the table what was answered, and nothing else."""

    async def ask(self, text: str, timeout: float) -> str | None:
        answer = await super().ask(text, timeout)
        if answer is None:
            self._table[f"left: {text}"] = anyio.Event(), []
        return answer


class KeepsTheCancelled(Dispatcher):
    """Takes out of the table whoever returns, and nobody who is cancelled."""

    async def ask(self, text: str, timeout: float) -> str | None:
        try:
            return await super().ask(text, timeout)
        except anyio.get_cancelled_exc_class():
            self._table[f"left: {text}"] = anyio.Event(), []
            raise


CORRECT: dict[str, kit.Make] = {
    "a dispatcher with a table": Dispatcher,
    "a dispatcher over the reference": OverARequestor,
}
BROKEN = {
    "a dispatcher that gives a reply to the longest waiting": (LongestWaiting, "misses-the-wrong-answer"),
    "a dispatcher that enters its table too late": (EntersTooLate, "misses-the-quick-answer"),
    "a dispatcher that asks one question at a time": (OneAtATime, "misses-the-line"),
    "a dispatcher that waits for ever": (NeverEnding, "misses-the-endless-wait"),
    "a dispatcher that leaves timeouts in its table": (Leaking, "misses-what-is-left"),
    "a dispatcher that leaves the cancelled in its table": (KeepsTheCancelled, "misses-who-was-cancelled"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-dispatcher", BROKEN),
    seeds=(1,),
)
