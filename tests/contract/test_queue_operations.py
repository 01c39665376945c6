"""The contract of every queue, second part: batches, rejection, purging, looking, and time to live."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest

from eip_ref.lab import invariants
from eip_ref.message import Message
from eip_ref.message_queue import (
    DeadLetterPolicy,
    Empty,
)

from ..backends import recorded
from .queues import QUEUES, TICK, Make, make

__all__ = ["make"]
pytestmark = QUEUES

ONCE = DeadLetterPolicy(max_failures=1)


async def fill(queue: Any, *given: Any) -> None:
    for body in given:
        await queue.put(Message(body, id=str(body)))


def holds() -> None:
    """The trace up to here keeps what the laboratory asks of every queue."""
    asked = invariants.conservation, invariants.lease_fencing, invariants.one_in_flight_per_key
    invariants.assert_holds(recorded(), *asked)


# Time to live


async def test_a_message_lives_as_long_as_it_was_given(make: Make) -> None:
    """Seconds from its creation, over at the very instant, as with the deadline that they come to."""
    async with make("orders") as queue:
        message = Message("short", ttl=5)
        assert message.deadline == pytest.approx(anyio.current_time() + 5)
        await queue.put(message)
        await anyio.sleep(5 - TICK)
        assert (await queue.receive()).message == message
        await queue.put(Message("over", ttl=5))
        await anyio.sleep(5)
        with pytest.raises(Empty):
            await queue.receive(timeout=0)
        assert queue.counts.dropped == 1
        assert Message("for ever", ttl=math.inf).deadline is None


@pytest.mark.parametrize("wrong", [-1, math.nan, "5", True])
async def test_a_time_to_live_that_is_no_duration_is_refused(make: Make, wrong: Any) -> None:
    """Where it is given, in words; and one message has one end."""
    with pytest.raises(ValueError, match="ttl must be a number of seconds"):
        Message("order", ttl=wrong)
    with pytest.raises(ValueError, match="not both"):
        Message("order", ttl=5, deadline=7)
