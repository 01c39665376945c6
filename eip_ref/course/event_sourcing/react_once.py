"""React once

Repair · medium · 4 points · 12 minutes

Answer: async def react(store, memory, mail)
Called: Your `react(store, memory, mail)` in a shop that has had some orders before it. Eight more come while
    it runs, and its process dies three times and starts again a second later.
Promised: The customer of each of the eight new orders gets one mail. Nobody gets a second one, and the old
    customers get none.
Hint: When does it begin for the first time, and how does it know, after a death, that this is not the first
    time?
Hint: A death can come after each line. What must be kept before the first mail, and in which order are mail
    and note? The mail house sends nothing twice under one key.
Hint: `start = memory.get("position")`; if it is None, `await memory.set("position", store.last())`. Then for
    each order: `await mail(order.message.body["customer"], key=order.message.id)`, and after it `await
    memory.set("position", order.position)`.
Why: It begins at the present, and keeps that at once, so a death before the first mail forgets nothing. After
    a death the last mail may be asked for again, and its key, which is the event's id, makes that harmless.

old-customers: Old customers got a mail. Their orders are facts, but the mail is for what happens from now on.
lost-mail: A customer got no mail. Its order was noted before the mail was sent, or came while nobody knew
    where to go on.
second-mail: A customer got two mails. After a death the last one is not known to be sent, and without the
    same key it is another mail.
one-key: Mails for several customers were asked for under one key. The mail house takes them for one mail.
stopped-early: It returned, or waits for something else, before all orders were there. It runs until it is
    stopped.
error-came-out (raised): The function raised an error. The mailer goes on until it is stopped.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...event_sourcing import MemoryEventStore, Recorded
from ...message import Message
from ...trace import Kind, Trace, acting, record, whoami

__all__ = ["EXERCISE", "old_and_new_orders"]

NEW = 8


class Orders:
    """The event store as the reactor sees it."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    async def read_all(self, after: int) -> list[Recorded]:
        """The orders above this position; waits until there is one."""
        await self._store.wait(after=after)
        return await self._store.read_all(after=after)

    def last(self) -> int:
        """The position of the newest order."""
        return self._store.committed_up_to


class Memory:
    """A memory that outlives the process."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The value that is kept under this name, or None."""
        return self._kept.get(name)

    async def set(self, name: str, value: Any) -> None:
        """Keep it. Deaths come before it is kept, or after."""
        await anyio.sleep(0.05)
        self._kept[name] = value
        record(Kind.NOTE, "memory", text=f"{name} = {value!r}")
        await anyio.sleep(0.05)


async def old_and_new_orders(react: kit.Answer, seed: int) -> None:
    """Play some old orders and eight new ones. The process dies before its first mail, and twice more."""
    chance, store, memory = Random(seed), MemoryEventStore("orders"), Memory()
    keys, asked, calls, old = set[str](), list[str](), 0, chance.randint(13, 16)

    async def order(number: int) -> None:
        body = {"customer": f"customer {number}"}
        await store.append(f"order {number}", [Message(body, "OrderPlaced", id=f"order {number}")])

    async def mail(customer: str, key: str | None = None) -> None:
        nonlocal calls
        if not isinstance(customer, str):
            raise TypeError(f"a mail goes to a customer, such as 'customer 1', and not to {customer!r}")
        calls += 1
        if calls == 1:
            await kit.die()  # it was called and nothing was sent
        await anyio.sleep(0.1)
        asked.append(str(customer))
        if key is None or str(key) not in keys:
            sent = Message(None, id=str(customer))
            record(Kind.SENT, "mail house", sent.id, who=whoami(), label=f"mail to {customer}")
            kit.happens(sent, "mail")
            keys.add(str(key))
        if calls in (3, 6):
            await kit.die()  # it was sent, and the answer did not come
        await anyio.sleep(0.1)

    with acting("shop"):
        for number in range(1, old + 1):
            await order(number)
        async with kit.participants() as start:
            start("mailer", react, Orders(store), memory, mail, deaths=3)
            await anyio.sleep(2)
            for number in range(old + 1, old + NEW + 1):
                await order(number)
                await anyio.sleep(chance.uniform(0.1, 1.5))
            await anyio.sleep(20)
    record(Kind.STATE, "shop", was="open", now="closed", reason="the day is over")
    kit.write_down(asked=asked, old=old)


def judge(trace: Trace) -> kit.Symptoms:
    asked, old = kit.facts(trace)["asked"], kit.facts(trace)["old"]
    mails = Counter(event.message for event in kit.effects(trace))
    seen = trace.filter(Kind.SENT, Kind.CRASHED, Kind.NOTE, where=None)
    for number in range(1, old + NEW + 1):
        customer = f"customer {number}"
        shown = [event for event in seen if event.where == "memory" or event.kind == Kind.CRASHED]
        shown += trace.filter(message=customer)
        if number <= old and mails[customer]:
            words = f"{customer} ordered before the mailer was there, and got a mail."
            yield kit.seen("old-customers", words, shown[-8:])
        elif mails[customer] > 1:
            yield kit.seen("second-mail", f"{customer} got {mails[customer]} mails.", shown[-8:])
        elif number > old and not mails[customer]:
            later = any(mails[f"customer {n}"] for n in range(number + 1, old + NEW + 1))
            mistake = "one-key" if asked.count(customer) else "lost-mail" if later else "stopped-early"
            yield kit.seen(mistake, f"{customer} got no mail.", shown[-8:])


EXERCISE = kit.exercise(__name__, __doc__, kit.play(old_and_new_orders), judge)
