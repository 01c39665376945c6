"""Request–reply over the wires, HTTP and gRPC alike: answers, errors, timeouts and deadlines.

What is different about each wire stands in `test_http.py` and `test_grpc.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Any

import anyio
import pytest

from eip_ref import values
from eip_ref.message import Message
from eip_ref.request_reply import (
    Indefinite,
    KeyReused,
    NotDelivered,
    RemoteError,
    Requestor,
    TimedOut,
    TransportError,
    budget,
)
from eip_ref.request_reply.envelope import MAX_BYTES
from tests.request_reply import test_grpc as by_grpc
from tests.request_reply import test_http as by_http
from tests.request_reply.test_http import LONG, Gate, echo, run
from tests.request_reply.test_request_reply import CardDeclined, fate

Online = Callable[..., AbstractAsyncContextManager[Requestor]]


@pytest.fixture(params=[by_http.online, by_grpc.online], ids=["http", "grpc"])
def online(request: pytest.FixtureRequest) -> Online:
    """A shop that can ask the stock over this wire."""
    wire: Online = request.param
    return wire


def test_an_answer_comes_back_and_both_ends_are_in_the_trace(online: Online) -> None:
    """The body, the type and the key arrive; the reply is correlated with the attempt."""

    async def scenario() -> Message:
        async with online(echo) as shop:
            return await shop.request({"tea": 3}, type="price", key="customer 1", timeout=LONG)

    trace = run(scenario)
    assert trace.result.body == [{"tea": 3}, "price", "customer 1"]
    assert trace.filter("state")[0].message == trace.result.correlation_id
    assert trace.count("started", where="stock") == trace.count("delivered", where="shop") == 1


def test_concurrent_requests_over_one_connection_each_get_their_own_answer(online: Online) -> None:
    """Twenty at the same time: all are in the handler before the first is answered."""

    async def scenario() -> dict[int, Any]:
        got: dict[int, Any] = {}
        inside: list[int] = []
        all_inside = anyio.Event()

        async def handle(request: Message) -> Any:
            inside.append(request.body)
            if len(inside) == 20:
                all_inside.set()
            await all_inside.wait()
            return request.body

        async def ask(shop: Requestor, n: int) -> None:
            got[n] = await fate(shop.request(n, timeout=LONG))

        async with online(handle, concurrency=20) as shop, anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(ask, shop, n)
        return got

    assert run(scenario).result == {n: n for n in range(20)}


@pytest.mark.parametrize(
    ("raised", "learns"),
    [
        (CardDeclined("card 17"), CardDeclined),
        (KeyError("secret"), RemoteError),
        (TimeoutError("db"), RemoteError),
        (TimedOut("the bank"), Indefinite),
    ],
)
def test_a_remote_error_keeps_its_type(online: Online, raised: Exception, learns: type[Exception]) -> None:
    """And it differs from a transport error and from a timeout; words that nobody registered stay there."""

    async def fails(request: Message) -> None:
        raise raised

    async def scenario() -> Exception:
        async with online(fails) as shop:
            with pytest.raises(learns) as caught:
                await shop.request("charge", timeout=LONG)
            return caught.value

    error = run(scenario).result
    assert not isinstance(error, TimedOut | TransportError)
    assert "secret" not in str(error)
    assert not isinstance(error, CardDeclined) or error.args == ("card 17",)


def test_a_timeout_is_indefinite_and_a_later_attempt_gets_the_first_answer(online: Online) -> None:
    """The handler goes on; with the same key the answer is there, and the work was done once."""

    async def scenario() -> Any:
        gate = Gate()
        async with online(gate) as shop:
            timeout = 0.05
            while not gate.begun.is_set():  # on a slow machine the first may not even arrive
                first = await fate(shop.request("order 17", timeout=timeout, idempotency_key="op"))
                timeout *= 2
            gate.open.set()
            second = await fate(shop.request("order 17", timeout=LONG, idempotency_key="op"))
            return first, second, len(gate.asked), shop.waiting

    trace = run(scenario)
    assert trace.result == (TimedOut, "answer 1 to order 17", 1, 0)
    assert trace.count("timed out", where="shop") >= 1  # each attempt before the handler had begun, too


def test_a_key_that_is_used_for_something_else_is_refused(online: Online) -> None:
    """As over channels."""

    async def scenario() -> list[Any]:
        async with online(echo) as shop:
            return [await fate(shop.request(n, timeout=LONG, idempotency_key="op")) for n in (1, 2)]

    assert run(scenario).result[1] is KeyReused


KEYS = (" 17", "17 ", "a/b", "Käse", "%3A", "a\r\nb: c", "\x7f", "z" * 255, "😀" * 255)


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_key_comes_back_as_itself_whatever_is_in_it(online: Online, key: str) -> None:
    """A repetition is known by its key, and never taken for one with a key that only looks alike."""

    async def scenario() -> list[Any]:
        asked: list[Any] = []

        async def handle(request: Message) -> int:
            asked.append(request.body)
            return len(asked)

        async with online(handle) as shop:
            keys = (key, key, key.strip()[:-1] + "!", key.replace("%3A", ":")[:-1] + "?")
            return [await fate(shop.request("op", timeout=LONG, idempotency_key=each)) for each in keys]

    assert run(scenario).result == [1, 1, 2, 3]


def test_what_is_too_long_for_a_wire_is_refused(online: Online) -> None:
    """A request before anything is done; an answer as one that cannot be written: it is no doubt."""

    async def handle(request: Message) -> str:
        return "x" * request.body if isinstance(request.body, int) else "done"

    async def scenario() -> Any:
        async with online(handle) as shop:
            with pytest.raises(RemoteError, match=r"UnwritableAnswer: the answer has 1,048,[67]\d\d bytes"):
                await shop.request(MAX_BYTES, timeout=LONG)
            longest = MAX_BYTES - len(values.encode({"type": "", "key": None, "body": ""}))
            learned = [await fate(shop.request("x" * n, timeout=LONG)) for n in (longest, longest + 1)]
            return learned, await fate(shop.request(MAX_BYTES - 200, timeout=LONG))

    trace = run(scenario)
    assert trace.result == (["done", NotDelivered], "x" * (MAX_BYTES - 200))
    assert trace.count("started") == 3


@pytest.mark.parametrize(
    "answer", [math.nan, {1: "one"}, (1, 2), {"when": date(2024, 2, 29)}, "\ud800"], ids=ascii
)
def test_an_answer_that_no_wire_can_carry_is_a_definite_failure(online: Online, answer: Any) -> None:
    """It says that the work was done and what is wrong with the answer; no key comes back as another one."""

    async def scenario() -> Any:
        async with online(lambda request: answer) as shop:
            with pytest.raises(
                RemoteError, match=r"UnwritableAnswer: the answer to .* cannot be written"
            ) as told:
                await shop.request("price", timeout=LONG)
            return told.value

    assert not isinstance(run(scenario).result, Indefinite)


def test_an_error_of_the_block_comes_out_as_itself(online: Online) -> None:
    """Not in a group, though servers run beside the block."""

    async def scenario() -> None:
        with pytest.raises(ZeroDivisionError):
            async with online(echo):
                raise ZeroDivisionError

    run(scenario)


def test_the_time_that_is_left_is_passed_on_and_shrinks_with_each_hop(online: Online) -> None:
    """Through two services: the second is told what the first has left, less its reserve."""

    async def scenario() -> list[float]:
        left: list[float] = []

        async def far(request: Message) -> str:
            left.append((request.deadline or 0) - anyio.current_time())
            return "there"

        async with online(far) as further:

            async def near(request: Message) -> Any:
                left.append((request.deadline or 0) - anyio.current_time())
                return (await further.request("on", deadline=budget(request, reserve=10))).body

            async with online(near) as shop:
                assert (await shop.request("order 17", timeout=25)).body == "there"
        return left

    first, second = run(scenario).result
    assert 15 < first <= 25
    assert 5 < second <= first - 10
