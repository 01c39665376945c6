"""A process that runs sagas on a real file until it is killed, and says what it knows.

`python -m tests.saga.child <file> <first> <seed>` recovers what was begun, and then runs orders from
number `first` on, several at a time. Log and books are in one file, in transactions of their own.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from itertools import count
from random import Random
from typing import Any

import anyio

from eip_ref.course.saga.order_story import OrderServices, order_saga
from eip_ref.message import Message
from eip_ref.message_queue import Backoff
from eip_ref.saga import NotDone, Orchestrator, Retry, SagaLog, SagaState
from eip_ref.storage import SQLiteStore

FIRST: dict[str, dict[str, Any]] = {
    "customers": {"credit ann": 10**6},
    "payments": {"card ann": 10**6, "stolen eve": True, "card eve": 10**6},
    "inventory": {"stock tea": 10**6, "stock saffron": 0},
}
FIRST["customers"]["credit eve"] = 10**6


def order(number: int) -> dict[str, Any]:
    """Most are completed; every third meets an empty shelf, every fifth a stolen card."""
    item = "saffron" if number % 3 == 0 else "tea"
    customer = "eve" if number % 5 == 0 else "ann"
    return {"customer": customer, "item": item, "quantity": 1, "price": 7}


def expected(number: int) -> str:
    """How an order ends."""
    return "compensated" if number % 3 == 0 or number % 5 == 0 else "completed"


def open_shop(stack: ExitStack, path: str) -> tuple[SagaLog, OrderServices]:
    """Log and books in one file."""
    store = stack.enter_context(SQLiteStore(path))
    return SagaLog(store), OrderServices(FIRST, lambda name: store)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def main(path: str, first: int, seed: int) -> None:
    chance, numbers = Random(seed), count(first)
    with ExitStack() as stack:
        log, shop = open_shop(stack, path)

        async def execute(command: Message) -> Any:
            await anyio.sleep(0)
            if chance.random() < 0.1:
                raise NotDone("busy")
            answer = await shop.execute(command)
            if chance.random() < 0.1:
                raise ConnectionError("the answer was lost")
            return answer

        quick = Retry(attempts=20, backoff=Backoff(initial=0.0001, factor=1))
        orchestrator = Orchestrator(order_saga(retry=quick, undo_retry=quick), log, execute)

        def ended(state: SagaState) -> None:
            say("ended", state.id, state.phase)

        async def customer() -> None:
            for number in numbers:
                say("begun", f"order-{number}")
                ended(await orchestrator.run(f"order-{number}", order(number)))

        for state in await orchestrator.recover():
            ended(state)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(customer)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
