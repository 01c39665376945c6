"""Request–reply over gRPC: the same errors, the same deadlines, the same answers to a repetition.

One unary method with JSON bodies of at most 1 MiB. The time that is left, the correlation id and the
idempotency key, percent-encoded, travel as metadata; a call that has only gRPC's own deadline has one
too. Needs grpcio, on asyncio.

gRPC's status UNAVAILABLE says both "nobody listens" and "the connection broke while you waited". The
first is definite and the second is not, so a connection is made first, and only then is asked.

*Left out:* TLS, authentication, streams, and messages described in protobuf.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.lowlevel
import grpc
import grpc.aio

from ..message import Message
from ..tasks import Start, asyncio_tasks
from .envelope import TIMEOUT, read_reply, read_request, write_reply, write_request
from .errors import NoResponder, TransportError
from .replier import Replier
from .requestor import Requestor

METHOD = "Ask"
SERVICE = "eip.RequestReply"

_A_DAY = 24 * 3600.0
_STOPPED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class GrpcRequestor(Requestor):
    """Asks the service behind the channel that it is given; the settings are those of `Requestor`."""

    _send_waits = True

    def __init__(self, channel: grpc.aio.Channel, *, service: str = SERVICE, **settings: Any) -> None:
        super().__init__(self._send, **settings)
        self._channel = channel
        self._method = f"/{service}/{METHOD}"
        self._call: Any = channel.unary_unary(self._method)

    async def _send(self, attempt: Message) -> None:
        content, headers = write_request(attempt)
        await self._connect()
        try:
            # The waiter has the deadline; gRPC's own, which it rounds up, is only there to stop the call.
            answer = await self._call(
                content, metadata=[*headers.items()], timeout=float(headers[TIMEOUT]) + 1
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise NoResponder(f"nobody answers to {self._method}") from error
            raise TransportError(f"gRPC says {error.code().name}: {error.details()}") from error
        except asyncio.CancelledError as error:
            await anyio.lowlevel.checkpoint()  # gRPC forgets whose cancellation it was; anyio does not
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise TransportError("the channel was closed while the answer was awaited") from error
        self.receive_nowait(read_reply(attempt, answer))

    async def _connect(self) -> None:
        """Wait until the channel stands. Raises NoResponder when nobody is at its other end."""
        while (state := self._channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state in _STOPPED:
                raise NoResponder("nobody answers at the other end of the channel")
            await self._channel.wait_for_state_change(state)


def service(replier: Replier, start: Start, name: str = SERVICE) -> grpc.GenericRpcHandler:
    """A handler for a gRPC server; `replier` must be open while it is served.

    `start` runs the work: gRPC cancels its own task when the client gives up, and what has been begun is
    to be finished all the same, since the next attempt will ask for its answer.
    """

    async def ask(content: bytes, context: Any) -> bytes:
        try:
            left = context.time_remaining() or math.inf
            asked = read_request(content, dict(context.invocation_metadata()), left=left)
        except (ValueError, KeyError, TypeError) as error:
            words = f"this is not a request: {error!r}"
            raise await context.abort(grpc.StatusCode.INVALID_ARGUMENT, words) from error
        reply = await asyncio.shield(start(replier.answer(asked)))
        if reply is None:
            words = "a copy of this very attempt is being worked on"
            raise await context.abort(grpc.StatusCode.ALREADY_EXISTS, words)
        return write_reply(reply)[1]

    return grpc.method_handlers_generic_handler(name, {METHOD: grpc.unary_unary_rpc_method_handler(ask)})


@asynccontextmanager
async def serve(replier: Replier, name: str = SERVICE) -> AsyncIterator[str]:
    """Serve the replier on a free port of this machine for as long as the block runs; gives its address.

    Leaving the block gives what runs as many seconds as the replier's `grace`.
    """
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    async with replier, asyncio_tasks() as start:
        server.add_generic_rpc_handlers((service(replier, start, name),))
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            replier.close()
            await server.stop(min(replier.grace, _A_DAY))
