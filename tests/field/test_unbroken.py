"""An exchange with a server comes to its end, whatever happens to whoever asked for it."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from aiormq.exceptions import ChannelNotFoundEntity, ConnectionInternalError

from eip_ref.field import rabbitmq_stream, unbroken
from tests.backends import on_asyncio


@on_asyncio
async def test_its_answer_comes_out() -> None:
    assert await unbroken(asyncio.sleep(0, "answer")) == "answer"


@on_asyncio
async def test_its_error_comes_out() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("there is none")

    with pytest.raises(LookupError, match="there is none"):
        await unbroken(fail())


@on_asyncio
async def test_it_ends_and_is_undone_when_its_caller_is_cancelled() -> None:
    """Also when it has just ended and the caller has not heard of it yet."""
    for turns in range(5):
        begun = anyio.Event()
        undone: list[str] = []

        async def take(begun: anyio.Event = begun) -> str:
            begun.set()
            await asyncio.sleep(0)
            return "message"

        async def undo(answer: str, undone: list[str] = undone) -> None:
            undone.append(answer)

        task = asyncio.create_task(unbroken(take(), undo))
        await begun.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
            assert undone == ["message"]
        else:
            assert await task == "message"
            assert not undone


@on_asyncio
async def test_work_that_its_client_cancels_is_cancelled() -> None:
    """As clients do when the connection is lost."""
    answer = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(unbroken(answer))
    await asyncio.sleep(0)
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


@on_asyncio
async def test_a_broker_that_has_not_begun_its_streams_is_asked_again() -> None:
    """A stream of RabbitMQ is not there then, or the connection is closed with an internal error."""
    for error in (ChannelNotFoundEntity("no stream"), ConnectionInternalError("INTERNAL_ERROR")):
        answers: list[BaseException | str] = [error, "a consumer"]

        async def ask(answers: list[BaseException | str] = answers) -> str:
            if isinstance(answer := answers.pop(0), BaseException):
                raise answer
            return answer

        assert await rabbitmq_stream._once_it_is_there(ask) == "a consumer"
