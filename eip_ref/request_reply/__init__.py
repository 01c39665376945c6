"""Request–reply: a question over one way, the answer over another, and nobody gets what another asked for.

The promise: `request` returns the reply to its own attempt, or raises an error that says what the
caller may conclude: it certainly did nothing (`NotDone`), it may have happened (`Indefinite`), or it
happened and failed over there, with the error that the handler raised. No request waits for ever,
and no reply is kept for somebody who no longer waits. A correlation id names one attempt; an
idempotency key names an operation, which the replier answers the same however often it is asked.

    import anyio
    from eip_ref.message import Message
    from eip_ref.point_to_point import PointToPointChannel, forward
    from eip_ref.request_reply import Replier, Requestor, TimedOut

    async def price(request: Message) -> int:
        await anyio.sleep({"tea": 0.1, "coffee": 0.2, "saffron": 9}[request.body])
        return {"tea": 3, "coffee": 4, "saffron": 99}[request.body]

    async def ask(shop: Requestor, what: str) -> None:
        try:
            reply = await shop.request(what, timeout=1)
            print(f"{what}: {reply.body} euros")
        except TimedOut as error:
            print(error)

    async def main() -> None:
        requests, replies = PointToPointChannel("requests"), PointToPointChannel("replies")
        with Requestor(requests.send, name="shop") as shop:
            async with Replier(price, replies.send, name="stock", grace=0) as stock:
                async with anyio.create_task_group() as pumps:
                    pumps.start_soon(forward, requests, stock.receive)
                    pumps.start_soon(forward, replies, shop.receive)
                    async with anyio.create_task_group() as customers:
                        for what in ("saffron", "coffee", "tea"):
                            customers.start_soon(ask, shop, what)
                    pumps.cancel_scope.cancel()

Read `requestor.py` and `replier.py`; then `envelope.py`, what they send each other; `errors.py`, how a
request can end; `retry.py`; and `http.py` and `grpc.py`, the same over HTTP and gRPC (each needs its
libraries, and is not loaded from here).

*Left out:* memory that survives a crash: a replier that dies forgets its answers, and a repetition is
carried out again unless the record commits with the effect (see `message_queue.idempotent` and `cqrs`).
Streams of answers, priorities, and one service whose clock differs from another's: over channels,
deadlines are times of one clock.
"""

from .envelope import budget
from .errors import (
    Busy,
    ClosedWhileWaiting,
    DeadlinePassed,
    Indefinite,
    InDoubt,
    KeyReused,
    NoResponder,
    NotDelivered,
    NotDone,
    RemoteError,
    RemoteErrors,
    RequestError,
    RequestorClosed,
    TimedOut,
    TooManyWaiting,
    TransportError,
    UnwritableAnswer,
)
from .replier import Replier
from .requestor import Requestor
from .retry import request_again

__all__ = [
    "Busy",
    "ClosedWhileWaiting",
    "DeadlinePassed",
    "InDoubt",
    "Indefinite",
    "KeyReused",
    "NoResponder",
    "NotDelivered",
    "NotDone",
    "RemoteError",
    "RemoteErrors",
    "Replier",
    "RequestError",
    "Requestor",
    "RequestorClosed",
    "TimedOut",
    "TooManyWaiting",
    "TransportError",
    "UnwritableAnswer",
    "budget",
    "request_again",
]
