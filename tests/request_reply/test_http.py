"""Request–reply over real HTTP on loopback: the same sentences, with sockets and the real clock.

No test waits for a number of seconds: each waits for something to happen, and a timeout is one that
can only come true.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from eip_ref.lab.invariants import check
from eip_ref.lab.invariants.replies import no_stray_reply
from eip_ref.message import Message
from eip_ref.request_reply import (
    Busy,
    ClosedWhileWaiting,
    DeadlinePassed,
    NoResponder,
    NotDelivered,
    RemoteErrors,
    Replier,
    TimedOut,
    TransportError,
    request_again,
)
from eip_ref.request_reply.envelope import MAX_BYTES
from eip_ref.request_reply.http import BODY_TIMEOUT, HttpRequestor, serve, service
from eip_ref.trace import Trace, recording
from tests import slow_client
from tests.backends import virtual_time_only
from tests.request_reply.test_request_reply import CardDeclined, Handle, fate

LONG = 60.0  #: never reached; a test that would wait so long has failed
ERRORS = RemoteErrors(CardDeclined)


def run(scenario: Callable[[], Awaitable[Any]]) -> Trace:
    """Run on asyncio with the real clock, and judge the trace."""

    async def main() -> Trace:
        with recording() as recorder, anyio.fail_after(LONG / 2):
            result = await scenario()
        return Trace(recorder.events, result=result)

    trace = anyio.run(main)
    assert check(trace, no_stray_reply) == []
    return trace


@asynccontextmanager
async def online(handle: Handle, **bounds: Any) -> AsyncIterator[HttpRequestor]:
    """A shop that can ask the stock over HTTP."""
    replier = Replier(handle, name="stock", errors=ERRORS, **{"grace": 0, **bounds})
    async with serve(replier, "/stock") as url, httpx.AsyncClient() as client:
        with HttpRequestor(client, url, name="shop", errors=ERRORS) as shop:
            yield shop


class Gate:
    """A handler that says when it has begun, and answers when it is allowed to."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.open = anyio.Event()
        self.asked: list[Message] = []

    async def __call__(self, request: Message) -> str:
        self.asked.append(request)
        self.begun.set()
        await self.open.wait()
        return f"answer {len(self.asked)} to {request.body}"


async def echo(request: Message) -> Any:
    return [request.body, request.type, request.key]


# Answers and errors


def test_no_responder_fails_fast() -> None:
    """Nobody listens at the port, or nobody at the path: definite, and no timeout."""

    async def scenario() -> list[Any]:
        async with online(echo) as shop:
            elsewhere = HttpRequestor(shop._client, str(shop._url).replace("/stock", "/nothing"), name="lost")
            learned = [await fate(elsewhere.request(1, timeout=LONG))]
        async with httpx.AsyncClient() as client:
            away = HttpRequestor(client, shop._url, name="away")
            return [*learned, await fate(away.request(1, timeout=LONG))]

    assert run(scenario).result == [NoResponder, NoResponder]


def test_a_busy_replier_refuses_and_is_asked_again() -> None:
    """Definite, so that even a request without a key is repeated, until there is room."""

    async def scenario() -> Any:
        gate = Gate()
        async with online(gate, concurrency=1, backlog=0) as shop, anyio.create_task_group() as group:
            group.start_soon(fate, shop.request("first", timeout=LONG))
            await gate.begun.wait()
            learned = await fate(shop.request("second", timeout=LONG))
            gate.open.set()
            return learned, (await request_again(shop, "third", timeout=LONG, pauses=[0.01] * 500)).body

    assert run(scenario).result == (Busy, "answer 2 to third")


