"""A service that is asked directly, in a process of its own, at two addresses. Its handlers run in the test.

`python -m tests.field.service_process http|grpc WORKERS ADDRESS ADDRESS`, each of them a port. A worker
connects to the first, names its service, and is given an address where it is free. Then it gets the requests
and sends back what comes of each, one line of JSON for each.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import grpc
import grpc.aio
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from eip_ref import values
from eip_ref.field.servers.server import HOST
from eip_ref.field.wire import decoded, encoded
from eip_ref.message import Handler, Message
from eip_ref.request_reply import Replier
from eip_ref.request_reply import grpc as over_grpc
from eip_ref.request_reply import http as over_http
from eip_ref.sockets import listening_socket
from eip_ref.tasks import asyncio_tasks, background

__all__ = ["working"]

PAUSE = 0.05  #: seconds between two attempts of a worker to find its service again


# In the test


@asynccontextmanager
async def working(port: int, name: str, handle: Handler) -> AsyncIterator[None]:
    """Serve requests to `name` with this handler while the block runs, after a restart of the service too."""
    async with background() as tasks:
        await tasks.start(_work, port, name, handle)
        yield


async def _work(
    port: int,
    name: str,
    handle: Handler,
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    told = False
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                _say(writer, name)
                if not json.loads(await reader.readline() or "false"):
                    raise ConnectionError(f"there is no free address for {name}")
                if not told:
                    task_status.started()
                    told = True
                async with anyio.create_task_group() as tasks:
                    while line := await reader.readline():
                        tasks.start_soon(_carry_out, writer, handle, *json.loads(line))
            finally:
                writer.close()
        await anyio.sleep(PAUSE)


async def _carry_out(writer: asyncio.StreamWriter, handle: Handler, number: int, content: str) -> None:
    try:
        answer, error = await values.finished(handle(decoded(content.encode()))), ""
    except Exception as failure:
        answer, error = None, type(failure).__name__
    _say(writer, [number, answer, error])


def _say(writer: asyncio.StreamWriter, what: Any) -> None:
    writer.write(json.dumps(what).encode() + b"\n")


# In the process of the service


class Worker:
    """The handler of a service, at the other end of a connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[tuple[Any, str]]] = {}

    async def handle(self, request: Message) -> Any:
        """Return what the handler over there returns, or raise an error of the same name."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        _say(self._writer, [number, encoded(request).decode()])
        answer, error = await self._waiting[number]
        if error:
            raise type(error, (Exception,), {})
        return answer

    async def hear(self, reader: asyncio.StreamReader) -> None:
        """Take the answers until the other end is gone; who waits for one then has an error."""
        while line := await reader.readline():
            number, answer, error = json.loads(line)
            self._waiting.pop(number).set_result((answer, error))
        for waiting in self._waiting.values():
            waiting.set_exception(ConnectionError("the worker is gone"))


class HttpAddress:
    """A port at which services are asked for by their paths."""

    def __init__(self) -> None:
        self.services: dict[str, ASGIApp] = {}

    async def open(self, port: int, tasks: anyio.abc.TaskGroup) -> None:
        quiet: Any = {"log_level": "critical", "lifespan": "off"}
        server = uvicorn.Server(uvicorn.Config(self._app, interface="asgi3", **quiet))
        tasks.start_soon(server.serve, [listening_socket(port)])

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].removeprefix("/")
        await self.services.get(name, Response(status_code=404))(scope, receive, send)

    async def serve(self, name: str, replier: Replier, stack: AsyncExitStack) -> None:
        self.services[name] = over_http.service(replier, f"/{name}")
        stack.callback(self.services.pop, name)


class GrpcAddress(grpc.GenericRpcHandler):
    """A port at which services are asked for by their names."""

    def __init__(self) -> None:
        self.services: dict[str, grpc.GenericRpcHandler] = {}

    async def open(self, port: int, tasks: anyio.abc.TaskGroup) -> None:
        server = grpc.aio.server()
        server.add_insecure_port(f"{HOST}:{port}")
        server.add_generic_rpc_handlers((self,))
        await server.start()
        tasks.start_soon(server.wait_for_termination)

    def service(self, details: Any) -> Any:
        """The handler of a call, or None for a service that is not here."""
        found = self.services.get(details.method.split("/")[1])
        return None if found is None else found.service(details)

    async def serve(self, name: str, replier: Replier, stack: AsyncExitStack) -> None:
        start = await stack.enter_async_context(asyncio_tasks())
        self.services[name] = over_grpc.service(replier, start, name)
        stack.callback(self.services.pop, name)


async def _main(kind: str, workers: str, *ports: str) -> None:
    addresses = [GrpcAddress() if kind == "grpc" else HttpAddress() for _ in ports]

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = json.loads(await reader.readline())
        free = next((each for each in addresses if name and name not in each.services), None)
        if free is not None:
            worker = Worker(writer)
            async with AsyncExitStack() as stack:
                replier = await stack.enter_async_context(Replier(worker.handle, name=name, grace=0))
                await free.serve(name, replier, stack)
                _say(writer, True)
                await worker.hear(reader)
        _say(writer, False)
        writer.close()

    async with anyio.create_task_group() as tasks:
        for address, port in zip(addresses, ports, strict=True):
            await address.open(int(port), tasks)
        await asyncio.start_server(meet, HOST, int(workers))


if __name__ == "__main__":
    anyio.run(lambda: _main(*sys.argv[1:]))
