"""Command executor: a business failure ends the attempts of a command, an infrastructure failure does not.

Every attempt carries the same command with the same id, which is its idempotency key. So one whose
outcome is in doubt may be repeated, and whichever attempt is answered, the answer is that of the one
operation. A command is in doubt from its first attempt without a definite end until an answer.

Two of the outcomes come from the participant: it did the work, or it refused it for a reason of the
business. The other two say how well the way to it worked. `NotDone` is definite; anything else that
is raised, and a timeout too, leaves it in doubt: it may have happened, or may yet.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from .. import values
from ..message import Handler, Message
from ..trace import Kind, record
from .definition import Retry
from .participant import NotDone, Refused, role
from .state import LogRecord, RecordType

__all__ = ["CommandExecutor", "Execute", "in_words"]

Execute = Callable[[Message], Awaitable[Any] | Any]
"""Brings a command to its participant, and returns the answer. Raises `Refused` for a no of the
participant, `NotDone` when the command certainly was not executed, anything else when in doubt."""


class CommandExecutor:
    """Executes commands, in as many attempts as they need.

    `where` is the place in the trace; `send_again`, plain or `async`, is called before each attempt after
    the first.
    """

    def __init__(self, where: str, execute: Execute, send_again: Handler) -> None:
        self._where = values.name("where", where)
        self._execute = execute
        self._send_again = send_again

    async def execute(
        self,
        command: Message,
        retry: Retry,
        timeout: float,
        *,
        until: float = math.inf,
        sent: bool = True,
        doubt: str = "",
    ) -> LogRecord:
        """Try until there is an answer, at most as often as `retry` says, and not beyond `until`.

        Returns done, refused, not done or doubt, with the answer or the reason. `sent`: the first attempt
        is on its way already. `doubt`: why an earlier attempt may have been executed.
        """
        result = self._result(command, RecordType.NOT_DONE, "")
        for number in range(1, retry.attempts + 1):
            if number > 1:
                delay = retry.backoff.seconds(number - 1)
                if anyio.current_time() + delay >= until:
                    break
                await anyio.sleep(delay)
            if number > 1 or not sent:
                await values.finished(self._send_again(command))
            result = await self._once(command, number, min(anyio.current_time() + timeout, until))
            if result.type in (RecordType.DONE, RecordType.REFUSED):
                return result
            doubt = doubt or (result.data if result.type is RecordType.DOUBT else "")
        return self._result(command, RecordType.DOUBT, doubt) if doubt else result

    async def _once(self, command: Message, number: int, until: float) -> LogRecord:
        self._tell(Kind.STARTED, command, attempt=number)
        begun = anyio.current_time()
        try:
            with anyio.CancelScope(deadline=until):
                answer = await values.finished(self._execute(command))
                return self._answered(command, answer)
        except Refused as refusal:
            return self._failed(command, RecordType.REFUSED, refusal, str(refusal))
        except NotDone as error:
            return self._failed(command, RecordType.NOT_DONE, error, in_words(error))
        except Exception as error:  # whatever it is, it may have happened
            return self._failed(command, RecordType.DOUBT, error, in_words(error))
        except anyio.get_cancelled_exc_class():
            self._tell(Kind.CANCELLED, command)
            raise
        seconds = anyio.current_time() - begun
        self._tell(Kind.TIMED_OUT, command, after=seconds)
        return self._result(command, RecordType.DOUBT, f"no answer within {seconds:g} s")

    def _answered(self, command: Message, answer: Any) -> LogRecord:
        """Record that it is done. Raises TypeError for an answer that the log cannot keep."""
        what = role(command)
        if what != "compensation":  # of which the log keeps no answer
            values.check_json(f"the answer to {command.id}", answer)
        self._tell(Kind.FINISHED, command, **({"said": answer["state"]} if what == "question" else {}))
        return self._result(command, RecordType.DONE, answer)

    def _failed(self, command: Message, type_: RecordType, error: Exception, reason: str) -> LogRecord:
        self._tell(Kind.FAILED, command, error=reason, outcome=str(type_))
        return self._result(command, type_, reason)

    def _result(self, command: Message, type_: RecordType, data: Any) -> LogRecord:
        return LogRecord(type_, command.headers["step"], data)

    def _tell(self, kind: Kind, command: Message, **facts: Any) -> None:
        step, saga = command.headers["step"], command.correlation_id
        record(kind, self._where, command.id, saga=saga, step=step, role=role(command), **facts)


def in_words(error: Exception) -> str:
    """The type of an error and what it says."""
    return f"{type(error).__name__}: {error}"
