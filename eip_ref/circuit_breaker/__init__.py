"""Circuit breaker: do not call a dependency that is sick, and try again when it may be well.

The promise: a closed breaker lets calls pass and counts what comes of them; when they fail too
often it opens, and rejects calls at once; strictly after the open time it is half-open, and a few
calls find out whether to close. A result counts only in the generation that admitted its call.

    import anyio
    from eip_ref.circuit_breaker import BreakerOpen, CircuitBreaker, ConsecutiveFailures, OpenTime
    from eip_ref.lab import simulate

    async def scenario():
        breaker = CircuitBreaker("payments", policy=ConsecutiveFailures(3), open_time=OpenTime(5))
        repaired = anyio.current_time() + 12

        @breaker
        async def charge(order):
            await anyio.sleep(0.5)
            if anyio.current_time() < repaired:
                raise ConnectionError("nobody answers")
            return f"charged {order}"

        for number in range(1, 13):
            try:
                said = await charge(f"order {number}")
            except (BreakerOpen, ConnectionError) as error:
                said = f"{type(error).__name__}: {error}"
            print(f"{anyio.current_time():4} s  {breaker.state:6}  {said}")
            await anyio.sleep(1.5)

    simulate(scenario)

Read `breaker.py` first, then `uses.py`: decorator, context manager, two steps. `policies.py` and
`windows.py` say when it opens, `recovery.py` how it closes again, `outcomes.py` what a failure is,
`protected.py` and `fallbacks.py` what to answer meanwhile; `registry.py` gives each dependency its own.

*Left out:* breakers that several processes share, use from threads outside the event loop, and
metrics; a production system exports what the trace records here.
"""

from .breaker import CircuitBreaker
from .fallbacks import Cached, Degraded, FailFast, QueueForLater
from .outcomes import Outcomes
from .permit import Permit
from .policies import AnyOf, Call, ConsecutiveFailures, FailureRate, Policy, SlowCallRate
from .protected import (
    Answer,
    BadResult,
    Fallback,
    FallbackFailed,
    NoFallback,
    Protected,
    Source,
    Unavailable,
)
from .recovery import FirstFailure, HalfOpen, OpenTime, ProbeRate
from .registry import Breakers
from .states import BreakerOpen, CallRejected, Change, HalfOpenFull, State, Verdict
from .windows import LastCalls, LastSeconds

__all__ = [
    "Answer",
    "AnyOf",
    "BadResult",
    "BreakerOpen",
    "Breakers",
    "Cached",
    "Call",
    "CallRejected",
    "Change",
    "CircuitBreaker",
    "ConsecutiveFailures",
    "Degraded",
    "FailFast",
    "FailureRate",
    "Fallback",
    "FallbackFailed",
    "FirstFailure",
    "HalfOpen",
    "HalfOpenFull",
    "LastCalls",
    "LastSeconds",
    "NoFallback",
    "OpenTime",
    "Outcomes",
    "Permit",
    "Policy",
    "ProbeRate",
    "Protected",
    "QueueForLater",
    "SlowCallRate",
    "Source",
    "State",
    "Unavailable",
    "Verdict",
]
