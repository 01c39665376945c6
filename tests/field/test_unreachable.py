"""A system that is not there is a ConnectionError, whatever its client raises."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from eip_ref.field import reaching
from eip_ref.field.activemq import ActiveMQQueue
from eip_ref.field.servers.server import HOST, free_port
from eip_ref.field.sns import SnsChannel
from eip_ref.field.sqs import SqsQueue

ADAPTERS = [(ActiveMQQueue, "stomp"), (SnsChannel, "http"), (SqsQueue, "http")]


@pytest.mark.parametrize(("adapter", "scheme"), ADAPTERS, ids=["activemq", "sns", "sqs"])
def test_a_system_that_is_not_there_is_a_connection_error(adapter: Any, scheme: str) -> None:
    """With a word on the reason."""

    async def main() -> None:
        with pytest.raises(ConnectionError, match=r"orders.*: \S"):
            async with adapter(f"{scheme}://nobody:nothing@{HOST}:{free_port()}", "orders"):
                raise AssertionError("it was opened")

    anyio.run(main)


def test_an_error_without_words_is_told_by_its_name() -> None:
    """Several clients raise such errors."""
    with pytest.raises(ConnectionError, match=r"^orders: BrokenPipeError$"), reaching("orders", (OSError,)):
        raise BrokenPipeError
