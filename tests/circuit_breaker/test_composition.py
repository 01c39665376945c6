"""Breaker, timeout and retry together: the order decides who is called how often, and what is counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import pytest
import stamina

from eip_ref.circuit_breaker import BreakerOpen, CircuitBreaker, ConsecutiveFailures, OpenDuration
from tests.backends import recorded

Work = Callable[[], Awaitable[None]]

ATTEMPTS, THRESHOLD, TIMEOUT = 3, 5, 1.0


class Payments:
    """A service that hangs, and counts who called it."""

    def __init__(self) -> None:
        self.calls = 0

    async def charge(self) -> None:
        self.calls += 1
        await anyio.sleep_forever()


def timeout(work: Work) -> Work:
    async def limited() -> None:
        with anyio.fail_after(TIMEOUT):
            await work()

    return limited


def retry(work: Work) -> Work:
    """Three attempts, a second apart. That the breaker is open is an answer, and no reason to try again."""
    again = stamina.AsyncRetryingCaller(
        attempts=ATTEMPTS, timeout=None, wait_initial=1, wait_max=1, wait_jitter=0, wait_exp_base=1
    )

    async def tried() -> None:
        await again(TimeoutError, work)

    return tried


class Counts(NamedTuple):
    calls: int  #: that reached the service
    orders: int  #: that failed until one was turned away, at most 20


async def until_open(build: Callable[[Work, CircuitBreaker], Work]) -> Counts:
    """Orders come one after the other, until one is turned away by the open breaker."""
    service = Payments()
    breaker = CircuitBreaker(
        "payments", policy=ConsecutiveFailures(THRESHOLD), open_duration=OpenDuration(600)
    )
    pay = build(service.charge, breaker)
    for orders in range(20):
        try:
            await pay()
        except TimeoutError:
            continue
        except BreakerOpen:
            return Counts(service.calls, orders)
    return Counts(service.calls, 20)


async def test_retry_around_breaker_around_timeout_counts_every_attempt() -> None:
    """The breaker sees 5 timeouts and opens in the second order: 5 calls reach the sick service."""
    seen = await until_open(lambda work, breaker: retry(breaker(timeout(work))))
    assert seen == Counts(calls=5, orders=1)
    assert recorded().count("failed") == 5
    assert recorded().count("refused") == 1


async def test_breaker_around_retry_counts_each_order_once() -> None:
    """Three times as many calls reach the sick service before the breaker has seen its 5 failures."""
    seen = await until_open(lambda work, breaker: breaker(retry(timeout(work))))
    assert seen == Counts(calls=15, orders=5)
    assert recorded().count("failed") == 5


async def test_a_timeout_around_the_breaker_is_a_cancellation_and_never_opens_it() -> None:
    """From inside it looks as if the caller had gone: neutral, for ever. The timeout belongs inside."""
    seen = await until_open(lambda work, breaker: timeout(breaker(work)))
    assert seen == Counts(calls=20, orders=20)
    assert recorded().count("state", "failed") == 0
    assert recorded().count("cancelled") == 20


@pytest.mark.parametrize("orders", [5, 50])
async def test_a_retry_that_stops_at_an_open_breaker_adds_no_load(orders: int) -> None:
    """However many orders come while it is open, nobody calls the service."""
    service = Payments()
    breaker = CircuitBreaker("payments", policy=ConsecutiveFailures(1), open_duration=OpenDuration(600))
    pay = retry(breaker(timeout(service.charge)))
    for _ in range(orders):
        with pytest.raises((TimeoutError, BreakerOpen)):
            await pay()
    assert service.calls == 1
