"""The promises of request–reply, asked of real transports."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import uuid4

import aio_pika
import anyio
import anyio.to_thread
import pytest

from eip_ref.field.nats_core import connected, nats_replier, nats_requestor
from eip_ref.field.rabbitmq_exchange import rabbit_replier, rabbit_requestor
from eip_ref.field.servers import NATS, RabbitMQ, Server
from eip_ref.message import Message
from eip_ref.request_reply import Indefinite, NoResponder, RemoteError, RequestError, TimedOut

from .conftest import Servers
from .promises import SOON, Site, promise


async def double(request: Message) -> Any:
    return request.body * 2


async def wait_for_ever(request: Message) -> None:
    await anyio.sleep_forever()


@promise
async def test_each_request_gets_the_reply_to_itself(site: Site) -> None:
    """Many wait at the same time, on one connection, and nobody gets what another asked for."""
    found: dict[int, Any] = {}

    async def ask(number: int) -> None:
        found[number] = (await shop.request(number, timeout=SOON)).body

    async with site.open(handle=double), site.open() as shop:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(ask, number)
        assert found == {number: number * 2 for number in range(50)}


@promise
async def test_repliers_share_the_requests(site: Site) -> None:
    """Two serve; each request is answered by one of them, and each of them answers some."""
    served = {"one": 0, "two": 0}

    def serve(name: str) -> Any:
        async def handle(request: Message) -> str:
            served[name] += 1
            return name

        return handle

    async with site.open(handle=serve("one")), site.open(handle=serve("two")), site.open() as shop:
        for _ in range(40):
            await shop.request("who?", timeout=SOON)
    assert sum(served.values()) == 40
    assert all(served.values()), f"they served {served}"


@promise
async def test_that_nobody_serves_is_told_at_once(site: Site) -> None:
    """No responder is a definite answer, and not a timeout; also when whoever served has just left."""
    async with site.open() as shop:
        await _nobody_serves(site, shop)
        for number in range(30):
            async with site.open(handle=double):
                assert (await shop.request(number, timeout=SOON)).body == number * 2
            await _nobody_serves(site, shop)


async def _nobody_serves(site: Site, shop: Any) -> None:
    start = anyio.current_time()
    try:
        await shop.request(1, timeout=site.unit * 5)
    except NoResponder:
        assert anyio.current_time() - start < site.unit * 5
    except TimedOut as error:
        raise AssertionError("the caller waits until its deadline") from error


@promise
async def test_a_timeout_ends_the_wait(site: Site) -> None:
    """At its time, whatever the replier does."""
    async with site.open(handle=wait_for_ever), site.open() as shop:
        start = anyio.current_time()
        with pytest.raises(TimedOut):
            await shop.request(1, timeout=site.unit)
        assert anyio.current_time() - start >= site.unit * 0.95


@promise
async def test_a_late_reply_goes_to_nobody(site: Site) -> None:
    """The next request gets its own reply, although that to the one before comes first."""
    go_on = anyio.Event()

    async def handle(request: Message) -> Any:
        if request.body == "slow":
            await go_on.wait()
        return request.body

    async with site.open(handle=handle), site.open() as shop:
        with pytest.raises(TimedOut):
            await shop.request("slow", timeout=site.unit)
        go_on.set()
        assert (await shop.request("quick", timeout=SOON)).body == "quick"


@promise
async def test_the_error_of_the_handler_keeps_its_type(site: Site) -> None:
    """It is no timeout, and no fault of the transport."""

    async def handle(request: Message) -> None:
        raise KeyError("no such customer")

    async with site.open(handle=handle), site.open() as shop:
        with pytest.raises(RemoteError, match="KeyError"):
            await shop.request(1, timeout=SOON)


@promise
async def test_a_repeated_operation_is_carried_out_once(site: Site) -> None:
    """By its idempotency key: the second attempt gets the first answer."""
    done: list[Any] = []

    async def handle(request: Message) -> int:
        done.append(request.body)
        return len(done)

    async with site.open(handle=handle), site.open() as shop:
        answers = [await shop.request("pay", idempotency_key="order-1", timeout=SOON) for _ in range(2)]
        assert [answer.body for answer in answers] == [1, 1]
        assert done == ["pay"]


@promise
async def test_the_deadline_reaches_the_replier(site: Site) -> None:
    """On the clock of its process, and no later than the caller's."""
    seen: list[float] = []

    async def handle(request: Message) -> None:
        assert request.deadline is not None
        seen.append(request.deadline - anyio.current_time())

    async with site.open(handle=handle), site.open() as shop:
        await shop.request(1, timeout=SOON)
    assert 0 < seen[0] <= SOON


