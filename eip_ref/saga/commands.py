"""The commands of a step: to do it, to undo it, and to ask what became of it.

The id of the first is `<saga>/<step>`, in every attempt and after every restart: it is the key under
which the participant remembers the operation. The other two name that key in a header.
"""

from __future__ import annotations

from typing import Any

from ..message import Message

__all__ = ["ASKS", "UNDOES", "ask", "do", "role", "undo"]

UNDOES = "undoes"  #: header of a compensation: the key of the operation that it takes back
ASKS = "asks"  #: header of a question: the key of the operation that it asks about


def do(saga: str, step: str, type: str, body: Any) -> Message:
    """The command that asks for a step."""
    return Message(body, type=type, id=f"{saga}/{step}", correlation_id=saga, headers={"step": step})


def undo(saga: str, step: str, type: str, body: Any) -> Message:
    """The command that takes it back; it carries the same body."""
    key = f"{saga}/{step}"
    headers = {"step": step, UNDOES: key}
    return Message(body, type=type, id=f"{key}/undo", correlation_id=saga, causation_id=key, headers=headers)


def ask(saga: str, step: str, type: str) -> Message:
    """The question what became of it. The answer is `{"state": …, "answer": …}`."""
    key = f"{saga}/{step}"
    headers = {"step": step, ASKS: key}
    return Message(type=type, id=f"{key}/ask", correlation_id=saga, causation_id=key, headers=headers)


def role(command: Message) -> str:
    """What a command is for, as the trace says it: "action", "compensation" or "question"."""
    if ASKS in command.headers:
        return "question"
    return "compensation" if UNDOES in command.headers else "action"
