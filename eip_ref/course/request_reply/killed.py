"""A bank that is killed for real: a process of its own, over HTTP or gRPC, and SIGKILL while it works.

All else in these lessons runs in virtual time. How a dead server looks from the other end of a wire cannot be
played, so it is tried. The bank's ledger is a file, which outlives it.

*Left out:* a network that breaks between two machines that live. To the caller that looks like a bank that
hangs.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ...request_reply import Indefinite, NotDone, RequestError

__all__ = ["Bank", "ForReal", "for_real"]

HTTP, GRPC, PLAIN = "HTTP", "gRPC", "plain gRPC"
LOOK = 1.5  #: seconds after which we look no longer at a call without a deadline

PROCESS = """
import sys
import anyio
way, ledger = sys.argv[1:]

async def work(order):
    if order["takes"]:
        with open(ledger, "a") as file:
            file.write(order["name"] + "\\n")
    await anyio.sleep(order["takes"])

async def ours():
    from eip_ref.request_reply import Replier, grpc, http
    serve = http.serve if way == "HTTP" else grpc.serve
    async with serve(Replier(lambda request: work(request.body), name="bank", grace=0)) as address:
        print(address, flush=True)
        await anyio.sleep_forever()

async def plain():
    import grpc.aio, json
    async def charge(content, context):
        await work(json.loads(content))
        return b"charged"
    server, handler = grpc.aio.server(), grpc.unary_unary_rpc_method_handler(charge)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Bank", {"Charge": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()

anyio.run(plain if way == "plain gRPC" else ours)
"""

Call = Callable[[dict[str, Any], float | None], Awaitable[str]]


class Bank:
    """The bank as the shop sees it, and what the shop does not have: its ledger, and a way to kill it."""

    def __init__(self, call: Call, path: Path, process: subprocess.Popen[str]) -> None:
        self._call = call
        self._path = path
        self._process = process

    async def charge(self, order: str, *, takes: float = 0.0, timeout: float | None = None) -> str:
        """Ask for a charge that takes so many seconds, and say in words what the shop heard."""
        return await self._call({"name": order, "takes": takes}, timeout)

    @property
    def ledger(self) -> list[str]:
        """The orders that were charged, whoever knows of it."""
        return self._path.read_text().split("\n")[:-1] if self._path.exists() else []

    async def kill_at_work(self) -> None:
        """Kill the process when it has written into its ledger and works on."""
        while not self.ledger:
            await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(self.kill)

    def kill(self) -> None:
        """End the process at once: no line of it runs any more."""
        self._process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self._process.wait()


class ForReal(NamedTuple):
    """The end that the shop heard, and the ledger of the bank."""

    heard: str
    ledger: list[str]
    not_run: str = ""  #: the reason why nothing was tried on this machine

    def __str__(self) -> str:
        if self.not_run:
            return f"not run here: {self.not_run}"
        return f"heard {self.heard:33}  ledger: {', '.join(self.ledger) or '-'}"


def for_real(scenario: Callable[[Bank], Awaitable[str]], way: str) -> ForReal:
    """Run `await scenario(bank)` with a bank in a process of its own: "HTTP", "gRPC" or "plain gRPC".

    Returns what the scenario returns and the ledger, and raises what it raises. Where no process can be
    started, as in a browser, or where a library is missing, the result says so. Raises ValueError for another
    way.
    """
    if way not in (HTTP, GRPC, PLAIN):
        raise ValueError(f'the way must be "{HTTP}", "{GRPC}" or "{PLAIN}", not {way!r}')
    try:
        run = _loop().start_task_soon(_run, scenario, way)
    except RuntimeError as error:  # no thread can be started
        return _not_run(error)
    try:
        return run.result()
    finally:
        run.cancel()  # after a Ctrl-C; else it is over


@cache
def _loop() -> BlockingPortal:
    """A loop in a thread of its own, since a notebook has one already; the same for all runs.

    gRPC prints an error when it hears late of a call whose loop is closed.
    """
    stays = ExitStack()
    atexit.register(stays.close)
    return stays.enter_context(start_blocking_portal())


async def _run(scenario: Callable[[Bank], Awaitable[str]], way: str) -> ForReal:
    async with AsyncExitStack() as stack:
        try:
            bank = await stack.enter_async_context(_started(way))
        except (ImportError, OSError) as error:
            return _not_run(error)
        return ForReal(await scenario(bank), bank.ledger)


def _not_run(error: Exception) -> ForReal:
    return ForReal("", [], str(error) or type(error).__name__)


@asynccontextmanager
async def _started(way: str) -> AsyncIterator[Bank]:
    """A bank in a process of its own. Raises OSError or ImportError where there can be none."""
    with tempfile.TemporaryDirectory(prefix="eip-") as folder:
        path = Path(folder, "ledger")
        command = [sys.executable, "-c", PROCESS, way, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                address = await anyio.to_thread.run_sync(process.stdout.readline)
                if not address:
                    raise OSError("the bank's process did not start")
                async with (_plain if way == PLAIN else _ours)(address.strip(), way) as call:
                    yield Bank(call, path, process)
            finally:
                process.kill()


@asynccontextmanager
async def _ours(address: str, way: str) -> AsyncIterator[Call]:
    """The call of a requestor, which names how it ended."""
    import grpc.aio
    import httpx

    from ...request_reply.grpc import GrpcRequestor
    from ...request_reply.http import HttpRequestor

    async with httpx.AsyncClient() as client, grpc.aio.insecure_channel(address) as channel:
        requestor = HttpRequestor(client, address) if way == HTTP else GrpcRequestor(channel)

        async def call(order: dict[str, Any], timeout: float | None) -> str:
            try:
                await requestor.request(order, timeout=60 if timeout is None else timeout)
            except RequestError as error:
                return f"{type(error).__name__}, which is {_family(error)}"
            return "an answer"

        yield call


def _family(error: RequestError) -> str:
    return {NotDone: "definite", Indefinite: "indefinite"}[
        next(kind for kind in (NotDone, Indefinite) if isinstance(error, kind))
    ]


@asynccontextmanager
async def _plain(address: str, way: str) -> AsyncIterator[Call]:
    """The call of a generated client, which names the status."""
    import asyncio
    import json

    import grpc.aio

    async with grpc.aio.insecure_channel(address) as channel:
        charge: Any = channel.unary_unary("/Bank/Charge")

        async def call(order: dict[str, Any], timeout: float | None) -> str:
            asked = asyncio.ensure_future(_status(charge(json.dumps(order).encode(), timeout=timeout)))
            done, _ = await asyncio.wait([asked], timeout=None if timeout else LOOK)
            return asked.result() if done else "nothing, and waits"

        yield call


async def _status(call: Any) -> str:
    import grpc.aio

    try:
        await call
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "an answer"
