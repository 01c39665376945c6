"""A system that is not there is a ConnectionError, whatever its client raises."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import anyio
import asyncpg
import pytest
from confluent_kafka import KafkaError

from eip_ref.field import kafka, nats_core, postgresql, reaching
from eip_ref.field.servers import SERVERS, Envoy, KurrentDB, Server
from eip_ref.field.servers.server import HOST, place_on_loopback

from .conftest import Servers
from .promises import SOON
from .systems import SYSTEMS
from .verdicts import System

CONNECT = set(SERVERS) - {Envoy, KurrentDB}  #: when they are opened, by a client of the extra `field`
ADAPTERS = [system for system in SYSTEMS if system.server in CONNECT]


@asynccontextmanager
async def nobody(server: Server) -> AsyncIterator[None]:
    """A port on which nobody listens: the connection is refused."""
    yield


@asynccontextmanager
async def somebody_who_hangs_up(server: Server) -> AsyncIterator[None]:
    """As a server does that is about to begin, or to end: whoever comes is let in, and sent away.

    In one step: a task that is cancelled between the two would leave the connection open.
    """
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, server.port)) as place:
        loop.add_reader(place, lambda: place.accept()[0].close())
        try:
            yield
        finally:
            loop.remove_reader(place)


@pytest.mark.parametrize("who", [nobody, somebody_who_hangs_up], ids=lambda who: who.__name__)
@pytest.mark.parametrize("at", ADAPTERS, ids=lambda system: system.id)
def test_a_system_that_is_not_there_is_a_connection_error(
    at: System,
    who: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a word on the reason; whichever pattern it has, and whether it is refused or let in."""
    monkeypatch.setattr(kafka, "ANSWER", 1.0)
    server = at.server(tmp_path)

    async def main() -> None:
        async with who(server):
            with anyio.fail_after(SOON), pytest.raises(ConnectionError, match=r"orders.*: \S"):
                async with at.open(server, "orders"):
                    raise AssertionError("it was opened")

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize("at", ADAPTERS, ids=lambda system: system.id)
def test_a_name_that_a_system_cannot_have_is_told_from_a_system_that_is_gone(
    at: System, servers: Servers
) -> None:
    """To connect again would not help. Where the name is good, it is used."""
    if missing := at.server.missing():
        pytest.skip(missing)

    async def main() -> None:
        for odd in ("or ders", "orders/*", "orders\r\n", "orders?\N{HOT BEVERAGE}", "o" * 200):
            with suppress(ValueError):
                async with at.open(servers.running(at.server), f"{odd}-{uuid4()}"):
                    pass

    anyio.run(main, backend="asyncio")


def test_a_topic_is_made_when_the_broker_knows_it_and_leads_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kafka confirms one that its nodes have not heard of yet, and says then that it is not there."""
    unknown, unled = map(KafkaError, (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE))
    answers = [(unknown, []), (None, [None, unled]), (None, [None, None])]

    def list_topics(name: str, timeout: float) -> Any:
        error, parts = answers.pop(0)
        partitions = {number: SimpleNamespace(error=part) for number, part in enumerate(parts)}
        return SimpleNamespace(topics={name: SimpleNamespace(error=error, partitions=partitions)})

    made: Future[None] = Future()
    made.set_result(None)
    admin = SimpleNamespace(create_topics=lambda *_, **__: {"orders": made}, list_topics=list_topics)
    monkeypatch.setattr(kafka, "AdminClient", lambda settings: admin)
    anyio.run(partial(kafka.make_topic, "", "orders", partitions=2, config={}), backend="asyncio")
    assert answers == []


def test_an_error_without_words_is_told_by_its_name() -> None:
    """Several clients raise such errors."""
    with pytest.raises(ConnectionError, match=r"^orders: BrokenPipeError$"), reaching("orders", (OSError,)):
        raise BrokenPipeError


def test_a_server_keeps_its_port_also_while_it_does_not_run() -> None:
    """Nobody else is given it, and who asks there is refused; the server itself may listen on it."""
    with place_on_loopback() as place, socket.socket() as other, socket.socket() as server:
        with pytest.raises(OSError, match="in use"):
            other.bind(place.getsockname())
        assert other.connect_ex(place.getsockname()) != 0
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(place.getsockname())
        server.listen()
        with socket.create_connection(place.getsockname()):
            pass


def said(kind: bytes, words: bytes) -> bytes:
    """A message of PostgreSQL's protocol."""
    return kind + struct.pack("!I", 4 + len(words)) + words


def test_a_database_that_ends_while_it_is_asked_nothing_is_a_connection_error() -> None:
    """It says so, and asyncpg calls the next statement an error of its own, until the connection ends."""
    hello = said(b"R", bytes(4)) + said(b"S", b"server_version\x0015.18\0") + said(b"Z", b"I")
    crash = said(b"E", b"SFATAL\0C57P02\0Mthe server process has crashed\0\0")

    ended = asyncio.Event()

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(hello + crash)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async def main() -> None:
        async with await asyncio.start_server(end, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            one = await asyncpg.connect(f"postgresql://nobody@{HOST}:{port}/nothing", ssl=False)
            with pytest.raises(ConnectionError, match="operation"), reaching("orders", postgresql.LOST):
                await one.execute("select 1")
            one.terminate()
            await ended.wait()

    asyncio.run(main())


def test_a_client_of_nats_leaves_no_connection_open_that_came_to_nothing() -> None:
    """It connects anew until a server speaks to it, and forgets those that only let it in."""
    met = 0
    tried = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        if met == 1:
            writer.write(b"INFO {}\r\n")
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
        writer.close()
        await writer.wait_closed()
        if met == 3:
            tried.set()

    async def main() -> None:
        async with await asyncio.start_server(serve, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with nats_core.connected(f"nats://{HOST}:{port}", "orders"):
                with anyio.fail_after(SOON):
                    await tried.wait()

    asyncio.run(main())
