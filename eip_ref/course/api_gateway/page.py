"""The page "my order" of lesson 11: three services behind it, and what became of a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any

import anyio

from ...api_gateway import ComposedAnswer, FanOut, GatewayError
from ...lab import simulate
from ...lab.demo import Demo, choice, demo, slider, toggle
from ...lab.figures import gantt
from ...trace import Kind, Trace, record, working

__all__ = ["Services", "outcome", "the_page_demo", "three_days"]

TABLES: dict[str, dict[int, Any]] = {
    "order": {17: {"tea": "Assam", "user": 3}, 18: {"tea": "Sencha", "user": 5}},
    "user": {3: "Ann", 5: "Ben", 17: "Zoe"},
    "payment": {17: "paid", 18: "open"},
}


class Services:
    """Three services. Each takes its time in seconds; those in `failing` fail when half of it is over."""

    def __init__(
        self, order: float = 0.1, user: float = 0.2, payment: float = 0.3, failing: Collection[str] = ()
    ) -> None:
        self._takes = {"order": order, "user": user, "payment": payment}
        self._failing = failing

    async def ask(self, service: str, number: int) -> Any:
        """The service's record with this number. Raises KeyError for one that it does not have."""
        with working(service, f"{service} {number}", branch=service):
            takes = self._takes[service]
            if service in self._failing:
                await anyio.sleep(takes / 2)
                raise RuntimeError(f"{service} has no connection to db-7, user admin")
            await anyio.sleep(takes)
            return TABLES[service][number]


async def outcome(asking: Awaitable[Any]) -> str:
    """The outcome of asking, and after how many seconds, in words."""
    began = anyio.current_time()
    try:
        answer = await asking
    except Exception as error:
        told = _told(error)
    else:
        told = _page(answer)
    return f"{anyio.current_time() - began:.2f} s  {told}"


def _told(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    status = f" (status {error.status})" if isinstance(error, GatewayError) else ""
    return f"no page: {type(error).__name__}{status}"


def _page(answer: Any) -> str:
    if isinstance(answer, ComposedAnswer):
        missing = [f"{field} ({error.code})" for field, error in answer.errors.items()]
        return f"{', '.join(answer.data)}; " + (
            "complete" if answer.complete else f"missing: {', '.join(missing)}"
        )
    return ", ".join(answer)


DAYS: dict[str, dict[str, Any]] = {
    "all is well": {},
    "payment hangs": {"payment": 30},
    "payment fails": {"failing": ["payment"]},
}

Page = Callable[[Services, int], Awaitable[Any]]


def three_days(page: Page) -> dict[str, Trace]:
    """Ask for `page(services, 17)` on three days, print what came of it, and return the traces by day."""
    traces = {day: simulate(outcome, page(Services(**how), 17)) for day, how in DAYS.items()}
    for day, trace in traces.items():
        after, _, what = str(trace.result).partition("  ")
        print(f"{day:14} {after:>7}  {what}")
    return traces


# Playing


def in_words(trace: Trace) -> str:
    (note,) = trace.filter(Kind.NOTE)
    after, _, what = note.data["text"].partition(" s  ")
    return f"After {after} s: {what}."


def the_page_demo(my_order: Callable[[Services, float, bool], FanOut]) -> Demo:
    """The page of the lesson, with the times of its services as controls.

    `my_order(services, payment_timeout, payment_required)` makes the fan-out.
    """

    async def scenario(
        order: float, user: float, payment: float, payment_timeout: float, required: bool, failing: str
    ) -> None:
        services = Services(order, user, payment, failing=[failing])
        text = await outcome(my_order(services, payment_timeout, required)(17))
        record(Kind.NOTE, "page", who="page", text=text)

    return demo(
        scenario,
        {
            "order": slider(0.1, 1.0, 0.1, value=0.1, label="Order takes (s)"),
            "user": slider(0.1, 1.0, 0.1, value=0.2, label="User takes (s)"),
            "payment": slider(0.1, 1.0, 0.1, value=0.3, label="Payment takes (s)"),
            "payment_timeout": slider(0.1, 0.9, 0.1, value=0.9, label="Payment may take (s)"),
            "required": toggle(label="Payment is required"),
            "failing": choice("nobody", "order", "user", "payment", label="Who fails"),
        },
        presets={
            "All is well": {},
            "Slow payment": {"payment": 1.0},
            "Slow, less patience": {"payment": 1.0, "payment_timeout": 0.5},
            "Payment fails": {"failing": "payment"},
            "Fails and required": {"failing": "payment", "required": True},
            "Order fails": {"failing": "order"},
        },
        summary=in_words,
        figures=[lambda trace: gantt(trace, title="Who was asked when")],
        player=False,
        seed=None,
        title="One page of three services",
    )