def test_a_copy_of_an_attempt_is_not_carried_out_a_second_time() -> None:
    """A client library that resends on a broken connection changes nothing: one effect, the same answer."""

    async def scenario() -> Any:
        gate = Gate()
        async with online(gate) as shop, anyio.create_task_group() as group:
            group.start_soon(fate, shop.request("order 17", timeout=LONG))
            await gate.begun.wait()
            headers = {"Request-Timeout": "60", "Correlation-Id": gate.asked[0].id}
            body = {"body": "order 17", "type": "", "key": None}
            while_it_runs = await shop._client.post(shop._url, json=body, headers=headers)
            gate.open.set()
            again = await shop._client.post(shop._url, json=body, headers=headers)
            while again.status_code == 409:
                again = await shop._client.post(shop._url, json=body, headers=headers)
            return while_it_runs.status_code, again.json()["body"]

    trace = run(scenario)
    assert trace.result == (409, "answer 1 to order 17")
    assert trace.count("started") == 1


def test_the_status_tells_those_who_know_only_http() -> None:
    """Carried out, failed, unknown, a key of something else, busy; what is exact stands in the body."""

    async def scenario() -> dict[str, int]:
        gate, ends = Gate(), {"fails": KeyError("stock"), "in doubt": TimedOut("the bank")}
        codes: dict[str, int] = {}

        async def handle(request: Message) -> Any:
            if request.body in ends:
                raise ends[request.body]
            return await gate(request) if request.body == "slow" else "done"

        async def ask(body: str, operation: str = "") -> None:
            headers = {"Request-Timeout": "60", "Correlation-Id": body, "Idempotency-Key": operation or body}
            asked = {"body": body, "type": "", "key": None}
            codes[body] = (await shop._client.post(shop._url, json=asked, headers=headers)).status_code

        async with online(handle, concurrency=1, backlog=0) as shop, anyio.create_task_group() as group:
            for body in ("works", "fails", "in doubt"):
                await ask(body)
            await ask("other", operation="works")
            group.start_soon(ask, "slow")
            await gate.begun.wait()
            await ask("busy")
            gate.open.set()
        return codes

    codes = {"works": 200, "fails": 500, "in doubt": 500, "other": 422, "busy": 503, "slow": 200}
    assert run(scenario).result == codes


# Deadlines


def test_the_deadline_alone_says_how_long_to_wait() -> None:
    """A client with a timeout of its own does not cut an answer short: whose end would that have been?"""

    async def scenario() -> Any:
        replier = Replier(echo, name="stock", grace=0)
        async with serve(replier) as url, httpx.AsyncClient(timeout=1e-9) as client:
            return await fate(HttpRequestor(client, url, name="shop").request("tea", timeout=LONG))

    assert run(scenario).result == ["tea", "", None]


def test_work_that_is_not_wanted_any_more_is_refused() -> None:
    """A request that arrives with nothing left is not begun; a requestor says so before sending."""

    async def scenario() -> Any:
        async with online(echo) as shop:
            local = await fate(shop.request(1, timeout=0))
            headers = {"Request-Timeout": "0", "Correlation-Id": "m1"}
            body = {"body": 1, "type": "", "key": None}
            raw = await shop._client.post(shop._url, json=body, headers=headers)
            return local, raw.status_code, raw.json()["error"]

    trace = run(scenario)
    assert trace.result == (DeadlinePassed, 504, "DeadlinePassed")
    assert trace.count("started") == 0


# The way breaks down


@asynccontextmanager
async def impostor(answer: bytes) -> AsyncIterator[HttpRequestor]:
    """A server that reads a request, sends these bytes, and hangs up."""

    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            if answer:
                await stream.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group, httpx.AsyncClient() as client:
        group.start_soon(listener.serve, hang_up)
        yield HttpRequestor(client, f"http://127.0.0.1:{port}/", name="shop")
        group.cancel_scope.cancel()


def said(content: bytes, *headers: bytes) -> bytes:
    """A response to the first request, as bytes."""
    head = b"HTTP/1.1 200 OK\r\nCorrelation-Id: m1\r\n%sContent-Length: %d\r\n\r\n"
    return head % (b"".join(headers), len(content)) + content


