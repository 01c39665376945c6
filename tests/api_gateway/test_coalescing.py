"""Coalescing: one call for all who ask for the same, and each waits as long as it may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from eip_ref.api_gateway import (
    AdmittedRequest,
    Branch,
    BranchInput,
    Coalesced,
    Coalescer,
    ComposedAnswer,
    FanOut,
    Gateway,
    GatewayTimeout,
    Identity,
    Request,
    Route,
)
from eip_ref.lab.invariants.fan_out import fan_out_budget
from tests.backends import recorded

from .test_backend import Service, fate


async def together(*calls: Any) -> list[Any]:
    """Their fates, in the order given; they begin a tenth of a second apart."""
    got: list[Any] = [None] * len(calls)

    async def one(number: int) -> None:
        await anyio.sleep(number / 10)
        got[number] = await fate(calls[number])

    async with anyio.create_task_group() as group:
        for number in range(len(calls)):
            group.start_soon(one, number)
    return got


@asynccontextmanager
async def coalescer(timeout: float = 10) -> AsyncIterator[Coalescer]:
    """At its end nothing is in flight, and no bar in the trace is longer than it may be."""
    async with Coalescer(timeout=timeout) as shared:
        yield shared
        assert len(shared) == 0
    assert fan_out_budget(recorded()) == []


def values(got: list[Any]) -> list[Any]:
    return [each.value if isinstance(each, Coalesced) else each for each in got]


async def test_callers_of_the_same_share_one_call() -> None:
    """One call per key in flight; each gets a value of their own, and the news that it was shared."""
    service = Service([0.5], [["tea"]])
    async with coalescer() as shared:
        got = await together(*(shared.call("ann", "order 17", service) for _ in range(3)))
        alone = await shared.call("ann", "order 17", service)
    assert (values(got), len({id(each.value) for each in got})) == ([["tea"]] * 3, 3)
    assert ([each.shared for each in got], alone.shared) == ([True] * 3, False)
    assert (service.calls, recorded().count("duplicate")) == (2, 2)


async def test_what_the_first_does_with_its_value_is_its_own_affair() -> None:
    """Also when it changes it before another wakes."""
    service = Service([0.5], [["tea"]])
    async with coalescer() as shared:

        async def first() -> None:
            (await shared.call("ann", "17", service)).value.append("coffee")

        assert values(await together(first(), shared.call("ann", "17", service))) == [None, ["tea"]]


async def test_a_shared_error_is_not_cached() -> None:
    """Who waits gets it; who comes after it makes a call of their own. Values are not kept either."""
    service = Service([0.15], [KeyError(), "ok"])
    async with coalescer() as shared:
        got = await together(*(shared.call("ann", "17", service) for _ in range(5)))
    assert values(got) == [KeyError, KeyError, "ok 1", "ok 1", "ok 2"]


@pytest.mark.parametrize("leaves", [0, 1])
async def test_whoever_leaves_takes_the_call_from_nobody(leaves: int) -> None:
    """Cancelled, the first or another: the call goes on for those who wait, and is made once."""
    service = Service([0.5])
    async with coalescer() as shared:

        async def impatient() -> Any:
            with anyio.move_on_after(0.25):
                return await shared.call("ann", "17", service)
            return "gave up"

        calls: list[Any] = [shared.call("ann", "17", service) for _ in range(3)]
        calls.insert(leaves, impatient())
        begun = anyio.current_time()
        got = values(await together(*calls))
        assert anyio.current_time() - begun == pytest.approx(0.5)
    assert got == ["gave up" if number == leaves else "ok 0" for number in range(4)]
    assert (service.calls, service.cancelled) == (1, 0)


async def test_a_call_that_nobody_waits_for_any_more_is_cancelled_and_awaited() -> None:
    """Nothing runs on after the last has left, and who comes then begins anew."""
    cleaned_up = list[float]()

    async def slow() -> None:
        try:
            await anyio.sleep(9)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.1)
            cleaned_up.append(anyio.current_time())

    async with coalescer() as shared:
        begun = anyio.current_time()
        with anyio.move_on_after(0.5):
            await shared.call("ann", "17", slow)
        assert anyio.current_time() - begun == pytest.approx(0.6)
        assert cleaned_up == [anyio.current_time()]

        async def leaves() -> None:
            with anyio.move_on_after(0.15):
                await shared.call("ann", "17", slow)

        async def answer() -> str:
            await anyio.lowlevel.checkpoint()
            return "anew"

        async with anyio.create_task_group() as group:
            group.start_soon(leaves)
            await anyio.sleep(0.2)  # the call is over for those who waited, and still cleans up
            assert (await shared.call("ann", "17", answer)).value == "anew"


async def test_the_call_has_a_time_of_its_own() -> None:
    """Neither that of the first, nor that of those who come later."""
    service = Service([9])
    async with coalescer(timeout=0.5) as shared:
        begun = anyio.current_time()
        got = await together(shared.call("ann", "17", service), shared.call("ann", "17", service))
        assert anyio.current_time() - begun == pytest.approx(0.5)
    assert (got, service.calls) == ([GatewayTimeout] * 2, 1)


async def test_other_keys_and_other_users_are_called_for_themselves() -> None:
    """Never across users, and nobody is no user."""
    service = Service([0.5])
    async with coalescer() as shared:
        got = await together(
            shared.call("ann", 17, service), shared.call("bob", 17, service), shared.call("ann", 18, service)
        )
        for nobody in ("", None):
            with pytest.raises(ValueError, match="user must be text"):
                await shared.call(nobody, 17, service)  # type: ignore[arg-type]
    assert values(got) == ["ok 0", "ok 1", "ok 2"]


async def test_an_answer_that_cannot_be_copied_goes_to_one_of_those_who_asked() -> None:
    """The others ask for themselves, at the same time, and the trace says why."""
    calls = list[int]()

    async def ask() -> object:
        calls.append(1)
        await anyio.sleep(1)
        return uncopyable

    class Uncopyable:
        def __deepcopy__(self, memo: object) -> object:
            raise TypeError("a socket cannot be copied")

    uncopyable = Uncopyable()
    async with coalescer() as shared:
        assert (await shared.call("ann", "k", ask)).value is uncopyable
        begun = anyio.current_time()
        got = await together(*(shared.call("ann", "k", ask) for _ in range(3)))
        assert anyio.current_time() - begun == pytest.approx(2)
    assert values(got) == [uncopyable] * 3
    assert len(calls) == 4
    assert "cannot be shared" in recorded().filter("note")[0].data["text"]


async def test_a_call_may_be_a_plain_function() -> None:
    """It works as an async one does."""
    async with coalescer() as shared:
        assert await shared.call("ann", 17, lambda: "tea") == ("tea", False)


# The block


async def test_outside_its_block_it_says_so() -> None:
    """A call there would belong to nobody; so does a gateway with a route that coalesces."""
    shared = Coalescer(timeout=1)
    with pytest.raises(RuntimeError, match="use it as `async with`"):
        await shared.call("ann", 17, Service([0]))
    with pytest.raises(RuntimeError, match="use it as `async with`"):
        await door(lambda call: None).handle(asked_for("17"))
    async with shared:
        with pytest.raises(RuntimeError, match="enter it once"):
            await shared.__aenter__()
    with pytest.raises(RuntimeError, match="use it as `async with`"):
        await shared.call("ann", 17, Service([0]))
    async with shared:
        assert (await shared.call("ann", 17, Service([0]))).value == "ok 0"


@pytest.mark.parametrize("ending", ["cancelled", "error"])
async def test_a_block_that_ends_early_lets_nobody_wait_for_ever(ending: str) -> None:
    """The error of the block comes out as itself; the call is cancelled, and whoever waits is told."""
    service, got = Service([9]), list[Any]()
    shared = Coalescer(timeout=20)

    async def caller() -> None:
        got.append(await fate(shared.call("ann", 17, service)))

    async def block(scope: anyio.CancelScope) -> None:
        async with shared:
            outside.start_soon(caller)
            await anyio.sleep(0.1)
            if ending == "error":
                raise KeyError("of the block")
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as outside:
        with anyio.CancelScope() as scope:
            assert await fate(block(scope)) is KeyError
        assert scope.cancelled_caught == (ending == "cancelled")
    assert (got, service.cancelled, len(shared)) == ([RuntimeError], 1, 0)


# Behind a gateway


async def known(request: Request) -> Identity:
    return Identity("ann")


def door(handler: Any) -> Gateway:
    return Gateway([Route("GET", "/view", handler, coalesce=True)], authenticate=known, timeout=1)


def asked_for(seconds: str) -> Request:
    return Request("GET", "/view", deadline=anyio.current_time() + float(seconds))


async def test_a_short_deadline_of_the_first_makes_nobody_elses_answer_partial() -> None:
    """The first hears in time that it is too late; whoever has time gets the whole answer."""

    async def slow(ask: BranchInput) -> str:
        assert ask.request.request.deadline == float("inf")
        await anyio.sleep(0.5)
        return "tea"

    async def quick(ask: BranchInput) -> int:
        return 1

    view = FanOut(Branch("slow", slow), Branch("quick", quick))

    async def handler(call: AdmittedRequest) -> ComposedAnswer:
        return await view(call)

    got = dict[str, Any]()

    async def client(gateway: Gateway, seconds: str) -> None:
        begun = anyio.current_time()
        response = await gateway.handle(asked_for(seconds))
        got[seconds] = response.status, response.body, round(anyio.current_time() - begun, 3)

    async with door(handler) as gateway, anyio.create_task_group() as group:
        group.start_soon(client, gateway, "0.3")
        await anyio.sleep(0.1)
        group.start_soon(client, gateway, "5")
    assert (got["0.3"][0], got["0.3"][2]) == (504, 0.3)
    assert got["5"] == (200, {"data": {"slow": "tea", "quick": 1}, "complete": True, "errors": {}}, 0.4)
    assert fan_out_budget(recorded()) == []
