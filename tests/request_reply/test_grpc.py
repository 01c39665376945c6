"""Request–reply over real gRPC on loopback: the same sentences, with sockets and the real clock."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest

from eip_ref.message import Message
from eip_ref.request_reply import (
    DeadlinePassed,
    NoResponder,
    NotDelivered,
    Replier,
    TransportError,
)
from eip_ref.request_reply.envelope import MAX_BYTES
from eip_ref.request_reply.grpc import SERVICE, GrpcRequestor, serve
from tests.request_reply.test_http import ERRORS, LONG, Gate, echo, run
from tests.request_reply.test_request_reply import Handle, fate

OTHER = b'{"to": "m99", "id": "x", "body": 1, "outcome": "answer", "error": ""}'


@asynccontextmanager
async def online(handle: Handle, **bounds: Any) -> AsyncIterator[GrpcRequestor]:
    """A shop that can ask the stock over gRPC."""
    replier = Replier(handle, name="stock", errors=ERRORS, **{"grace": 0, **bounds})
    async with serve(replier) as address, grpc.aio.insecure_channel(address) as channel:
        with GrpcRequestor(channel, name="shop", errors=ERRORS) as shop:
            yield shop


async def raw(shop: GrpcRequestor, content: bytes, *metadata: tuple[str, str], timeout: float | None) -> Any:
    """A call by hand: what came back, or the status."""
    call: Any = shop._channel.unary_unary(f"/{SERVICE}/Ask")
    try:
        return json.loads(await call(content, metadata=metadata, timeout=timeout))
    except grpc.aio.AioRpcError as error:
        return error.code().name


def test_no_responder_fails_fast() -> None:
    """Nobody listens at the port, or nobody has the method: definite, and no timeout."""

    async def scenario() -> list[Any]:
        replier = Replier(echo, name="stock")
        async with serve(replier) as address, grpc.aio.insecure_channel(address) as channel:
            elsewhere = GrpcRequestor(channel, service="eip.Nothing", name="lost")
            learned = [await fate(elsewhere.request(1, timeout=LONG))]
        async with grpc.aio.insecure_channel(address) as channel:
            away = GrpcRequestor(channel, name="away")
            return [*learned, await fate(away.request(1, timeout=LONG))]

    assert run(scenario).result == [NoResponder, NoResponder]


def test_a_connection_that_breaks_while_the_answer_is_awaited_is_indefinite() -> None:
    """gRPC says UNAVAILABLE here too, and this time the request has arrived."""

    async def scenario() -> Any:
        gate, learned = Gate(), []
        replier = Replier(gate, name="stock", grace=0)

        async def ask(address: str) -> None:
            async with grpc.aio.insecure_channel(address) as channel:
                shop = GrpcRequestor(channel, name="shop")
                learned.append(await fate(shop.request("order 17", timeout=LONG)))

        async with anyio.create_task_group() as group, serve(replier) as address:
            group.start_soon(ask, address)
            await gate.begun.wait()
        return learned

    assert run(scenario).result == [TransportError]


def test_a_cancelled_request_ends_as_cancelled_and_frees_its_place() -> None:
    """Whoever gives up is neither answered nor told of a broken connection."""

    async def scenario() -> Any:
        gate, learned = Gate(), []
        async with online(gate) as shop:

            async def ask() -> None:
                learned.append(await fate(shop.request("order 17", timeout=LONG)))

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await gate.begun.wait()
                group.cancel_scope.cancel()
            return learned, shop.waiting

    assert run(scenario).result == ([], 0)


def test_a_task_that_asyncio_itself_cancels_ends_as_cancelled_too() -> None:
    """Not every cancellation is anyio's; none of them is a broken connection."""

    async def scenario() -> bool:
        gate = Gate()
        async with online(gate) as shop:
            task = asyncio.create_task(fate(shop.request("order 17", timeout=LONG)))
            await gate.begun.wait()
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    assert run(scenario).result


def test_shutting_down_lets_what_has_begun_finish_and_answers_it() -> None:
    """It takes no more, and drains what is in flight for as long as the replier's grace."""

    async def scenario() -> Any:
        gate, learned = Gate(), []
        replier = Replier(gate, name="stock", grace=LONG)

        async def ask(address: str) -> None:
            async with grpc.aio.insecure_channel(address) as channel:
                learned.append(await fate(GrpcRequestor(channel, name="shop").request("tea", timeout=LONG)))

        async def open_after_the_close() -> None:
            while replier._open:
                await anyio.sleep(0.001)
            await anyio.sleep(0.1)  # a server that did not wait would have hung up by now
            gate.open.set()

        async with anyio.create_task_group() as group, serve(replier) as address:
            group.start_soon(ask, address)
            await gate.begun.wait()
            group.start_soon(open_after_the_close)
        return learned

    assert run(scenario).result == ["answer 1 to tea"]