DEEP = b"[" * 60_000
BOMB = gzip.compress(bytes(100 * MAX_BYTES))
OTHER = b'{"id": "m99.stock", "body": "yours", "outcome": "answer", "error": ""}'


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCorrelation-Id: m99\r\n\r\n%s" % (len(OTHER), OTHER),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCorrelation-Id: m1\r\n\r\n{}",
        *map(said, [DEEP, b"[" * MAX_BYTES + b"[", OTHER[:-1] + b', "to": "m1", "body": NaN}']),
        said(BOMB, b"Content-Encoding: gzip\r\n"),
    ],
    ids=["hung up", "502", "another's", "no reply", "deep", "long", "nan", "bomb"],
)
def test_a_connection_that_breaks_down_or_a_strange_answer_is_a_transport_error(answer: bytes) -> None:
    """Indefinite: the request may have arrived. An answer to another request is never taken."""

    async def scenario() -> Any:
        async with impostor(answer) as shop:
            return await fate(shop.request(1, timeout=LONG))

    assert run(scenario).result is TransportError


def test_close_ends_a_request_that_waits_for_its_response() -> None:
    """With the error of its own, and at once."""

    async def scenario() -> Any:
        gate, learned = Gate(), []
        async with online(gate) as shop:

            async def ask() -> None:
                learned.append(await fate(shop.request("order 17", timeout=LONG)))

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await gate.begun.wait()
                shop.close()
        return learned

    assert run(scenario).result == [ClosedWhileWaiting]


def test_what_is_no_url_is_refused_where_it_is_given() -> None:
    """Not when somebody asks."""
    with pytest.raises(httpx.InvalidURL):
        HttpRequestor(httpx.AsyncClient(), "http://127.0.0.1:no port/")


def test_a_request_that_is_no_json_is_certainly_not_sent() -> None:
    """Nor is one to an address that is none; and what is no request is answered with 400, not carried out."""

    async def scenario() -> Any:
        async with online(echo) as shop:
            learned = [await fate(shop.request({1, 2}, timeout=LONG))]
            nowhere = HttpRequestor(shop._client, "carrier-pigeon://stock", name="lost")
            learned.append(await fate(nowhere.request(1, timeout=LONG)))
            codes = []
            for content, headers in [
                (b"?", {"Request-Timeout": "1", "Correlation-Id": "m1"}),
                (b"[]", {"Request-Timeout": "1", "Correlation-Id": "m1"}),
                (b"{}", {"Request-Timeout": "soon", "Correlation-Id": "m1"}),
                (b'{"body": 1, "type": "", "key": null}', {"Request-Timeout": "nan", "Correlation-Id": "m1"}),
                (b'{"body": 1, "type": "", "key": null}', {"Request-Timeout": "1"}),
                (b'{"body": 1, "type": 7, "key": null}', {"Request-Timeout": "1", "Correlation-Id": "m1"}),
                (b'{"body": NaN, "type": "", "key": null}', {"Request-Timeout": "1", "Correlation-Id": "m1"}),
                (DEEP, {"Request-Timeout": "1", "Correlation-Id": "m1"}),
                (gzip.compress(b"{}"), {"Content-Encoding": "gzip"}),
                (b"[" * MAX_BYTES + b"[", {}),
            ]:
                codes.append(
                    (await shop._client.post(shop._url, content=content, headers=headers)).status_code
                )
            return learned, codes

    trace = run(scenario)
    assert trace.result == ([NotDelivered, NotDelivered], [400] * 9 + [413])
    assert trace.count("started") == 0


def test_the_package_needs_no_http_library() -> None:
    """`import eip_ref.request_reply` needs anyio alone; the module for HTTP is asked for by name."""
    code = "import sys, eip_ref.request_reply; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) & {"httpx", "starlette", "uvicorn"} == set()


@virtual_time_only
async def test_a_client_that_sends_its_body_slowly_is_refused() -> None:
    """Its request has not begun, and its connection ends."""
    async with Replier(print, name="stock") as replier:
        status, headers, seconds = await slow_client.answer(service(replier), "/")
    assert (status, headers["connection"], seconds) == (408, "close", BODY_TIMEOUT)
