"""The promises of a circuit breaker, asked of ours and of Envoy's outlier detection before real services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
from starlette.responses import Response

from eip_ref.field.servers.server import HOST, place_on_loopback

from .promises import SOON, Site, promise
from .services import Answer, Asked, Service, served, well

FAILURES = 3  #: in a row, at which it opens
LATE = 2  #: calls that may still come through while a proxy takes the news from one thread to another
FAR = 60.0  #: seconds that no test waits for


class Reply(NamedTuple):
    """What a caller is told."""

    status: int
    refused: bool = False
    retry_after: float | None = None


class Guarded:
    """A service that is asked through a breaker."""

    def __init__(self, guard: Any, service: Service) -> None:
        self._guard, self.service = guard, service
        self.force_open = guard.force_open

    @property
    def asked(self) -> int:
        return len(self.service.asked)

    async def ask(self) -> Reply:
        return Reply(*await self._guard.ask())

    async def statuses(self, *statuses: int) -> list[int]:
        """Let the service answer with these, one call after the other; what the caller gets."""
        found = []
        for status in statuses:
            self.service.answer = says(status)
            found.append((await self.ask()).status)
        return found

    async def fail_until_open(self) -> float:
        """Let calls fail until one is refused; the time of that."""
        self.service.answer = says(500)
        for _ in range(FAILURES + LATE + 1):
            if (await self.ask()).refused:
                return anyio.current_time()
            await anyio.sleep(0.02)
        raise AssertionError("it does not open")

    async def until_asked(self) -> float:
        """Call until a call comes through; the time of that."""
        before = self.asked
        with anyio.fail_after(2 * SOON):
            while self.asked == before:
                await self.ask()
                await anyio.sleep(0.02)
        return anyio.current_time()


def says(status: int) -> Answer:
    async def answer(asked: Asked) -> Response:
        return Response(status_code=status)

    return answer


async def hang(asked: Asked) -> Response:
    await anyio.sleep_forever()
    raise AssertionError


@asynccontextmanager
async def guarded(site: Site, answer: Answer = well, **settings: Any) -> AsyncIterator[Guarded]:
    """A service behind a breaker that is open for long, unless it is said for how long."""
    chosen = {"failures": FAILURES, "open_for": FAR, "timeout": SOON, **settings}
    async with (
        served(payments=answer) as services,
        site.open("breaker", urls=[services["payments"].url], **chosen) as guard,
    ):
        yield Guarded(guard, services["payments"])


# Closed


@promise
async def test_it_opens_after_failures_in_a_row(site: Site) -> None:
    """At the third: no earlier, and a proxy a call or two later."""
    async with guarded(site) as door:
        await door.fail_until_open()
        assert FAILURES <= door.asked <= FAILURES + LATE


@promise
async def test_a_success_begins_the_count_anew(site: Site) -> None:
    """Two failures, a success and two failures are no three in a row."""
    async with guarded(site) as door:
        told = [500, 500, 200] * 3
        assert await door.statuses(*told) == told
        assert door.asked == 9


@promise
async def test_a_share_of_failures_opens_it(site: Site) -> None:
    """Every second call fails, so there are never two failures in a row."""
    async with guarded(site, rate=0.5) as door:
        refused = False
        with anyio.move_on_after(SOON):
            while not refused:
                door.service.answer = says(200 + 300 * (door.asked % 2))
                refused = (await door.ask()).refused
        assert refused, f"it is closed after {door.asked} calls"
        assert door.asked >= 10


@promise
async def test_a_call_that_hangs_is_a_failure(site: Site) -> None:
    """When it has taken longer than it may."""
    async with guarded(site, hang, timeout=site.unit / 4) as door:
        assert [(await door.ask()).status for _ in range(FAILURES)] == [504] * FAILURES
        assert (await reply_soon(door)).refused


@promise
async def test_a_service_that_is_not_there_is_a_failure(site: Site) -> None:
    """Nobody listens at its address."""
    with place_on_loopback() as place:
        nobody = [f"http://{HOST}:{place.getsockname()[1]}"]
        async with site.open("breaker", urls=nobody, failures=FAILURES, open_for=FAR, timeout=SOON) as guard:
            door = Guarded(guard, Service(well))
            found = [(await door.ask()) for _ in range(FAILURES)]
            assert not any(each.refused for each in found)
            assert (await reply_soon(door)).refused


async def reply_soon(door: Guarded) -> Reply:
    """The first refusal within the next calls, or the last reply."""
    for _ in range(LATE + 1):
        if (reply := await door.ask()).refused:
            break
        await anyio.sleep(0.02)
    return reply


@promise
async def test_what_the_caller_did_wrong_opens_nothing(site: Site) -> None:
    """A 404 is an answer of a service that is well."""
    async with guarded(site) as door:
        assert await door.statuses(*[404] * 10) == [404] * 10


@promise
async def test_what_the_caller_did_wrong_says_nothing(site: Site) -> None:
    """It is no success either: the failure after it is the third in a row."""
    async with guarded(site) as door:
        await door.statuses(500, 500, 404, 500)
        assert (await reply_at_once(door)).refused


async def reply_at_once(door: Guarded) -> Reply:
    """The reply of a service that is well by now, when the news has come through."""
    door.service.answer = well
    await anyio.sleep(0.2)
    return await door.ask()


@promise
async def test_a_call_that_is_given_up_says_nothing(site: Site) -> None:
    """Its caller had no time any more; of the service nothing is known."""
    async with guarded(site, hang) as door:
        for number in range(2 * FAILURES):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(door.ask)
                await door.service.has_been_asked(number + 1)
                tasks.cancel_scope.cancel()
        assert (await reply_at_once(door)).status == 200


# Open


@promise
async def test_an_open_breaker_refuses_at_once_and_asks_nobody(site: Site) -> None:
    """Although the service hangs by now."""
    async with guarded(site) as door:
        await door.fail_until_open()
        before, door.service.answer = door.asked, hang
        start = anyio.current_time()
        assert all([(await door.ask()).refused for _ in range(20)])
        assert anyio.current_time() - start < SOON
        assert door.asked == before


@promise
async def test_a_refusal_is_told_from_a_failure(site: Site) -> None:
    """Who is refused knows that nothing was done."""
    async with guarded(site) as door:
        door.service.answer = says(503)
        failed = await door.ask()
        await door.fail_until_open()
        refused = await door.ask()
        assert (failed.refused, refused.refused) == (False, True)


@promise
async def test_a_refusal_says_when_to_come_again(site: Site) -> None:
    """In seconds."""
    async with guarded(site) as door:
        await door.fail_until_open()
        again = (await door.ask()).retry_after
        assert again is not None, "it says nothing of it"
        assert 0 < again <= FAR * 1.05


@promise
async def test_an_operator_can_open_it(site: Site) -> None:
    """By hand, before a service is taken down."""
    async with guarded(site) as door:
        await door.force_open()
        assert (await door.ask()).refused
        assert door.asked == 0


# Half-open


@promise
async def test_it_lets_calls_through_after_its_time(site: Site) -> None:
    """Not before it, and then without anybody's help."""
    async with guarded(site, open_for=site.unit) as door:
        start = anyio.current_time()
        await door.fail_until_open()
        door.service.answer = well
        assert await door.until_asked() - start >= site.unit * 0.95
        assert (await door.ask()).status == 200


