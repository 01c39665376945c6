"""Mend the page

Repair · medium · 4 points · 15 minutes

Answer: async def page(order_id, ask)
Called: Your `page(order_id, ask)` on nine days. On most of them a service hangs, fails or is slow. There is
    a user with the number of the order, too.
Promised: A page after 1 s at the latest, with all that could be had within 0.9 s, and in `missing` the
    names of the other fields. Without the order an error. When all is well, the page takes no longer than
    its longest way. No call is under way any more when `page` ends.
Hint: Which call needs an answer of another one? All else can be asked for at the same time.
Hint: Let each branch catch its own errors, and let one clock end all branches before the page is due.
Hint: A task group with two tasks, order and then user, and payment, inside `anyio.move_on_after(0.95)`. In
    each a `try` around `ask` that keeps the value, and drops the error. Afterwards look at what is there.
Why: The scope ends all branches at once, and the task group waits until they have ended. What is there then
    is the page. No branch has a clock of its own, so none can outlast the page.

not-a-page: What came back cannot be read as a page. It is a dictionary of fields, and `missing` in it is a
    list of names.
wrong-customer: Another customer's name. The order has a number and the user has one, and sometimes a user
    with the order's number exists.
one-after-the-other: The services were asked one after the other. The page took the sum of their times, and
    only one of them needs the answer of another.
too-late: The page came too late. Ann has left after 1 s, whatever comes then.
page-lost: No page, although the order was there. A field that is missing is no reason to show nothing,
    whatever error its service raised.
page-without-order: A page without its order. Without it nobody knows what the other fields are about, so an
    error is the honest answer.
words-leaked: The page shows the words of an exception. They are for the log. Here they name a machine and a
    user of the database.
says-nothing: The page does not say what is missing. A field that is absent or null may be one that is
    empty, or one that nobody knows; the client cannot tell.
gave-up-too-early: Something is missing that could be had. Its answer would have come within 0.9 s.
runs-on: A call runs on after the page. Nobody will read its answer. With a hundred pages a second such
    calls are all that the services do.
"""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, working

__all__ = ["EXERCISE", "a_day", "nine_days"]

HANGS = 60.0
DUE, CAN_BE_HAD = 1.0, 0.9  # seconds
SECRET = "db-7"
ERRORS: dict[str, type[Exception]] = {"orders": KeyError, "people": ConnectionError, "bank": RuntimeError}
FIELDS = ("order", "user", "payment")


class Day(NamedTuple):
    """The seconds that each service takes, and those that fail when half of their time is over."""

    name: str
    orders: float = 0.1
    people: float = 0.2
    bank: float = 0.3
    failing: tuple[str, ...] = ()


def nine_days(seed: int) -> list[Day]:
    """The days that the check plays."""
    some = Random(seed).choice((0.15, 0.2, 0.25))
    return [
        Day("all is well", 0.1, some, 0.3),
        Day("the bank hangs", 0.1, some, HANGS),
        Day("the bank fails", 0.1, some, 0.3, ("bank",)),
        Day("people hangs", 0.1, HANGS, 0.3),
        Day("people fails", 0.1, some, 0.3, ("people",)),
        Day("all are slow", 0.4, some + 0.2, 0.8),
        Day("orders is slow and people hangs", 0.6, HANGS, 0.3),
        Day("orders fails", 0.1, some, 0.3, ("orders",)),
        Day("orders hangs", HANGS, some, 0.3),
    ]


async def a_day(page: kit.Answer, day: Day, seed: int) -> None:
    """Ask for one page."""
    chance = Random(seed)
    order_id, user_id = chance.randrange(10, 50), chance.randrange(50, 100)
    tables: dict[str, dict[int, Any]] = {
        "orders": {order_id: {"tea": "Assam", "user": user_id}},
        "people": {user_id: "Ann", order_id: "Zoe"},
        "bank": {order_id: "paid", user_id: "open"},
    }
    under_way, asked = list[str](), list[Any]()

    async def ask(service: str, number: int) -> Any:
        takes = getattr(day, service)
        asked.append([service, number])
        under_way.append(service)
        try:
            with working(service, f"{service} {number}", branch=service):
                if service in day.failing:
                    await anyio.sleep(takes / 2)
                    raise ERRORS[service](f"{service} has no connection to {SECRET}, user admin")
                await anyio.sleep(takes)
                return tables[service][number]
        finally:
            under_way.remove(service)

    shown, error, ended = None, "", math.inf
    with anyio.move_on_after(5):
        try:
            shown = await page(order_id, ask)
        except Exception as reason:
            error = type(reason).__name__
        ended = anyio.current_time()
    left = list(under_way)
    kit.write_down(
        day=day.name,
        user=user_id,
        asked=asked,
        page=json.loads(json.dumps(shown, default=repr)),
        error=error,
        ended=min(ended, 5.0),
        left=left,
        there=_there(day),
        longest=max(day.orders + day.people, day.bank),
    )


def _there(day: Day) -> list[str]:
    """The fields that could be had in time."""
    order = math.inf if "orders" in day.failing else day.orders
    user = math.inf if "people" in day.failing else order + day.people
    payment = math.inf if "bank" in day.failing else day.bank
    times = zip(FIELDS, (order, user, payment), strict=True)
    return [field for field, time in times if time <= CAN_BE_HAD]


def judge(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE):
        for mistake, words in _faults(dict(note.data)):
            yield kit.seen(mistake, f"On the day “{note.data['day']}” {words}.", trace)


def _faults(facts: dict[str, Any]) -> list[tuple[str, str]]:
    page, there, ended = facts["page"], facts["there"], facts["ended"]
    found = [
        ("wrong-customer", f"`people` was asked for user {number}; the order is of user {facts['user']}")
        for service, number in facts["asked"]
        if service == "people" and number != facts["user"]
    ]
    if there == list(FIELDS) and ended > facts["longest"] + 0.05:
        found.append(
            (
                "one-after-the-other",
                f"the page took {ended:.2f} s, and its longest way {facts['longest']:.2f} s",
            )
        )
    if ended > DUE + 1e-6:
        found.append(
            ("too-late", f"nothing had come after {DUE:g} s" if ended >= 5 else f"it took {ended:.2f} s")
        )
    if facts["left"]:
        found.append(("runs-on", f"{' and '.join(facts['left'])} was still being asked when `page` ended"))
    if facts["error"] or ended >= 5:
        lost = facts["error"] and "order" in there
        return (
            [*found, ("page-lost", f"`page` raised {facts['error']}; order came in time")] if lost else found
        )
    return found + _faults_of(page, there)


def _faults_of(page: Any, there: list[str]) -> list[tuple[str, str]]:
    """Those of a page that came."""
    if not isinstance(page, dict) or not isinstance(page.get("missing"), list):
        return [("not-a-page", f"`page` returned {page!r}")]
    found = []
    if "order" not in there:
        found.append(("page-without-order", f"the order did not come, and `page` returned {page!r}"))
    if SECRET in json.dumps(page):
        found.append(("words-leaked", f"the page was {page!r}"))
    for field in FIELDS:
        shown, named = page.get(field) is not None, field in page["missing"]
        if shown == named or (field in page and not shown):
            found.append(("says-nothing", f"`{field}` {_how(page, field)}"))
        elif named and field in there:
            found.append(
                ("gave-up-too-early", f"`{field}` is missing, and it could be had within {CAN_BE_HAD} s")
            )
    return found


def _how(page: dict[str, Any], field: str) -> str:
    value = f"is {page[field]!r} on the page" if field in page else "is not on the page"
    return f"{value}, and `missing` is {page['missing']}"


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(a_day, nine_days, judge), judge)
