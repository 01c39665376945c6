"""Pass the deadline on

Complete · medium · 3 points · 10 minutes

Answer: async def reserve(request, warehouse)
Called: Your `reserve(request, warehouse)` answers customers who wait 2 s. In five cases the warehouse is
    quick; has just time enough; is busy until after the customer has left, once when stock was busy, too,
    and came to her request late; or does not answer.
Promised: What the warehouse has done 0.3 s before the customer leaves still reaches her. For a customer who
    has left it begins nothing. When it does not answer she hears so before she leaves.
Hint: How does the warehouse learn when the customer leaves? She does not ask it; you do.
Hint: A request has `deadline`, a moment. So has `warehouse.request(…, deadline=…)`. But your own answer
    needs some time on its way back.
Hint: `reply = await warehouse.request(request.body, deadline=budget(request, reserve=0.1))`, and `return
    reply.body`.
Why: The deadline that was given, less what the answer needs. So the warehouse knows when its work is for
    nobody, and you know that it did not answer while somebody still wants to hear it.

work-for-nobody: The warehouse reserved for a customer who had left. It began because it was told another
    end than hers.
hears-nothing: The customer heard nothing until she left. You waited as long as she did, and then there was
    no time left to tell her.
gave-up-too-early: Gave up although there was time. The warehouse answered, and nobody waited any more.
no-end: The request to the warehouse has no end. Without a timeout or a deadline it is not even sent.
other-answer: The customer got another answer than that of the warehouse. It is the body of its reply, or an
    error when there is none.
"""

from __future__ import annotations

import anyio

from ...autograder import kit
from ...message import Message
from ...request_reply import RequestError, Requestor
from ...trace import Kind, Trace, acting, record
from .ends import answering

__all__ = ["EXERCISE", "five_customers"]

WAY = 0.02  #: seconds from one to the other
PATIENCE = 2.0
QUICK, JUST, BUSY, SILENT = "quick", "just in time", "busy", "silent"
BOTH = "busy, and so is stock"
CASES = (QUICK, JUST, BUSY, SILENT, BOTH)
HELD_UP = 0.8  #: seconds until stock comes to the request when it is busy, too
OTHER = "something else"
SECONDS = {QUICK: 0.5, JUST: PATIENCE - 0.3 - 4 * WAY, BUSY: 0.5, SILENT: 60.0, BOTH: 0.5}


async def five_customers(reserve: kit.Answer, case: str, seed: int) -> None:
    """Let one customer ask stock, which asks the warehouse."""
    tea = f"tea {100 * CASES.index(case) + seed % 80 + 101}"
    unfinished: list[NotImplementedError] = []

    async def work(request: Message) -> str:
        record(Kind.EFFECT, "warehouse", str(request.body), effect="begun")
        await anyio.sleep(PATIENCE + 0.09 if request.body == OTHER else SECONDS[case])
        return f"{request.body} is reserved"

    async def handle(request: Message) -> object:
        await anyio.sleep(HELD_UP if case == BOTH else 0)
        try:
            return await reserve(request, warehouse)
        except NotImplementedError as error:
            unfinished.append(error)
            raise

    async with (
        answering(work, name="warehouse", asker="stock", latency=WAY, concurrency=1, grace=0.0) as warehouse,
        answering(handle, name="stock", asker="customer", latency=WAY, grace=60.0) as stock,
        anyio.create_task_group() as group,
    ):
        if case in (BUSY, BOTH):
            group.start_soon(_something_else, warehouse)
            await anyio.sleep(0.1)
        came = anyio.current_time()
        with acting("customer"):
            heard = await _heard(stock, tea)
        waited = round(anyio.current_time() - came, 3)
        facts = {"case": case, "heard": heard, "waited": waited}
        record(Kind.NOTE, "door", tea, who="customer", text=f"hears {heard}", **facts)
        await anyio.sleep(PATIENCE)
    if unfinished:
        raise unfinished[0]


async def _something_else(warehouse: Requestor) -> None:
    await warehouse.request(OTHER, timeout=2 * PATIENCE)


async def _heard(stock: Requestor, tea: str) -> str:
    try:
        return str((await stock.request(tea, timeout=PATIENCE)).body)
    except RequestError as error:
        return f"{type(error).__name__}: {error}"


def judge(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE, where="door"):
        case, heard, tea, left = note.data["case"], note.data["heard"], note.message, note.at
        begun = trace.filter(Kind.EFFECT, message=tea)
        told = f"the warehouse is {case!r}: the customer heard {heard!r} after {note.data['waited']:g} s"
        if heard.startswith("RemoteError: ValueError"):
            yield kit.seen("no-end", f"{told}.", trace)
        elif begun and begun[0].at > left:
            yield kit.seen(
                "work-for-nobody", f"{told}; it began {tea} {begun[0].at - left:.2f} s later.", begun
            )
        elif case in (BUSY, SILENT, BOTH) and heard.startswith("TimedOut"):
            yield kit.seen("hears-nothing", f"{told}.", trace)
        elif case in (QUICK, JUST) and heard != f"{tea} is reserved":
            early = heard.startswith(("InDoubt", "TimedOut", "RemoteError: TimeoutError"))
            yield kit.seen("gave-up-too-early" if early else "other-answer", f"{told}.", trace)
        elif case == SILENT and ": " not in heard:
            yield kit.seen("other-answer", f"{told}.", trace)


run = kit.cases(five_customers, lambda seed: CASES, judge)

EXERCISE = kit.exercise(__name__, __doc__, run, judge)