@promise
async def test_half_open_lets_one_call_through(site: Site) -> None:
    """While nobody knows what comes of it, the others are refused."""
    go_on = anyio.Event()

    async def wait(asked: Asked) -> Response:
        await go_on.wait()
        return await well(asked)

    async with guarded(site, open_for=site.unit) as door:
        await door.fail_until_open()
        before, door.service.answer = door.asked, wait
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(2 * SOON):
                while door.asked == before:
                    tasks.start_soon(door.ask)
                    await anyio.sleep(0.02)
            refused = [False] * 10
            with anyio.move_on_after(site.unit):
                for each in range(10):
                    refused[each] = (await within(door, site.unit / 10)).refused
            let_in = door.asked - before
            go_on.set()
        assert let_in == 1, f"{let_in} calls came through at the same time"
        assert all(refused)


async def within(door: Guarded, seconds: float) -> Reply:
    """The reply, or none of it."""
    with anyio.move_on_after(seconds):
        return await door.ask()
    return Reply(0)


@promise
async def test_a_failure_after_its_time_opens_it_again(site: Site) -> None:
    """The first one does: the service is as sick as it was."""
    async with guarded(site, open_for=site.unit) as door:
        await door.fail_until_open()
        await door.until_asked()
        assert (await reply_at_once(door)).refused


@promise
async def test_it_is_open_for_longer_each_time(site: Site) -> None:
    """The second time at least twice as long, when it was not well in between."""
    async with guarded(site, open_for=site.unit) as door:
        await door.fail_until_open()
        await door.until_asked()
        start = await door.fail_until_open()
        assert await door.until_asked() - start >= site.unit * 2 * 0.9


@promise
async def test_it_opens_again_as_soon_as_at_first(site: Site) -> None:
    """Within three failures, although it was open a moment ago."""
    async with guarded(site, open_for=site.unit) as door:
        await door.fail_until_open()
        await door.until_asked()
        before = door.asked
        await door.fail_until_open()
        assert door.asked - before <= FAILURES - 1 + LATE


@promise
async def test_a_result_of_before_it_opened_counts_no_more(site: Site) -> None:
    """Calls that were begun then fail now, when the service is well again."""
    go_on = anyio.Event()

    async def wait(asked: Asked) -> Response:
        await go_on.wait()
        return Response(status_code=500)

    async with guarded(site, wait, open_for=site.unit) as door:
        async with anyio.create_task_group() as tasks:
            for _ in range(FAILURES):
                tasks.start_soon(door.ask)
            await door.service.has_been_asked(FAILURES)
            await door.fail_until_open()
            door.service.answer = well
            await door.until_asked()
            go_on.set()
        assert (await reply_at_once(door)).status == 200


# Several instances


@promise
async def test_one_sick_instance_of_two_is_left_out(site: Site) -> None:
    """After its first failures, callers notice nothing of it."""
    async with served(one=says(500), two=well) as services:
        urls: Sequence[str] = [service.url for service in services.values()]
        async with site.open("breaker", urls=urls, failures=FAILURES, open_for=FAR, timeout=SOON) as guard:
            door = Guarded(guard, services["one"])
            with anyio.move_on_after(SOON):
                while door.asked < FAILURES:
                    await door.ask()
            await anyio.sleep(0.2)
            assert [(await door.ask()).status for _ in range(20)] == [200] * 20
