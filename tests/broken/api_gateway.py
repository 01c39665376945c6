"""Ways to get a gateway or an aggregator wrong, each as close to the right one as a mistake usually is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import anyio.abc

from eip_ref.aggregator import Aggregate, Aggregator
from eip_ref.api_gateway import (
    AdmittedRequest,
    Backend,
    Branch,
    BranchInput,
    Bulkhead,
    Coalesced,
    Coalescer,
    ComposedAnswer,
    FanOut,
    FieldError,
    Gateway,
    GatewayError,
    Identity,
    Request,
    Response,
    RetryBudget,
)
from eip_ref.api_gateway.edge import Header
from eip_ref.api_gateway.gateway import find
from eip_ref.api_gateway.spans import part_of, span

__all__ = [
    "AsksEverybodyAtOnce",
    "BelievesTheClient",
    "CallsBeforeItAsksWho",
    "ForgetsWhatIsOver",
    "GathersWithoutTimeout",
    "HasNoBulkhead",
    "HedgesWithoutBound",
    "LeavesBranchesRunning",
    "SaysNull",
    "SharesAcrossUsers",
    "TakesDuplicates",
    "TellsEverything",
    "TimesOutOutsideTheBreaker",
    "one_after_the_other",
    "retries",
]

T = TypeVar("T")
Service = Callable[[str], Awaitable[Any]]


async def one_after_the_other(users: Service, payments: Service, orders: Service, order_id: str) -> Any:
    """E14, as the article has it: in sequence, with the order's id for a user's, and no word on trouble."""
    user = await users(order_id)
    payment = await payments(order_id)
    order = await orders(order_id)
    return {"user": user, "payment": payment, "order": order}


class GathersWithoutTimeout(FanOut):
    """All at the same time, and then it waits for the last of them."""

    async def __call__(self, given: Any = None) -> ComposedAnswer:
        values: dict[str, Any] = {}
        until = anyio.current_time() + self._timeout
        with span(self.name, identity := part_of(self.name), until=until):

            async def ask(branch: Branch) -> None:
                with span(branch.name, f"{identity}.{branch.name}"):
                    values[branch.name] = await branch.call(BranchInput(given, {}, until))

            async with anyio.create_task_group() as group:
                for branch in self.branches:
                    group.start_soon(ask, branch)
        return ComposedAnswer(values)


class LeavesBranchesRunning(FanOut):
    """In time, but what is left over runs on in somebody else's task group."""

    elsewhere: anyio.abc.TaskGroup

    async def __call__(self, given: Any = None) -> ComposedAnswer:
        values: dict[str, Any] = {}
        until = anyio.current_time() + self._timeout
        with span(self.name, identity := part_of(self.name), until=until):

            async def ask(branch: Branch) -> None:
                with span(branch.name, f"{identity}.{branch.name}"):
                    values[branch.name] = await branch.call(BranchInput(given, {}, until))

            for branch in self.branches:
                self.elsewhere.start_soon(ask, branch)
            await anyio.sleep(self._timeout - self._reserve)
        missing = [branch.name for branch in self.branches if branch.name not in values]
        return ComposedAnswer(values, {name: FieldError("timed out") for name in missing})


class TellsEverything(Gateway):
    """ "So that the client can debug": the words of every exception in the answer."""

    def refuse(self, request: Request, error: Exception) -> Response:
        return Response(getattr(error, "status", 500), {"error": repr(error)})


class SaysNull(FanOut):
    """200, whatever happened: a field that failed is null."""

    async def __call__(self, given: Any = None) -> ComposedAnswer:
        try:
            answer = await super().__call__(given)
        except GatewayError:
            answer = ComposedAnswer({})
        return ComposedAnswer({branch.name: answer.data.get(branch.name) for branch in self.branches})


class AsksEverybodyAtOnce(FanOut):
    """As wide as there are branches."""

    def __init__(self, *branches: Branch, **how: Any) -> None:
        super().__init__(*branches, **{**how, "max_concurrent": len(branches)})


class _NoBulkhead(Bulkhead):
    @contextmanager
    def place(self, message: str = "") -> Any:
        yield


class HasNoBulkhead(Backend):
    """As many calls as there are callers."""

    def __init__(self, name: str, **how: Any) -> None:
        super().__init__(name, **how)
        self.bulkhead = _NoBulkhead(name, max_concurrent=self.bulkhead.max_concurrent)


def retries(call: Callable[[], Awaitable[T]], times: int) -> Callable[[], Awaitable[T]]:
    """A layer that repeats what fails. One of them is a retry; three of them are a storm."""

    async def again() -> T:
        for _ in range(times - 1):
            try:
                return await call()
            except ConnectionError:
                continue
        return await call()

    return again


class SharesAcrossUsers(Coalescer):
    """The key is what is asked for; who asks is forgotten."""

    async def call(self, user: str, key: Hashable, function: Any) -> Coalesced:
        return await super().call("somebody", key, function)


class _Endless(RetryBudget):
    def spend(self) -> bool:
        return True


class HedgesWithoutBound(Backend):
    """Every slow call is made twice, when the backend is slow because it has too much to do."""

    def __init__(self, name: str, **how: Any) -> None:
        super().__init__(name, **{**how, "budget": _Endless()})


class TimesOutOutsideTheBreaker(Backend):
    """The timeout is around the breaker, to which a call that hangs looks cancelled."""

    def __init__(self, name: str, *, timeout: float, **how: Any) -> None:
        super().__init__(name, timeout=1_000, **how)
        self._outer = timeout

    async def call(self, function: Any, *args: Any, idempotent: bool = False) -> Any:
        with anyio.fail_after(self._outer):
            return await super().call(function, *args, idempotent=idempotent)


class CallsBeforeItAsksWho(Gateway):
    """Begins the work, and finds out meanwhile whether it was allowed to."""

    async def _answer(self, request: Request, limits: list[Header]) -> Any:
        route, given = find(self.routes, request.method, request.path)
        call = AdmittedRequest(Identity("somebody"), request.path, given, tuple(request.headers), request)
        value = await route.handler(call)
        await self._known(request)
        return value


class BelievesTheClient(Gateway):
    """Routes by the path as it was written, and passes all headers on."""

    async def _answer(self, request: Request, limits: list[Header]) -> Any:
        identity = await self._known(request)
        route, given = find(self.routes, request.method, request.path)
        return await route.handler(
            AdmittedRequest(identity, request.path, given, tuple(request.headers), request)
        )


class ForgetsWhatIsOver(Aggregator):
    """A late message finds no group, so it begins one."""

    async def _end(self, *args: Any, **kwargs: Any) -> None:
        await super()._end(*args, **kwargs)
        self._over.clear()


class TakesDuplicates(Aggregator):
    """Whatever comes is one more, so a line that came twice completes the group."""

    _count = 0

    def _place(self, message: Any) -> int:
        self._count += 1
        return self._count

    def __init__(self, emit: Callable[[Aggregate], Awaitable[object]], **how: Any) -> None:
        super().__init__(emit, **{**how, "sequence": self._place})