@promise
async def test_a_request_is_answered_after_a_restart_of_the_broker(site: Site) -> None:
    """Both sides find it again by themselves, without being opened anew."""
    async with site.open(handle=double), site.open() as shop:
        assert (await shop.request(1, timeout=SOON)).body == 2
        await site.restart()
        end = anyio.current_time() + SOON * 3
        answer = None
        while answer != 4:
            assert anyio.current_time() < end, "it finds no replier any more"
            with suppress(Indefinite, NoResponder):
                answer = (await shop.request(2, timeout=1)).body
            await anyio.sleep(0.05)


async def sent_to_rabbitmq(url: str, name: str, content: bytes) -> None:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        await channel.default_exchange.publish(aio_pika.Message(content), name)


async def sent_to_nats(url: str, name: str, content: bytes) -> None:
    async with connected(url, name) as client:
        await client.publish(name, content)
        await client.flush()


@pytest.mark.parametrize(
    ("kind", "replier", "requestor", "send"),
    [
        (NATS, nats_replier, nats_requestor, sent_to_nats),
        (RabbitMQ, rabbit_replier, rabbit_requestor, sent_to_rabbitmq),
    ],
)
def test_what_is_no_request_ends_no_replier(
    kind: type[Server], replier: Any, requestor: Any, send: Any, servers: Servers
) -> None:
    """Whoever may send to it could end it for all others."""
    if missing := kind.missing():
        pytest.skip(missing)
    url, name = servers.running(kind).url, f"requests-{uuid4()}"

    async def main() -> None:
        async with replier(url, name, double), requestor(url, name) as shop:
            for content in (b"", b"17", b'{"body": 17}'):
                await send(url, name, content)
            assert (await shop.request(2, timeout=SOON)).body == 4

    anyio.run(main, backend="asyncio")


def test_a_replier_of_rabbitmq_whose_reply_is_lost_serves_on(servers: Servers) -> None:
    """Its broker dies while it works, and takes the way back along."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    server = servers.running(RabbitMQ)
    name = f"requests-{uuid4()}"

    async def main() -> None:
        begun, go_on = anyio.Event(), anyio.Event()

        async def handle(request: Message) -> Any:
            begun.set()
            await go_on.wait()
            return request.body

        async with (
            rabbit_replier(server.url, name, handle) as replier,
            rabbit_requestor(server.url, name) as shop,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_ask_in_vain, shop)
            await begun.wait()
            await anyio.to_thread.run_sync(server.kill)
            go_on.set()
            with anyio.fail_after(SOON):
                while not replier.unsent:
                    await anyio.sleep(0.05)
            await anyio.to_thread.run_sync(server.start)
            answer = None
            with anyio.fail_after(SOON * 3):
                while answer != "again":
                    with suppress(Indefinite, NoResponder):
                        answer = (await shop.request("again", timeout=1)).body

    anyio.run(main, backend="asyncio")


async def _ask_in_vain(shop: Any) -> None:
    with suppress(Indefinite, NoResponder):
        await shop.request("lost", timeout=2)


@promise
async def test_a_request_that_was_under_way_at_a_kill_is_indefinite(site: Site) -> None:
    """It was begun, so nobody may say that it was not carried out; and the caller does not wait for ever."""
    ended, _ = await killed_under_way(site, timeout=site.unit * 5)
    assert issubclass(ended, Indefinite), f"it ended with {ended.__name__}"


@promise
async def test_who_waits_at_a_kill_is_told_before_the_deadline(site: Site) -> None:
    """The connection broke, and with it the way back."""
    _, after = await killed_under_way(site, timeout=SOON)
    assert after < SOON * 0.95, "the caller waits until its deadline"


async def killed_under_way(site: Site, timeout: float) -> tuple[type[Exception], float]:
    """The error of a request whose broker is killed while it is carried out, and its time in seconds."""
    begun = anyio.Event()
    ended: list[tuple[type[Exception], float]] = []

    async def handle(request: Message) -> None:
        begun.set()
        await anyio.sleep_forever()

    async def ask() -> None:
        start = anyio.current_time()
        try:
            await shop.request(1, timeout=timeout)
        except RequestError as error:
            ended.append((type(error), anyio.current_time() - start))

    async with site.open(handle=handle), site.open() as shop, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        with anyio.fail_after(SOON):
            await begun.wait()
        await site.restart()
    return ended[0]