def test_what_still_runs_when_the_grace_is_over_is_cancelled_and_ends_before_the_block() -> None:
    """Nobody waits for its answer any more."""

    async def scenario() -> list[str]:
        begun, ended = anyio.Event(), list[str]()

        async def handle(request: Message) -> None:
            begun.set()
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                await anyio.sleep(0.01)
                ended.append("cancelled")
                raise

        async def ask(address: str) -> None:
            async with grpc.aio.insecure_channel(address) as channel:
                await fate(GrpcRequestor(channel, name="shop").request("tea", timeout=LONG))

        async with anyio.create_task_group() as group:
            async with serve(Replier(handle, name="stock", grace=0)) as address:
                group.start_soon(ask, address)
                await begun.wait()
            ended.append("served")
            group.cancel_scope.cancel()
        return ended

    assert run(scenario).result == ["cancelled", "served"]


def test_a_copy_of_an_attempt_is_not_carried_out_a_second_time() -> None:
    """While the first is at work a copy is turned away; afterwards it gets the same answer."""

    async def scenario() -> Any:
        gate = Gate()
        async with online(gate) as shop, anyio.create_task_group() as group:
            group.start_soon(fate, shop.request("order 17", timeout=LONG))
            await gate.begun.wait()
            body = json.dumps({"body": "order 17", "type": "", "key": None}).encode()
            copied = ("correlation-id", gate.asked[0].id)
            while_it_runs = await raw(shop, body, copied, timeout=LONG)
            gate.open.set()
            again = await raw(shop, body, copied, timeout=LONG)
            while again == "ALREADY_EXISTS":
                again = await raw(shop, body, copied, timeout=LONG)
            return while_it_runs, again["body"]

    trace = run(scenario)
    assert trace.result == ("ALREADY_EXISTS", "answer 1 to order 17")
    assert trace.count("started") == 1


@pytest.mark.parametrize(
    "answer",
    [OTHER, b"?", b"[]", b"[" * 60_000, OTHER.replace(b"m99", b"m1").replace(b"1,", b"NaN,")],
    ids=range(5),
)
def test_an_answer_to_another_request_is_never_taken(answer: bytes) -> None:
    """Nor one that is no reply: what came of this request is unknown."""

    async def other(content: bytes, context: Any) -> bytes:
        return answer

    async def scenario() -> Any:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        handler: Any = {"Ask": grpc.unary_unary_rpc_method_handler(other)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handler),))
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            learned = await fate(GrpcRequestor(channel, name="shop").request(1, timeout=LONG))
        await server.stop(0)
        return learned

    assert run(scenario).result is TransportError


def test_a_request_without_a_deadline_or_with_none_left_is_not_begun() -> None:
    """The article's gRPC call has no deadline; here it is turned away, and so is what is no request."""

    async def scenario() -> Any:
        async with online(echo) as shop:
            body = b'{"body": 1, "type": "", "key": null}'
            named = ("correlation-id", "m1")
            return [
                await fate(shop.request(1, timeout=0)),
                await raw(shop, body, named, timeout=None),
                await raw(shop, b"?", named, timeout=LONG),
                await raw(shop, b"{}", named, timeout=LONG),
                await raw(shop, b"[" * 60_000, named, timeout=LONG),
                await raw(shop, body.replace(b"1", b"NaN"), named, timeout=LONG),
                await raw(shop, body.replace(b"1", b'"%s"' % (b"x" * MAX_BYTES)), named, timeout=LONG),
                await raw(shop, body, timeout=LONG),
                await fate(shop.request({1, 2}, timeout=LONG)),
            ]

    trace = run(scenario)
    assert trace.result == [DeadlinePassed, *["INVALID_ARGUMENT"] * 7, NotDelivered]
    assert trace.count("started") == 0


def test_the_package_needs_no_grpc() -> None:
    """`import eip_ref.request_reply` needs anyio alone; the module for gRPC is asked for by name."""
    code = "import sys, eip_ref.request_reply; print('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
