"""Asking again: what is repeated, when, and what the caller may conclude at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from eip_ref.message import Message
from eip_ref.request_reply import (
    Busy,
    ClosedWhileWaiting,
    DeadlinePassed,
    InDoubt,
    KeyReused,
    NoResponder,
    RemoteError,
    Requestor,
    RequestorClosed,
    TimedOut,
    TransportError,
    request_again,
)
from tests.backends import Play, everywhere, recorded
from tests.request_reply.test_replier import charge
from tests.request_reply.test_request_reply import wired


class Scripted(Requestor):
    """Something to ask whose attempts end as told, each after `takes` seconds."""

    def __init__(self, *ends: Exception | str, takes: float = 0.0) -> None:
        super().__init__(lambda request: None)
        self._ends = list(ends)
        self._takes = takes
        self.asked: list[dict[str, Any]] = []

    async def request(self, body: Any = None, **told: Any) -> Message:
        self.asked.append(told)
        await anyio.sleep(self._takes)
        end = self._ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return Message(end)


def learns(play: Play, service: Scripted, *, pauses: Sequence[float] = (1, 1), **how: Any) -> Any:
    """What the caller learns in the end, and after how many attempts."""

    async def scenario() -> Any:
        start = anyio.current_time()
        if "deadline" in how:
            how["deadline"] += start
        try:
            return (await request_again(service, "order 17", timeout=1, pauses=pauses, **how)).body
        except Exception as error:
            return type(error)

    return play(scenario).result, len(service.asked)


INDEFINITE = [TimedOut("?"), TransportError("?"), InDoubt("?")]
DEFINITE = [NoResponder("no"), Busy("no"), DeadlinePassed("no")]
FINAL = [RemoteError("CardDeclined"), KeyReused("no"), RequestorClosed("no"), ValueError("no")]


@everywhere
@pytest.mark.parametrize("error", INDEFINITE)
def test_an_operation_that_is_not_idempotent_is_not_repeated_after_an_indefinite_outcome(
    play: Play, error: Exception
) -> None:
    """It may have happened: the caller must know."""
    assert learns(play, Scripted(error, "again")) == (type(error), 1)


@everywhere
@pytest.mark.parametrize("error", INDEFINITE)
@pytest.mark.parametrize("how", [{"idempotency_key": "op"}, {"reads_only": True}])
def test_an_idempotent_operation_is_repeated_after_an_indefinite_outcome(
    play: Play, error: Exception, how: dict[str, Any]
) -> None:
    """With a key that stays the same, or because it only reads."""
    service = Scripted(error, error, "answer")
    assert learns(play, service, **how) == ("answer", 3)
    assert {told["idempotency_key"] for told in service.asked} == {how.get("idempotency_key")}


@everywhere
@pytest.mark.parametrize("deadline", [math.inf, 1.5])
def test_when_no_attempt_brings_an_answer_the_last_error_comes_out(play: Play, deadline: float) -> None:
    """After the last attempt, or when another one could not begin in time: nobody is kept waiting."""
    again = Scripted(TimedOut("?"), TimedOut("?"), TransportError("?"))
    expected = (TransportError, 3) if deadline == math.inf else (TimedOut, 2)
    assert learns(play, again, idempotency_key="op", deadline=deadline) == expected


@everywhere
@pytest.mark.parametrize("error", DEFINITE)
def test_any_operation_is_repeated_when_it_was_not_carried_out(play: Play, error: Exception) -> None:
    """And when it never is, the error says that nothing was done."""
    assert learns(play, Scripted(error, "answer")) == ("answer", 2)
    assert learns(play, Scripted(error, error, error)) == (type(error), 3)


@everywhere
@pytest.mark.parametrize(
    "error", [RemoteError("CardDeclined"), KeyReused("no"), RequestorClosed("no"), ValueError()]
)
def test_an_answer_and_what_will_not_change_are_not_asked_for_again(play: Play, error: Exception) -> None:
    """The other side has said what it has to say."""
    assert learns(play, Scripted(error, "again"), idempotency_key="op") == (type(error), 1)


@everywhere
def test_a_requestor_that_closes_is_not_asked_again(play: Play) -> None:
    """It may have happened, and there is nobody to ask."""
    assert learns(play, Scripted(ClosedWhileWaiting("?"), "again"), reads_only=True) == (
        ClosedWhileWaiting,
        1,
    )


@everywhere
@pytest.mark.parametrize("last", [*DEFINITE, KeyReused("no"), RequestorClosed("no")])
def test_one_indefinite_attempt_makes_the_whole_indefinite(play: Play, last: Exception) -> None:
    """Never a definite error for an indefinite outcome, whatever the last attempt said."""
    assert learns(play, Scripted(TimedOut("?"), last), pauses=[1], idempotency_key="op") == (TimedOut, 2)


async def test_the_pauses_are_kept_and_no_attempt_begins_after_the_deadline() -> None:
    """Pauses of 1 and 4 seconds: with a deadline after 3 the third attempt would be pointless."""

    async def ends_at(deadline: float) -> tuple[int, float]:
        service = Scripted(*[Busy("no")] * 3)
        start = anyio.current_time()
        with pytest.raises(Busy):
            await request_again(service, timeout=1, deadline=start + deadline, pauses=[1, 4])
        return len(service.asked), round(anyio.current_time() - start, 6)

    found = [await ends_at(deadline) for deadline in (0.5, 1, 3, 9)]
    with anyio.move_on_after(0.5):
        found.append(await ends_at(9))
    assert found == [(1, 0), (1, 0), (2, 1), (3, 5), (1, 0)]


@everywhere
def test_every_attempt_asks_for_the_same_and_ends_by_the_same_deadline(play: Play) -> None:
    """One operation, one key, one end of it all, and a timeout for each attempt."""
    service = Scripted(TimedOut("?"), Busy("no"), "receipt")
    how: dict[str, Any] = {"type": "Charge", "key": "customer 4", "idempotency_key": "op", "deadline": 9.0}
    assert learns(play, service, **how) == ("receipt", 3)
    assert service.asked == [{**how, "timeout": 1}] * 3


async def test_over_a_network_that_loses_the_first_answers_there_is_one_effect() -> None:
    """For real: the same key until an answer comes, and the card is charged once."""
    async with wired(charge) as shop:
        reply = await request_again(shop, "order 17", timeout=0.45, idempotency_key="op", pauses=[0.1] * 5)
        result = reply.body
    trace = recorded()
    assert result == "receipt for m1"
    assert trace.count("effect") == 1
    assert trace.count("timed out") >= 2
