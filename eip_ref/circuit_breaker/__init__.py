"""Circuit breaker: do not call a dependency that is sick, and try again when it may be well.

The promise: a closed breaker lets calls pass and counts what comes of them; when they fail too
often it opens, and rejects calls at once; strictly after the open duration it is half-open, and a few
calls find out whether to close. A result counts only in the generation that admitted its call.

    import anyio
    from eip_ref.circuit_breaker import BreakerOpen, CircuitBreaker, ConsecutiveFailures, OpenDuration
    from eip_ref.lab import simulate

    async def scenario():
        breaker = CircuitBreaker("payments", policy=ConsecutiveFailures(3), open_duration=OpenDuration(5))
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

Read `breaker.py` first: its states, and the three ways to use it. `policies.py` says what a failure is,
when there are enough of them to open, and how it closes again, `fallbacks.py` what to answer meanwhile.

*Left out:* breakers that several processes share, use from threads outside the event loop, letting
traffic back in bit by bit when it closes, and metrics; a production system exports what the trace and
`health()` tell here.
"""

from .breaker import (
    BreakerOpen,
    Breakers,
    CallRejected,
    CircuitBreaker,
    HalfOpenFull,
    Permit,
    State,
    Transition,
)
from .fallbacks import (
    BadResult,
    Cached,
    Degraded,
    FailFast,
    Fallback,
    FallbackFailed,
    QueueForLater,
    Source,
    SourcedValue,
    Unavailable,
    with_fallback,
)
from .policies import (
    AnyOf,
    ConsecutiveFailures,
    FailureRate,
    HalfOpen,
    LastCalls,
    LastSeconds,
    OpenDuration,
    Policy,
    Predicates,
    SlowCallRate,
    Verdict,
    if_error,
    if_result,
)

__all__ = [
    "AnyOf",
    "BadResult",
    "BreakerOpen",
    "Breakers",
    "Cached",
    "CallRejected",
    "CircuitBreaker",
    "ConsecutiveFailures",
    "Degraded",
    "FailFast",
    "FailureRate",
    "Fallback",
    "FallbackFailed",
    "HalfOpen",
    "HalfOpenFull",
    "LastCalls",
    "LastSeconds",
    "OpenDuration",
    "Permit",
    "Policy",
    "Predicates",
    "QueueForLater",
    "SlowCallRate",
    "Source",
    "SourcedValue",
    "State",
    "Transition",
    "Unavailable",
    "Verdict",
    "if_error",
    "if_result",
    "with_fallback",
]
