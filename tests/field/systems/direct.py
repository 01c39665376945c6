"""HTTP and gRPC: request–reply without anybody between the two sides."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import grpc
import httpx

from eip_ref.field.servers import Server
from eip_ref.field.servers.server import HOST, ask
from eip_ref.message import Handler
from eip_ref.request_reply.grpc import GrpcRequestor
from eip_ref.request_reply.http import HttpRequestor

from ..service_process import working
from ..verdicts import BY_REQUESTOR_AND_REPLIER, System, Verdict, kept_with, not_kept

__all__ = ["SYSTEMS"]


class Service(Server):
    """A service in a process of its own, at two addresses. See `service_process.py`."""

    install = "python -m pip install -e '.[course]'"
    kind: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.addresses = [self._take_port(), self._take_port()]

    @classmethod
    def program(cls) -> str | None:
        return sys.executable

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        ports = map(str, (self.port, *self.addresses))
        return [sys.executable, "-m", "tests.field.service_process", self.kind, *ports]

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(Path(__file__).parents[3])}

    def is_ready(self) -> bool:
        return ask(self.port, b'""\n').startswith(b"false")

    def stop(self) -> None:
        """Kill it: there is nothing that it would keep."""
        self.kill()


class HttpService(Service):
    """Served by uvicorn."""

    name, kind = "HTTP", "http"

    @classmethod
    def version(cls) -> str:
        return f"{version('httpx')}, {version('uvicorn')}"


class GrpcService(Service):
    """Served by grpcio."""

    name, kind = "gRPC", "grpc"

    @classmethod
    def version(cls) -> str:
        return version("grpcio")


@asynccontextmanager
async def _over_http(server: Service, name: str, *, handle: Handler | None = None) -> AsyncIterator[Any]:
    if handle is not None:
        async with working(server.port, name, handle):
            yield
        return
    url = f"http://{HOST}:{server.addresses[0]}/{name}"
    async with httpx.AsyncClient(trust_env=False) as client:
        with HttpRequestor(client, url) as requestor:
            yield requestor


@asynccontextmanager
async def _over_grpc(
    server: Service, name: str, *, handle: Handler | None = None, policy: str = "pick_first"
) -> AsyncIterator[Any]:
    if handle is not None:
        async with working(server.port, name, handle):
            yield
        return
    addresses = ",".join(f"{HOST}:{port}" for port in server.addresses)
    config = json.dumps({"loadBalancingConfig": [{policy: {}}]})
    async with grpc.aio.insecure_channel(
        f"ipv4:{addresses}", options=[("grpc.service_config", config)]
    ) as channel:
        with GrpcRequestor(channel, service=name) as requestor:
            yield requestor


DIRECT = {
    **BY_REQUESTOR_AND_REPLIER,
    "test_a_request_is_answered_after_a_restart_of_the_broker": Verdict(
        words="what is killed is the service: there is no broker"
    ),
}
HTTP = System(
    "http",
    "HTTP/1.1, by httpx and uvicorn",
    "request–reply",
    HttpService,
    _over_http,
    {
        **DIRECT,
        "test_repliers_share_the_requests": not_kept(
            "a URL leads to one of them: to share takes a balancer before them"
        ),
        "test_the_deadline_reaches_the_replier": kept_with("a header of ours: HTTP has none for it"),
    },
)
GRPC = System(
    "grpc",
    "gRPC, by grpcio",
    "request–reply",
    GrpcService,
    _over_grpc,
    {
        **DIRECT,
        "test_repliers_share_the_requests": kept_with(
            "round_robin over the addresses of all: by itself a channel picks the first",
            {"policy": "round_robin"},
        ),
        "test_the_deadline_reaches_the_replier": kept_with(
            "it is in the metadata, beside gRPC's own deadline"
        ),
    },
)

SYSTEMS = (HTTP, GRPC)
