"""Order the layers

Complete · medium · 3 points · 8 minutes

Answer: def protect(call, breaker, timeout, retry, fallback)
Called: Your `protect(…)` on two days. On the first the card service hangs, and 40 customers pay one after the
    other. On the second it is well, but each fifth call fails at once.
Promised: Each customer gets "paid" or "bill". On the first day at most 8 calls reach the service. On the
    second everybody gets "paid".
Hint: Write down from inside out what each layer must see: the breaker each failure, the retry each failure
    and each refusal, the fallback what is left in the end.
Hint: What is inside of `timeout` is cancelled, and a cancellation is neutral for a breaker. What is outside
    of `fallback` sees no failure at all.
Hint: The call is innermost, then the timeout. The retry stands around the breaker, and the fallback is
    outermost.
Why: The timeout makes a failure of what hangs, the breaker counts it, the retry gives one failure another
    chance and stops at a refusal, and the fallback answers when all of that was in vain.

error-came-out: A customer got an error. The fallback makes a bill of what fails inside of it, and of nothing
    that stands around it.
no-function (TypeError): Something is no function. A layer is given a function and returns one: write
    `timeout(call)` and not `timeout(call())`, and `return` before the outermost.
waits-for-ever (deadlock): A customer waits for ever. The service hangs, and only the timeout ends that.
cancelled-calls: The breaker sees cancelled calls, and those are neutral. A timeout that stands around the
    breaker hides each failure from it.
hides-failures: The breaker sees answers where the service has failed. What stands inside of the breaker makes
    a success of each failure.
learns-slowly: The breaker hears of one failure for several calls. What stands inside of it has tried again
    before.
no-breaker: Nothing stops the calls. The service hangs for each customer anew.
no-second-try: A customer got a bill although a second try would have been "paid". One failed call in five is
    what the retry is for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ...autograder import kit
from ...circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration
from ...trace import Kind, Trace, acting, record

__all__ = ["EXERCISE", "two_days"]

Work = Callable[[], Awaitable[object]]
HANGS, WELL = "it hangs", "it is well"
CUSTOMERS, MOST = 40, 8
PAID, BILL = "paid", "bill"


def _must_be_function(what: str, work: object) -> None:
    """Raise TypeError for what cannot be called, such as None or the coroutine of `call()`."""
    if not callable(work):
        raise TypeError(f"{what} a function, and not a {type(work).__name__}")


def timeout(work: Work) -> Work:
    """Let the work take a second at most, else raise TimeoutError."""
    _must_be_function("timeout takes", work)

    async def limited() -> object:
        with anyio.fail_after(1):
            return await work()

    return limited


def retry(work: Work) -> Work:
    """Try the work three times, half a second apart. A refusal of the breaker ends it."""
    _must_be_function("retry takes", work)

    async def tried() -> object:
        for _ in range(2):
            try:
                return await work()
            except CallRejected:
                raise
            except Exception:
                await anyio.sleep(0.5)
        return await work()

    return tried


def fallback(work: Work) -> Work:
    """Answer "bill" where the work raises an error."""
    _must_be_function("fallback takes", work)

    async def answered() -> object:
        try:
            return await work()
        except Exception:
            return BILL

    return answered


async def two_days(protect: kit.Answer, day: str, seed: int) -> None:
    """Let 40 customers pay, one after the other."""
    calls = 0

    async def call() -> str:
        nonlocal calls
        calls += 1
        record(Kind.ARRIVED, "card service", f"{day}: call {calls}", who="shop")
        if day == HANGS:
            await anyio.sleep_forever()
        await anyio.sleep(0.1)
        if calls % 5 == (seed % 4) + 1:
            raise ConnectionError("no answer")
        return PAID

    breaker = CircuitBreaker("cards", policy=ConsecutiveFailures(5), open_duration=OpenDuration(600))
    pay = protect(call, breaker, timeout, retry, fallback)
    _must_be_function("protect returns", pay)
    for number in range(1, CUSTOMERS + 1):
        with acting("shop"):
            try:
                got = str(await pay())
            except NotImplementedError:
                raise
            except Exception as error:
                got = type(error).__name__
        record(Kind.EFFECT, "shop", f"{day}: customer {number}", effect=got)
        await anyio.sleep(0.1)
    kit.write_down(day=day)


def judge(trace: Trace) -> kit.Symptoms:
    kit.facts(trace)
    reached = trace.filter(Kind.ARRIVED, test=lambda call: call.message.startswith(HANGS))
    ends = trace.filter(Kind.EFFECT, where="shop")
    strange = [end for end in ends if end.data["effect"] not in (PAID, BILL)]
    bills = [end for end in ends if end.data["effect"] == BILL and end.message.startswith(WELL)]
    if strange:
        words = f"{strange[0].message} got {strange[0].data['effect']}."
        yield kit.seen("error-came-out", words, strange[:3])
    elif len(reached) > MOST:
        words = f"{len(reached)} calls reached the service that hangs."
        yield kit.seen(_why_so_many(trace), words, trace.filter(where="cards")[:12])
    elif bills:
        yield kit.seen("no-second-try", f"{bills[0].message} got a bill.", bills[:3])


def _why_so_many(trace: Trace) -> str:
    """The mistake that explains why the breaker did not stop the calls."""
    if not trace.filter(Kind.STARTED, where="cards"):
        return "no-breaker"
    for kind, mistake in ((Kind.CANCELLED, "cancelled-calls"), (Kind.FINISHED, "hides-failures")):
        if trace.filter(kind, where="cards"):
            return mistake
    return "learns-slowly"


EXERCISE = kit.exercise(
    __name__, __doc__, kit.cases(two_days, lambda seed: (HANGS, WELL), judge), judge, seeds=(1, 2)
)
