"""API gateway: one door for the client, and one answer out of many.

The promise: a request is checked before any backend hears of it, and answered in time, with what
the backends said in time, and with a word for each field that is missing. Nothing runs on after the
answer. No backend gets more calls than its bulkhead lets through, and no client hears what an
exception said or what was meant for another.

    import anyio
    from eip_ref.api_gateway import Backend, Branch, FanOut
    from eip_ref.lab import simulate

    async def ask(service, seconds, value):
        await anyio.sleep(seconds)
        return value

    async def scenario():
        orders, users, billing = (Backend(name, timeout=0.5) for name in ("orders", "users", "billing"))

        async def order(part):
            return await orders.call(ask, "orders", 0.1, {"id": part.request, "user": "ann"})

        async def user(part):  # by the user of the order, not by the order's id
            return await users.call(ask, "users", 0.2, {"name": part.results["order"]["user"]})

        async def invoice(part):  # takes too long today
            return await billing.call(ask, "billing", 9.0, {"open": 3})

        view = FanOut(
            Branch("order", order, required=True),
            Branch("user", user, needs=["order"]),
            Branch("invoice", invoice),
            timeout=1.0,
        )
        answer = await view("order 17")
        print(f"after {anyio.current_time():.1f} s, complete: {answer.complete}")
        for field, value in answer.data.items():
            print(f"  {field:8} {value}")
        for field, error in answer.errors.items():
            print(f"  {field:8} {error.code}")

    simulate(scenario)

Read `fan_out.py` first; then `backend.py`, what stands before each backend; then `gateway.py`, the door,
with `edge.py`, `coalescing.py` and `errors.py`. `http_edge.py` is the gateway over HTTP: it needs the extra
`course`, and is not loaded from here. `eip app gateway` starts a small shop behind one.

In a trace (`spans.py`), whatever takes time is a bar, from "started" to "finished", "failed", "timed out" or
"cancelled", told apart by where and message: a request (where the gateway, message r1), a fan-out
(its name, r1.view), a branch (the field, r1.view.user), a call to a backend (the backend, users#7). Data of
"started": `parent`, the bar that must not end before this one; `until`, when it must have ended; for a
call `limit`, the size of the bulkhead, and for an extra one `extra`, "hedge" or "retry", with `share` and
`spare` of its budget. "refused" is what was not begun, with a `reason`; "duplicate" a request that
follows another, `of` which its data tells. Breakers record as they always do.

*Left out:* limits per address before it is known who asks; limits and breakers that several gateways
share or that survive a crash; streams, WebSockets, TLS, and a cache of answers.
"""

from .backend import Backend, Bulkhead, Hedging, RetryBudget, hedged, is_answer
from .coalescing import Coalesced, Coalescer
from .edge import SUBJECT, AdmittedRequest, Identity, Request, Response
from .errors import (
    AllFailed,
    BackendFailed,
    BadRequest,
    BulkheadFull,
    Forbidden,
    GatewayError,
    GatewayTimeout,
    NeedFailed,
    NotFound,
    RequestRefused,
    RequiredFailed,
    Skipped,
    Unauthenticated,
)
from .fan_out import Branch, BranchInput, ComposedAnswer, FanOut, FieldError
from .gateway import Gateway, RateLimit, Route

__all__ = [
    "SUBJECT",
    "AdmittedRequest",
    "AllFailed",
    "Backend",
    "BackendFailed",
    "BadRequest",
    "Branch",
    "BranchInput",
    "Bulkhead",
    "BulkheadFull",
    "Coalesced",
    "Coalescer",
    "ComposedAnswer",
    "FanOut",
    "FieldError",
    "Forbidden",
    "Gateway",
    "GatewayError",
    "GatewayTimeout",
    "Hedging",
    "Identity",
    "NeedFailed",
    "NotFound",
    "RateLimit",
    "Request",
    "RequestRefused",
    "RequiredFailed",
    "Response",
    "RetryBudget",
    "Route",
    "Skipped",
    "Unauthenticated",
    "hedged",
    "is_answer",
]
