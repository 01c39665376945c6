"""The attempts of one command: a business failure ends them, an infrastructure failure is tried again.

Every attempt carries the same command with the same id, which is its idempotency key. So an attempt
whose outcome is in doubt may be repeated, and whichever attempt is answered, the answer is that of
the one operation. A command is in doubt from its first attempt without a definite end until an answer.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from ..message import Message
from ..trace import Kind, record
from .commands import role
from .outcomes import NotDone, Outcome, Refused, Result, Retry

__all__ = ["Attempts", "Carry"]

Carry = Callable[[Message], Awaitable[Any]]
"""Brings a command to its participant and returns the answer. Raises `Refused` for a no of the
participant, `NotDone` when the command certainly was not carried out, anything else when in doubt."""


class Attempts:
    """Carries commands for the saga that is called `where` in the trace."""

    def __init__(self, where: str, carry: Carry, post: Callable[[Message], Awaitable[None]]) -> None:
        self._where = where
        self._carry = carry
        self._post = post  # puts a command into the outbox once more

    async def carry_out(
        self,
        command: Message,
        retry: Retry,
        timeout: float,
        *,
        until: float = math.inf,
        posted: bool = True,
        doubt: str = "",
    ) -> Result:
        """Try until there is an answer, at most as often as `retry` says, and not beyond `until`.

        `posted`: the first attempt is in the outbox already. `doubt`: why an earlier attempt may have
        been carried out.
        """
        reason = ""
        for number in range(1, retry.attempts + 1):
            if number > 1:
                pause = retry.backoff.seconds(number - 1)
                if anyio.current_time() + pause >= until:
                    break
                await anyio.sleep(pause)
            if number > 1 or not posted:
                await self._post(command)
            result = await self._once(command, number, min(anyio.current_time() + timeout, until))
            if result.outcome in (Outcome.DONE, Outcome.REFUSED):
                return result
            reason = result.reason
            doubt = doubt or (reason if result.outcome is Outcome.DOUBT else "")
        return Result(Outcome.DOUBT, reason=doubt) if doubt else Result(Outcome.NOT_DONE, reason=reason)

    async def _once(self, command: Message, number: int, until: float) -> Result:
        self._tell(Kind.STARTED, command, attempt=number)
        begun = anyio.current_time()
        try:
            with anyio.CancelScope(deadline=until):
                answer = await self._carry(command)
                said = {"said": answer["state"]} if role(command) == "question" else {}
                self._tell(Kind.FINISHED, command, **said)
                return Result(Outcome.DONE, answer)
        except Refused as refusal:
            return self._failed(command, Outcome.REFUSED, refusal)
        except NotDone as error:
            return self._failed(command, Outcome.NOT_DONE, error)
        except Exception as error:  # whatever it is, it may have happened
            return self._failed(command, Outcome.DOUBT, error)
        except anyio.get_cancelled_exc_class():
            self._tell(Kind.CANCELLED, command)
            raise
        seconds = anyio.current_time() - begun
        self._tell(Kind.TIMED_OUT, command, after=seconds)
        return Result(Outcome.DOUBT, reason=f"no answer within {seconds:g} s")

    def _failed(self, command: Message, outcome: Outcome, error: Exception) -> Result:
        reason = f"{type(error).__name__}: {error}" if outcome is not Outcome.REFUSED else str(error)
        self._tell(Kind.FAILED, command, error=reason, outcome=str(outcome))
        return Result(outcome, reason=reason)

    def _tell(self, kind: Kind, command: Message, **facts: Any) -> None:
        step, saga = command.headers["step"], command.correlation_id
        record(kind, self._where, command.id, saga=saga, step=step, role=role(command), **facts)
