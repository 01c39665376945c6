"""Answers to the toy exercises, right and wrong, and the toy lesson's solution notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

Charge = Callable[[str], Coroutine[Any, Any, None]]


async def ack_last(orders: Any, charge: Charge) -> None:
    while (order := await orders.take()) is not None:
        await charge(order)
        await orders.ack(order)


async def ack_first(orders: Any, charge: Charge) -> None:
    while (order := await orders.take()) is not None:
        await orders.ack(order)
        await charge(order)


async def not_started(orders: Any, charge: Charge) -> None:
    # YOUR CODE HERE
    raise NotImplementedError()


async def waits_for_ever(orders: Any, charge: Charge) -> None:
    while await orders.take() is not None:
        await anyio.Event().wait()


async def goes_round(orders: Any, charge: Charge) -> None:
    while True:
        await orders.take()


async def never_sleeps(orders: Any, charge: Charge) -> None:
    while True:
        await anyio.lowlevel.checkpoint()


async def divides(orders: Any, charge: Charge) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(charge, await orders.take())
        print(1 / 0)


async def disconnects(orders: Any, charge: Charge) -> None:
    raise ConnectionError("no route")


async def exits(orders: Any, charge: Charge) -> None:
    raise SystemExit(3)


async def ends_the_process(orders: Any, charge: Charge) -> None:
    os._exit(1)


def cell(source: str, grade_id: str = "", *, kind: str = "code", **nbgrader: Any) -> dict[str, Any]:
    """A notebook cell, with nbgrader's metadata when it has a grade_id."""
    metadata: dict[str, Any] = {}
    if grade_id:
        base = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3}
        metadata["nbgrader"] = base | {"grade_id": grade_id} | nbgrader
    made = {"cell_type": kind, "id": grade_id or f"c-{len(source)}", "metadata": metadata, "source": source}
    return made | ({"outputs": [], "execution_count": 4} if kind == "code" else {})


def answer(source: str, grade_id: str) -> dict[str, Any]:
    return cell(source, grade_id, solution=True)


def check(name: str, answer: str, points: int) -> dict[str, Any]:
    grade_id = f"{name.partition('/')[2]}-check"
    return cell(f'check("{name}", {answer})', grade_id, grade=True, locked=True, points=points)


def notebook(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


WORKER = '''async def worker(orders, charge):
    """Work until no order is left."""
    while (order := await orders.take()) is not None:
        ### BEGIN SOLUTION
        #~ await orders.ack(order)
        #~ await charge(order)
        await charge(order)
        await orders.ack(order)
        ### END SOLUTION'''
MODE = """def mode(job):
    ### BEGIN SOLUTION
    return {"payment": "ack last"}.get(job, "ack first")
    ### END SOLUTION"""
TEST = """async def test_bell(make):
    ### BEGIN SOLUTION
    with anyio.fail_after(60):
        assert await make().ring() == "ding"
    ### END SOLUTION"""

SOLUTION = (
    cell("# Toys", kind="markdown"),
    cell("import anyio\nfrom eip_ref.autograder import check, hint, reset, solution"),
    answer(WORKER, "mend_the_worker"),
    check("toy/mend_the_worker", "worker", 3),
    answer(MODE, "choose_the_mode"),
    check("toy/choose_the_mode", "mode", 1),
    answer(TEST, "write_the_test"),
    check("toy/write_the_test", "test_bell", 2),
)
