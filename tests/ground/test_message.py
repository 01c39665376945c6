"""The envelope: what it keeps, and that nobody shares what can change."""

from __future__ import annotations

import math
from typing import Any

import pytest

from eip_ref.message import Message


def test_a_copy_shares_nothing_that_can_change() -> None:
    """Changing the body or headers of one copy changes no other."""
    message = Message({"lines": [1]}, headers={"route": ["shop"]})
    copy = message.copy()
    copy.body["lines"].append(2)
    copy.headers["route"].append("billing")
    assert message.body == {"lines": [1]}
    assert message.headers["route"] == ["shop"]
    assert copy.id == message.id


def test_headers_cannot_be_changed_in_place() -> None:
    """A message is a record: change it by making another."""
    with pytest.raises(TypeError):
        Message(headers={"a": 1}).headers["a"] = 2  # type: ignore[index]


def test_a_reply_is_correlated_with_its_cause() -> None:
    """The correlation goes on through a conversation; the cause is the message before."""
    question = Message("stock?", key="sku-1", correlation_id="order-7")
    answer = question.reply("3 left")
    assert (answer.correlation_id, answer.causation_id, answer.key) == ("order-7", question.id, "sku-1")
    assert Message("hello").reply("hi").id != question.id


@pytest.mark.parametrize("wrong", [{"body": (1, 2)}, {"headers": {"a": {1}}}, {"deadline": -math.inf}])
def test_what_cannot_be_written_is_refused_without_writing_it(wrong: dict[str, Any]) -> None:
    """`check_json` refuses what `to_json` refuses, and nothing else."""
    with pytest.raises(TypeError, match="message 'm1' cannot be written as JSON"):
        Message(id="m1", **wrong).check_json()
    Message({"lines": [1]}, headers={"a": None}, deadline=4.0).check_json()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"id": ""}, {"id": "a\0b"}, {"id": 7}, {"key": 7}, {"type": 5}, {"type": None}),
        *({"correlation_id": 7}, {"causation_id": b"m1"}, {"reply_to": True}),
        *({"correlation_id": 0}, {"causation_id": []}, {"reply_to": False}),
    ],
)
def test_a_wrong_id_or_key_or_type_is_refused(wrong: dict[str, object]) -> None:
    """Ids, keys and types are text."""
    with pytest.raises(ValueError, match="must be text"):
        Message("x", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["2", 1.0, True, None, -1])
def test_a_version_is_a_whole_number(wrong: Any) -> None:
    """Else "2" would be no newer than 3."""
    with pytest.raises(ValueError, match="version must be a whole number"):
        Message("x", version=wrong)


@pytest.mark.parametrize(("deadline", "over"), [(None, False), (5.001, False), (5.0, True), (4.999, True)])
def test_a_message_has_expired_from_its_deadline_on(deadline: float | None, over: bool) -> None:
    """At the very instant nobody needs it any more; without a deadline it never expires."""
    assert Message("price", deadline=deadline).has_expired(5.0) is over
