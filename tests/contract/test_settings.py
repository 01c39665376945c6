"""The contract of settings: what is no number, no name or no plain function is refused where it is given.

A public class with such parameters joins by its other arguments in `GIVEN`, or as a record in `RECORDS`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from eip_ref import aggregator, api_gateway, backpressure, circuit_breaker
from eip_ref.message_queue import MessageQueue

ROOMS: list[ModuleType] = [aggregator, api_gateway, backpressure, circuit_breaker]

GIVEN: dict[str, dict[str, Any]] = {
    "Aggregator": {"emit": print, "complete": len, "timeout": 1, "late": print},
    "Backend": {"name": "users", "timeout": 1},
    "Branch": {"name": "user", "call": print},
    "Breakers": {"make": circuit_breaker.CircuitBreaker},
    "Buffer": {"name": "prices", "capacity": 3, "when_full": "block"},
    "Bulkhead": {"name": "users"},
    "Cached": {"max_age": 1},
    "CircuitBreaker": {"name": "users"},
    "Coalescer": {"timeout": 1},
    "ConsecutiveFailures": {},
    "ConsumerPool": {
        "name": "crew", "queue": MessageQueue("q"), "handle": print,
        "scaling": backpressure.Scaling(), "expected_rate": 1,
    },
    "Credit": {"name": "credit"},
    "Demand": {"name": "demand", "source": backpressure.Buffer("b", 1, when_full="block"), "receive": print},
    "FailFast": {"dependency": "users"},
    "FailureRate": {"threshold": 0.5, "window": circuit_breaker.LastSeconds(10)},
    "FanOut": {"branches": [api_gateway.Branch("user", print)], "timeout": 1},
    "FirstFailure": {},
    "Gateway": {"routes": [], "authenticate": print, "timeout": 1},
    "HalfOpen": {},
    "Hedging": {"delay": 1},
    "Identity": {"subject": "ann"},
    "LastCalls": {"size": 3},
    "LastSeconds": {"seconds": 3},
    "LoadShedder": {},
    "OpenDuration": {},
    "ProbeRate": {"threshold": 0.5, "probes": 2},
    "QueueForLater": {"queue": MessageQueue("q"), "key": str},
    "RateLimit": {"rate": 1, "burst": 1},
    "RetryBudget": {},
    "Scaling": {},
    "SlowCallRate": {"threshold": 0.5, "window": circuit_breaker.LastSeconds(10), "slow_after": 1},
    "TokenBucket": {"name": "bucket", "rate": 1, "burst": 1},
}  # fmt: skip

RECORDS = {
    "AdmittedRequest", "Aggregate", "BranchInput", "BufferCounts", "ComposedAnswer", "FieldError", "Group",
    "Load", "Offer", "Permit", "Request", "Reservation", "Response", "Route", "SourcedValue", "Transition",
}  # fmt: skip

UNBOUNDED = {("Backend", "timeout"), ("Branch", "timeout"), ("FanOut", "timeout"), ("ConsumerPool", "drain")}
BAD: dict[str, list[Any]] = {
    "float": [math.nan, -math.inf, math.inf, -1, True, "1", None],
    "int": [math.nan, math.inf, -1, 1.5, True, "1", None],
    "str": ["", "a\0b", None, 7],
}


def classes() -> Iterator[type]:
    for room in ROOMS:
        for name in room.__all__:
            found = getattr(room, name)
            if inspect.isclass(found) and not issubclass(found, Exception):
                yield found


def settings() -> Iterator[Any]:
    for cls in classes():
        for parameter in inspect.signature(cls).parameters.values():
            for bad in BAD.get(str(parameter.annotation), []):
                unbounded = (cls.__name__, parameter.name) in UNBOUNDED and bad == math.inf
                if cls.__name__ in GIVEN and parameter.name != "type" and not unbounded:
                    yield pytest.param(
                        cls, parameter.name, bad, id=f"{cls.__name__}-{parameter.name}-{bad!a}"
                    )


def make(cls: type, **how: Any) -> object:
    how = GIVEN[cls.__name__] | how
    return cls(*how.pop("branches", []), **how)


@pytest.mark.parametrize(("cls", "parameter", "bad"), [*settings()])
def test_a_setting_that_is_none_is_refused_by_its_name(cls: type, parameter: str, bad: Any) -> None:
    """At once, in words that name it, and not by what goes wrong much later."""
    with pytest.raises(ValueError, match=parameter):
        make(cls, **{parameter: bad})


async def test_every_public_class_with_settings_is_held_to_it() -> None:
    """And what is given here besides is right."""
    with_settings = {
        cls.__name__
        for cls in classes()
        if BAD.keys() & {str(each.annotation) for each in inspect.signature(cls).parameters.values()}
    }
    assert with_settings - GIVEN.keys() - RECORDS == set()
    for cls in classes():
        if cls.__name__ in GIVEN:
            make(cls)
