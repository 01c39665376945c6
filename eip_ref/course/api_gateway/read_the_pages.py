"""Read the trace of seven pages

Read the trace · medium · 3 points · 8 minutes

Answer: def read_the_pages()
Called: The morning that you can play: `simulate(seven_pages)`. Seven customers ask for “my order”, and for
    each the fan-out asks services for order, user, payment and points.
Promised: Your four lists are those of the trace.
Hint: Take one page at a time: `morning.filter(test=lambda event: "r4" in event.message)` is page 4 with its
    branches. Then look up the calls of these branches.
Hint: A page is a bar, too. How did it end? For a page that was finished, look at how each of its branches
    ended, and at what was refused.
Hint: A call with `extra` is a second one. A branch that was refused was not asked; and where a bulkhead
    refused, there is no call.
Why: A page is finished when its required branch is there, with whatever else came. A hedge is no failure:
    the branch ended well, and only the slower call was cancelled. A branch is left out without a call when
    the one that it needs has no value, or when the bulkhead is full.
Part: Which pages failed or came in part · 1 point · no-page-misread, partial-misread
Part: Which pages asked a service twice · 1 point · asked-twice-misread
Part: Which pages did not ask a service · 1 point · not-asked-misread

no-prediction: One of the four lists is missing or cannot be read. Return a dictionary from "no page",
    "partial", "asked twice" and "not asked" to lists of numbers of pages, such as [1, 4].
no-page-misread: Other pages came to nothing. Look at the bar of the page itself; a branch that failed is
    not a page that failed.
partial-misread: Other pages came without one of their fields. A call that was cancelled is no missing field
    when another call brought its value.
asked-twice-misread: Other pages asked a service twice. A second call for the same branch says so.
not-asked-misread: For other pages a service was never called. A call that timed out or failed was made; one
    that was refused was not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from ...api_gateway import (
    Backend,
    BackendFailed,
    Branch,
    BranchInput,
    FanOut,
    GatewayError,
    Hedging,
    RetryBudget,
)
from ...autograder import kit
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "seven_pages"]

NO_PAGE, PARTIAL, TWICE, NOT_ASKED = "no page", "partial", "asked twice", "not asked"
MISTAKES = {
    NO_PAGE: "no-page-misread",
    PARTIAL: "partial-misread",
    TWICE: "asked-twice-misread",
    NOT_ASKED: "not-asked-misread",
}
FIELDS = ("order", "user", "payment", "points")
FAILS = -1.0
FATES: dict[tuple[int, str, int], float] = {  # page, service, and the how manieth call for it: seconds
    (2, "users", 1): 3.0,  # the second call is quick
    (3, "payments", 1): 3.0,
    (3, "payments", 2): 3.0,
    (4, "users", 1): FAILS,
    (5, "orders", 1): FAILS,
    (6, "payments", 1): 0.5,
}


async def seven_pages() -> None:
    """Play seven pages, each with a fate of its own. The last two are asked for at the same time."""
    hedging, budget = Hedging(delay=0.4), RetryBudget(share=1.0, spare=10)
    backends = {
        "orders": Backend("orders", timeout=5),
        "users": Backend("users", timeout=5, hedging=hedging, budget=budget),
        "payments": Backend("payments", timeout=5, max_concurrent=1),
        "points": Backend("points", timeout=5),
    }
    calls: dict[tuple[int, str], int] = {}

    async def answer(page: int, service: str) -> str:
        calls[page, service] = calls.get((page, service), 0) + 1
        takes = FATES.get((page, service, calls[page, service]), 0.1)
        await anyio.sleep(0.1 if takes == FAILS else takes)
        if takes == FAILS:
            raise BackendFailed(f"{service} failed")
        return "value"

    def asking(service: str) -> Callable[[BranchInput], Awaitable[str]]:
        async def ask(part: BranchInput) -> str:
            return await backends[service].call(answer, part.request, service, idempotent=True)

        return ask

    view = FanOut(
        Branch("order", asking("orders"), required=True),
        Branch("user", asking("users"), needs=["order"]),
        Branch("payment", asking("payments")),
        Branch("points", asking("points"), needs=["user"]),
        name="page",
        timeout=1.0,
    )

    async def show(page: int) -> None:
        with suppress(GatewayError):
            await view(page)

    for page in range(1, 6):
        await show(page)
        await anyio.sleep(1)
    async with anyio.create_task_group() as group:
        group.start_soon(show, 6)
        await anyio.sleep(0.05)
        group.start_soon(show, 7)


def _pages(trace: Trace, kind: Kind) -> list[int]:
    return sorted({_number(event.message) for event in trace.filter(kind, where="page")})


def _number(message: str) -> int:
    return int(message.partition(".")[0].removeprefix("r"))


def _branches(trace: Trace, *kinds: Kind) -> set[int]:
    branches = trace.filter(*kinds, test=lambda event: "." in event.message)
    return {_number(event.message) for event in branches}


def no_page(trace: Trace) -> list[int]:
    return _pages(trace, Kind.FAILED)


def partial(trace: Trace) -> list[int]:
    lacking = _branches(trace, Kind.FAILED, Kind.TIMED_OUT, Kind.REFUSED)
    return sorted(lacking.intersection(_pages(trace, Kind.FINISHED)))


def asked_twice(trace: Trace) -> list[int]:
    extra = trace.filter(Kind.STARTED, test=lambda event: "extra" in event.data)
    return sorted({_number(event.data["parent"]) for event in extra})


def not_asked(trace: Trace) -> list[int]:
    """Those with a branch that ended, or never began, without a call."""
    called = {event.data["parent"] for event in trace.filter(Kind.STARTED) if "limit" in event.data}
    all_of_them = {
        f"{page}.{field}" for page in trace.messages(Kind.STARTED, where="page") for field in FIELDS
    }
    return sorted({_number(branch) for branch in all_of_them - called})


READINGS = {NO_PAGE: no_page, PARTIAL: partial, TWICE: asked_twice, NOT_ASKED: not_asked}
RUN = kit.ask(kit.readings(seven_pages, READINGS), kit.numbers)
EXERCISE = kit.exercise(__name__, __doc__, RUN, kit.misread(MISTAKES), seeds=(1,))
