"""Throttles: credit, demand and the token bucket hold a sender to what its receiver can bear."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from eip_ref.backpressure import AboveBurst, Buffer, Credit, Demand, Reservation, TokenBucket
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants import assert_holds, conservation
from eip_ref.lab.invariants.demand import demand_never_exceeded, rate_never_exceeded
from eip_ref.message import Message
from eip_ref.trace import acting
from tests.backends import Play, everywhere, in_two_runs, virtual_time_only


async def orders(count: int) -> AsyncIterator[Message]:
    for number in range(count):
        yield Message(number)


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = anyio.current_time()

    @property
    def now(self) -> float:
        return anyio.current_time() - self.start


# Credit


@everywhere
def test_a_sender_never_sends_more_than_was_granted(play: Play) -> None:
    """It waits, and goes on as soon as the receiver is ready for more; grants add up."""

    async def scenario() -> list[float]:
        credit, clock, sent = Credit("billing", 2), Clock(), []

        async def send() -> None:
            for number in range(7):
                await credit.take(f"m{number}")
                sent.append(clock.now)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(1)
            credit.grant(3)
            await anyio.sleep(1)
            credit.grant()
            credit.grant()
        return sent

    trace = play(scenario)
    assert trace.result == [0, 0, 1, 1, 1, 2, 2]
    assert trace.messages("blocked") == ["m2", "m5"]
    told = [(e.data["was"], e.data["now"], e.data.get("requested", 0)) for e in trace.filter("state")]
    has, none = "credit", "no credit"
    assert told == [
        *((none, has, 2), (has, none, 0)),
        *((none, has, 3), (has, none, 0)),
        *((none, has, 1), (has, has, 1), (has, none, 0)),
    ]
    assert_holds(trace, demand_never_exceeded(where="billing"))


@everywhere
def test_a_grant_for_each_message_that_is_done_makes_a_window(play: Play) -> None:
    """Never more than the first grant are under way at a time."""

    async def scenario() -> int:
        credit, under_way, most = Credit("billing", 3), 0, 0

        async def work() -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await anyio.sleep(1)
            under_way -= 1
            credit.grant()

        async with anyio.create_task_group() as group:
            for _ in range(10):
                await credit.take()
                group.start_soon(work)
        return most

    trace = play(scenario)
    assert trace.result == 3
    assert_holds(trace, demand_never_exceeded)


@everywhere
def test_one_grant_lets_one_of_those_who_wait_go(play: Play) -> None:
    """The others wait on."""

    async def scenario() -> int:
        credit, sent = Credit("billing"), []

        async def send(number: int) -> None:
            await credit.take()
            sent.append(number)

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(send, number)
            await anyio.sleep(1)
            credit.grant()
            await anyio.sleep(1)
            assert len(sent) == 1
            credit.grant(2)
        return len(sent)

    trace = play(scenario)
    assert trace.result == 3
    assert_holds(trace, demand_never_exceeded)


@everywhere
@pytest.mark.parametrize("number", [0, -1, 1.5, math.nan])
def test_granting_less_than_one_is_an_error(play: Play, number: Any) -> None:
    """Credit is never taken back: what was granted may be used already."""

    async def scenario() -> int:
        credit = Credit("billing", 1)
        with pytest.raises(ValueError, match=f"number must be a whole number from 1 on, not {number}"):
            credit.grant(number)
        return credit.available

    assert play(scenario).result == 1


@everywhere
def test_a_sender_that_gives_up_uses_no_credit(play: Play) -> None:
    """Cancelling the wait leaves the grant for somebody else."""

    async def scenario() -> int:
        credit = Credit("billing")
        with pytest.raises(anyio.WouldBlock):
            credit.take_nowait()
        with anyio.move_on_after(1):
            await credit.take()
        credit.grant()
        await credit.wait()
        return credit.available

    assert play(scenario).result == 1


async def test_one_grant_wakes_the_sender_that_has_waited_longest() -> None:
    """Each grant goes to one, in the order in which they came; who gives up passes it on."""
    credit, sent = Credit("billing"), list[str]()

    async def send(name: str, patience: float = 1000.0) -> None:
        with anyio.move_on_after(patience):
            await credit.take(name)
            sent.append(name)

    async with anyio.create_task_group() as group:
        for name, patience in (("a", 1000.0), ("b", 2.0), ("c", 1000.0), ("d", 1000.0)):
            group.start_soon(send, name, patience)
            await anyio.sleep(1)
        for _ in range(2):
            credit.grant()
            await anyio.sleep(1)
        assert sent == ["a", "c"]
        credit.grant(10**12)
    assert sent == ["a", "c", "d"]


async def test_whoever_waits_without_taking_leaves_the_grant_to_the_next() -> None:
    """It uses nothing, so one grant serves both."""
    credit = Credit("billing")
    async with anyio.create_task_group() as group:
        group.start_soon(credit.wait)
        await anyio.sleep(1)
        group.start_soon(credit.take)
        await anyio.sleep(1)
        credit.grant()
    assert credit.available == 0


@virtual_time_only
async def test_nobody_waits_for_a_sender_that_died_waiting_for_credit() -> None:
    """Its turn is that of the next."""
    credit, sent = Credit("billing"), list[str]()

    async def send(name: str) -> None:
        await credit.take(name)
        sent.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(Participant("dead", send, ("dead",), crashes=(Crash(at=1),)).run)
        await anyio.sleep(0.5)
        group.start_soon(send, "alive")
        await anyio.sleep(1)
        credit.grant()
    assert sent == ["alive"]


# Token bucket


async def taken(bucket: TokenBucket, *tokens: float) -> list[float]:
    """When each of these was taken, one after the other."""
    clock, times = Clock(), []
    for number in tokens:
        await bucket.take(number)
        times.append(clock.now)
    return times


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_taking_that_is_cancelled_before_it_began_takes_nothing(backend: str) -> None:
    """A call that is cancelled at its first instant has certainly not happened."""

    async def scenario() -> tuple[int, float]:
        credit, bucket = Credit("window", 1), TokenBucket("api", rate=1, burst=5)
        for take in (credit.take, bucket.take, bucket.reserve(1).wait):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await take()
        return credit.available, bucket.tokens

    assert anyio.run(scenario, backend=backend) == (1, 5)


@everywhere
def test_a_burst_goes_at_once_and_then_the_rate_holds(play: Play) -> None:
    """Throttle: a token bucket with separate rate and burst."""

    async def scenario() -> list[float]:
        return await taken(TokenBucket("payments", rate=2, burst=3), *[1] * 6)

    trace = play(scenario)
    assert trace.result == [0, 0, 0, 0.5, 1, 1.5]
    assert trace.count("blocked") == 3
    assert_holds(trace, rate_never_exceeded(rate=2, burst=3))


@everywhere
@pytest.mark.parametrize(
    ("rate", "burst", "expected"), [(1, 1, [0, 1, 2, 3]), (1, 4, [0, 0, 0, 0]), (4, 1, [0, 0.25, 0.5, 0.75])]
)
def test_rate_and_burst_are_two_numbers(play: Play, rate: float, burst: float, expected: list[float]) -> None:
    """The one changes how it goes on for ever, the other how much goes in a moment."""

    async def scenario() -> list[float]:
        return await taken(TokenBucket("payments", rate=rate, burst=burst), *[1] * 4)

    assert play(scenario).result == expected


@everywhere
def test_tokens_gather_only_up_to_the_burst(play: Play) -> None:
    """A long pause earns no more than a short one."""

    async def scenario() -> list[float]:
        bucket = TokenBucket("payments", rate=1, burst=2)
        await taken(bucket, 2)
        await anyio.sleep(1.5)
        assert bucket.tokens == 1.5
        await anyio.sleep(1000)
        assert bucket.tokens == 2
        return await taken(bucket, 1, 1, 1)

    trace = play(scenario)
    assert trace.result == [0, 0, 1]


@everywhere
def test_a_request_above_the_burst_fails_at_once(play: Play) -> None:
    """No waiting would help; it takes nothing, and everybody else goes on as before."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=1, burst=2), Clock()
        with pytest.raises(AboveBurst, match="never holds 3 tokens; take at most its burst of 2"):
            await bucket.take(3)
        with pytest.raises(AboveBurst):
            bucket.take_nowait(2.5)
        with pytest.raises(AboveBurst):
            bucket.reserve(2.5)
        await bucket.take(2)
        return clock.now

    trace = play(scenario)
    assert trace.result == 0
    assert [e.data["reason"] for e in trace.filter("refused")] == ["above the burst"] * 3


@everywhere
@pytest.mark.parametrize("tokens", [0, -1, math.nan])
def test_nothing_or_less_cannot_be_taken(play: Play, tokens: float) -> None:
    """Taking less than nothing would make tokens."""

    async def scenario() -> float:
        bucket = TokenBucket("payments", rate=1, burst=2)
        with pytest.raises(ValueError, match=f"tokens must be a finite number above 0, not {tokens}"):
            bucket.reserve(tokens)
        return bucket.tokens

    assert play(scenario).result == 2


@pytest.mark.parametrize(
    ("rate", "burst", "words"),
    [
        (0, 1, "rate must"),
        (math.inf, 1, "rate must"),
        (math.nan, 1, "rate must"),
        (1, 0, "burst must"),
        (1, math.inf, "burst must"),
        (1, math.nan, "burst must"),
    ],
)
def test_a_bucket_needs_a_rate_and_a_burst(rate: float, burst: float, words: str) -> None:
    """Without a bound on either it throttles nothing."""
    with pytest.raises(ValueError, match=words):
        TokenBucket("payments", rate=rate, burst=burst)


@everywhere
def test_a_token_is_there_at_the_very_instant_at_which_it_falls(play: Play) -> None:
    """One tick before it is not."""

    async def scenario() -> None:
        bucket = TokenBucket("payments", rate=1, burst=1)
        bucket.take_nowait()
        await anyio.sleep(1 - 1e-6)
        with pytest.raises(anyio.WouldBlock):
            bucket.take_nowait()
        await anyio.sleep(1e-6)
        bucket.take_nowait()

    assert_holds(play(scenario), rate_never_exceeded(rate=1, burst=1))


@everywhere
def test_rounding_does_not_hold_back_a_token(play: Play) -> None:
    """A thousand tenths of a second are a hundred seconds, whatever a computer adds up."""

    async def scenario() -> None:
        bucket = TokenBucket("payments", rate=10, burst=1)
        bucket.take_nowait()
        for _ in range(1000):
            await anyio.sleep(0.1)
            bucket.take_nowait()

    play(scenario)


@everywhere
def test_nobody_overtakes_whoever_waits_for_tokens(play: Play) -> None:
    """A small request waits behind a large one, which would else wait for ever."""

    async def scenario() -> list[str]:
        bucket, clock, done = TokenBucket("payments", rate=1, burst=5), Clock(), []
        bucket.take_nowait(5)

        async def take(name: str, tokens: float) -> None:
            await bucket.take(tokens)
            done.append(f"{name} at {clock.now:g}")

        async with anyio.create_task_group() as group:
            group.start_soon(take, "large", 5)
            await anyio.sleep(2)
            group.start_soon(take, "small", 1)
            await anyio.sleep(1)
            with pytest.raises(anyio.WouldBlock):
                bucket.take_nowait(1)
        return done

    assert play(scenario).result == ["large at 5", "small at 6"]


@everywhere
def test_cancelling_a_wait_gives_the_tokens_back_and_the_others_move_up(play: Play) -> None:
    """Whoever comes after goes as early as if the one who gave up had never come."""

    async def scenario() -> float:
        bucket, clock, scope = TokenBucket("payments", rate=1, burst=5), Clock(), anyio.CancelScope()
        bucket.take_nowait(5)

        async def take_five() -> None:
            with scope:
                await bucket.take(5)

        async with anyio.create_task_group() as group:
            group.start_soon(take_five)
            await anyio.sleep(1)
            second = bucket.reserve(2)
            assert second.at - clock.start == 7
            await anyio.sleep(1)
            scope.cancel()
            await second.wait()
        return clock.now

    trace = play(scenario)
    assert trace.result == 2
    assert_holds(trace, rate_never_exceeded(rate=1, burst=5))


@everywhere
def test_a_reservation_can_be_cancelled_and_gives_its_tokens_back(play: Play) -> None:
    """Once; after that, and after it was used, there is nothing to give back."""

    async def scenario() -> None:
        bucket = TokenBucket("payments", rate=1, burst=4)
        now, later = bucket.reserve(3), bucket.reserve(3)
        assert (now.at, later.at) == (anyio.current_time(), anyio.current_time() + 2)
        assert bucket.tokens == -2
        assert later.cancel()
        assert bucket.tokens == 1
        assert not later.cancel()
        assert bucket.tokens == 1
        assert now.cancel()
        assert bucket.tokens == 4
        used = bucket.reserve(1)
        await used.wait()
        assert not used.cancel()
        assert bucket.tokens == 3
        for over in (later, used):
            await anyio.sleep(0.5)
            with pytest.raises(RuntimeError, match="used or cancelled; make a new one"):
                await over.wait()
        assert bucket.tokens == 4

    trace = play(scenario)
    assert [e.data["tokens"] for e in trace.filter("delivered")] == [1]


@everywhere
def test_a_reservation_that_is_cancelled_is_forgotten_at_once(play: Play) -> None:
    """Callers that lose patience again and again cost no memory, and no time either."""

    async def scenario() -> int:
        bucket = TokenBucket("payments", rate=1, burst=1)
        bucket.take_nowait()
        for _ in range(100):
            bucket.reserve().cancel()
        assert bucket.reserve().at == anyio.current_time() + 1
        return len(bucket._line)

    assert play(scenario).result == 1


@everywhere
def test_cancelling_a_reservation_that_somebody_waits_for_ends_the_wait(play: Play) -> None:
    """The tokens are gone, and whoever waits must hear of it at once."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=1, burst=1), Clock()
        bucket.take_nowait()
        reservation, told = bucket.reserve(), []

        async def wait() -> None:
            with pytest.raises(RuntimeError):
                await reservation.wait()
            told.append(clock.now)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(0.5)
            reservation.cancel()
        return told[0]

    assert play(scenario).result == 0.5


@everywhere
@pytest.mark.parametrize(("late", "back"), [(0, 5), (1, 4), (4.5, 0.5), (5, 0), (100, 0)])
def test_tokens_that_are_given_back_late_come_less_what_fell_since(
    play: Play, late: float, back: float
) -> None:
    """Had nobody reserved them, the bucket would have run over by as much."""

    async def scenario() -> float:
        bucket = TokenBucket("payments", rate=1, burst=5)
        unused, more, start = bucket.reserve(5), bucket.reserve(5), anyio.current_time()
        await anyio.sleep(late)
        before = bucket.tokens
        assert unused.cancel()
        assert more.at - start == min(5, late + max(0, 5 - late - back))
        return bucket.tokens - before

    assert play(scenario).result == back


@pytest.mark.parametrize("begins", [0.5, 1])
async def test_whoever_reserved_first_is_served_first(begins: float) -> None:
    """Also when it begins to wait after the next, up to the very instant of its time."""
    bucket, clock = TokenBucket("payments", rate=1, burst=1), Clock()
    bucket.take_nowait()
    first, second = bucket.reserve(), bucket.reserve()
    async with anyio.create_task_group() as group:
        group.start_soon(second.wait)
        await anyio.sleep(begins)
        await first.wait()
        assert clock.now == 1
    assert clock.now == 2


@everywhere
def test_whoever_comes_late_for_reserved_tokens_waits_anew(play: Play) -> None:
    """Two that were due long ago do not come on top of the two that fell since."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=1, burst=2), Clock()
        late = bucket.reserve(2)
        await anyio.sleep(10)
        await bucket.take(2)
        await late.wait()
        return clock.now

    trace = play(scenario)
    assert trace.result == 12
    assert_holds(trace, rate_never_exceeded(rate=1, burst=2))


@everywhere
def test_whoever_comes_late_for_reserved_tokens_that_nobody_missed_has_them_at_once(play: Play) -> None:
    """On a real clock everybody is late by a little."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=1, burst=2), Clock()
        late = bucket.reserve(2)
        await anyio.sleep(0.25)
        await late.wait()
        return clock.now

    assert play(scenario).result == 0.25


@everywhere
def test_being_late_is_not_forgiven_when_somebody_else_cancels(play: Play) -> None:
    """Those who wait move up; those who are due already stay where they were."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=1, burst=2), Clock()
        late, hopeless, waiting = (bucket.reserve(2) for _ in range(3))
        await anyio.sleep(1)
        hopeless.cancel()
        assert (late.at - clock.start, waiting.at - clock.start) == (0, 2)
        await waiting.wait()
        await late.wait()
        return clock.now

    trace = play(scenario)
    assert trace.result == 4
    assert_holds(trace, rate_never_exceeded(rate=1, burst=2))


@everywhere
def test_whoever_has_moved_up_is_not_late(play: Play) -> None:
    """The tokens are there from the moment at which somebody gave theirs back, and not from before."""

    async def scenario() -> list[float]:
        bucket, clock = TokenBucket("payments", rate=1, burst=5), Clock()
        bucket.take_nowait(5)
        large, small = bucket.reserve(5), bucket.reserve(1)
        await anyio.sleep(2)
        large.cancel()
        due = small.at - clock.start
        await small.wait()
        return [due, clock.now, bucket.tokens]

    assert play(scenario).result == [2, 2, 1]


@everywhere
def test_everybody_who_shares_a_bucket_is_held_to_one_rate(play: Play) -> None:
    """However many they are."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=10, burst=1), Clock()

        async def work() -> None:
            for _ in range(10):
                await bucket.take()

        async with anyio.create_task_group() as group:
            for name in ("shop", "billing", "stock"):
                with acting(name):
                    group.start_soon(work)
        return clock.now

    trace = play(scenario)
    assert trace.result == pytest.approx(2.9)
    assert {trace.count("delivered", who=name) for name in ("shop", "billing", "stock")} == {10}
    assert_holds(trace, rate_never_exceeded(rate=10, burst=1))


@everywhere
def test_a_reservation_that_is_never_used_holds_up_nobody_for_ever(play: Play) -> None:
    """Its tokens are lost, and the bucket forgets it."""

    async def scenario() -> Reservation:
        bucket = TokenBucket("payments", rate=1, burst=1)
        for _ in range(3):
            bucket.reserve()
        await anyio.sleep(3)
        last = bucket.reserve()
        assert len(bucket._line) == 0
        return last

    trace = play(scenario)
    assert not trace.result.settled


@virtual_time_only
async def test_a_thousand_callers_that_give_up_one_by_one_cost_one_look_each() -> None:
    """Only the first in the line is woken when somebody leaves; all others sleep on."""
    bucket = TokenBucket("payments", rate=1e-3, burst=1)
    bucket.take_nowait()
    looks = 0
    time_of = bucket._time_of

    def counted(reservation: Reservation) -> float:
        nonlocal looks
        looks += 1
        return time_of(reservation)

    bucket._time_of = counted  # type: ignore[method-assign]

    async def give_up(patience: float) -> None:
        with anyio.move_on_after(patience):
            await bucket.take()

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(give_up, 1 + number % 7 + number / 1000)
    assert looks < 15_000


@virtual_time_only
@pytest.mark.parametrize("step", range(1, 7))
async def test_tokens_promised_to_a_caller_that_died_waiting_go_to_the_next(step: int) -> None:
    """As if it had given up: those behind move up, and somebody is called for them."""
    bucket, clock = TokenBucket("payments", rate=1, burst=5), Clock()
    bucket.take_nowait(5)
    done = list[float]()

    async def call(tokens: float) -> None:
        await bucket.take(tokens)
        done.append(clock.now)
        await anyio.sleep(100)

    async with anyio.create_task_group() as group:
        group.start_soon(Participant("dead", call, (5.0,), crashes=(Crash(at=1 + step / 10),)).run)
        await anyio.sleep(1)
        for _ in range(2):
            group.start_soon(call, 1.0)
        await anyio.sleep(2)
        group.cancel_scope.cancel()
    assert done == [1 + step / 10, 2]


@everywhere
def test_a_caller_that_cannot_be_served_in_time_is_refused_at_once(play: Play) -> None:
    """Waiting in vain would keep others waiting too; one tick more, and it waits and is served."""

    async def scenario() -> float:
        bucket, clock = TokenBucket("payments", rate=1, burst=2), Clock()
        bucket.take_nowait(2)
        with pytest.raises(anyio.WouldBlock):
            await bucket.take(2, timeout=1.999)
        assert (clock.now, bucket.tokens) == (0, 0)
        await bucket.take(2, timeout=2)
        with pytest.raises(ValueError, match="timeout must be a number of seconds from 0 on"):
            await bucket.take(timeout=math.nan)
        return clock.now

    trace = play(scenario)
    assert trace.result == 2
    assert [e.data["reason"] for e in trace.filter("refused")] == ["not within 1.999 s"]


# Demand


@pytest.mark.parametrize("left", ["empty", "with a promise"])
def test_a_bucket_that_another_run_left_empty_is_full_in_the_next(left: str) -> None:
    """Its clock is another one: nobody waits for hours, and a promise of that run holds up nobody."""
    bucket = TokenBucket("bucket", rate=1, burst=2)

    async def first() -> None:
        await bucket.take(2)
        if left == "with a promise":
            bucket.reserve(2)

    async def second() -> None:
        assert bucket.tokens == 2
        bucket.take_nowait(2)
        begun = anyio.current_time()
        await bucket.take(timeout=1)
        assert anyio.current_time() - begun == pytest.approx(1)

    in_two_runs(first, second)


@everywhere
def test_never_more_is_delivered_than_was_requested(play: Play) -> None:
    """Requests add up, whenever they come."""

    async def scenario() -> list[int]:
        got: list[int] = []
        seen = []

        async def receive(message: Message) -> None:
            got.append(message.body)

        demand = Demand("billing", orders(100), receive)
        async with anyio.create_task_group() as group:
            group.start_soon(demand.run)
            for requests in ((), (1,), (2, 3), (1, 1, 1)):
                for number in requests:
                    demand.request(number)
                await anyio.sleep(1)
                seen.append(len(got))
            assert demand.outstanding == 0
            demand.cancel()
        assert got == list(range(9))
        return seen

    trace = play(scenario)
    assert trace.result == [0, 1, 6, 9]
    assert_holds(trace, demand_never_exceeded, conservation)


@everywhere
def test_what_nobody_requests_stays_in_the_source(play: Play) -> None:
    """So the bound of the source holds back whoever fills it."""

    async def scenario() -> list[int]:
        buffer, got = Buffer("orders", 2, when_full="block"), []

        async def receive(message: Message) -> None:
            got.append(message.body)

        async def send() -> None:
            for number in range(5):
                await buffer.put(Message(number))

        demand = Demand("billing", buffer, receive)
        async with anyio.create_task_group() as group:
            group.start_soon(send)
            group.start_soon(demand.run)
            demand.request(1)
            await anyio.sleep(1)
            depth = len(buffer)
            group.cancel_scope.cancel()
        return [len(got), depth]

    trace = play(scenario)
    assert trace.result == [1, 2]
    assert_holds(trace, demand_never_exceeded, conservation)


@everywhere
@pytest.mark.parametrize("number", [0, -3, 1.5, math.nan])
def test_a_request_for_less_than_one_is_an_error(play: Play, number: Any) -> None:
    """Also after the end, since it is a mistake of the caller."""

    async def scenario() -> int:
        demand = Demand("billing", orders(1), anyio.sleep)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(ValueError, match=f"number must be a whole number from 1 on, not {number}"):
                demand.request(number)
            demand.cancel()
        return demand.outstanding

    assert play(scenario).result == 0


@everywhere
def test_nothing_comes_after_cancel_and_cancelling_twice_is_once(play: Play) -> None:
    """A receiver can cancel while it works: that message is finished, and is the last."""

    async def scenario() -> list[Any]:
        got: list[Any] = []

        async def receive(message: Message) -> None:
            got.append(message.body)
            if message.body == 2:
                demand.cancel()
                demand.cancel()
                demand.request(10)
                await anyio.sleep(1)
                got.append("finished")

        demand = Demand("billing", orders(10), receive)
        demand.request(10)
        await demand.run()
        assert demand.ended == "cancelled"
        return got

    trace = play(scenario)
    assert trace.result == [0, 1, 2, "finished"]
    assert trace.count("dropped") == 0  # nothing more was taken out of the source
    assert [e.data["reason"] for e in trace.filter("closed")] == ["cancelled"]
    assert_holds(trace, demand_never_exceeded, conservation)


@everywhere
def test_cancelling_ends_a_wait_for_a_request_and_one_for_the_source(play: Play) -> None:
    """The run returns at once, whatever it waits for."""

    async def scenario(requests: int) -> float:
        buffer, clock = Buffer("orders", 2, when_full="block"), Clock()

        async def receive(message: Message) -> None: ...

        demand = Demand("billing", buffer, receive)
        if requests:
            demand.request(requests)
        async with anyio.create_task_group() as group:
            group.start_soon(demand.run)
            await anyio.sleep(1)
            demand.cancel()
        return clock.now

    for requests in (0, 1):

        async def one(requests: int = requests) -> float:
            return await scenario(requests)

        assert play(one).result == 1


@everywhere
def test_a_subscription_that_is_cancelled_before_it_runs_delivers_nothing(play: Play) -> None:
    """And its run returns at once."""

    async def scenario() -> str:
        async def receive(message: Message) -> None:
            raise AssertionError

        demand = Demand("billing", orders(3), receive)
        demand.request(3)
        demand.cancel()
        await demand.run()
        return demand.ended

    trace = play(scenario)
    assert trace.result == "cancelled"
    assert trace.count("delivered") == 0


@everywhere
def test_cancelled_in_the_moment_in_which_a_message_comes_it_is_dropped_and_counted(play: Play) -> None:
    """Nothing after the end, also not what the source had given away already."""

    async def scenario() -> Demand:
        async def source() -> AsyncIterator[Message]:
            demand.cancel()
            yield Message("too late")

        async def receive(message: Message) -> None:
            raise AssertionError

        demand = Demand("billing", source(), receive)
        demand.request()
        await demand.run()
        return demand

    trace = play(scenario)
    assert [e.data["reason"] for e in trace.filter("dropped")] == ["cancelled"]
    assert trace.result.ended == "cancelled"
    assert_holds(trace, demand_never_exceeded, conservation)


@everywhere
def test_the_run_returns_when_the_source_ends(play: Play) -> None:
    """Complete, whether more was requested or not; nothing can be requested any more."""

    async def scenario() -> list[Any]:
        got: list[Any] = []

        async def receive(message: Message) -> None:
            got.append(message.body)

        demand = Demand("billing", orders(3), receive)
        demand.request(50)
        await demand.run()
        demand.cancel()
        demand.request(1)
        return [*got, demand.ended, demand.outstanding]

    trace = play(scenario)
    assert trace.result == [0, 1, 2, "complete", 47]
    assert [e.data["reason"] for e in trace.filter("closed")] == ["complete"]


@everywhere
@pytest.mark.parametrize("at_fault", ["the source", "the receiver"])
def test_the_run_raises_what_the_source_or_the_receiver_raises(play: Play, at_fault: str) -> None:
    """As itself, and then it has ended."""

    async def scenario() -> str:
        async def source() -> AsyncIterator[Message]:
            yield Message("order 1")
            raise ConnectionError("the source")

        async def receive(message: Message) -> None:
            if at_fault == "the receiver":
                raise ConnectionError("the receiver")

        demand = Demand("billing", source(), receive)
        demand.request(5)
        with pytest.raises(ConnectionError, match=at_fault):
            await demand.run()
        return demand.ended

    assert play(scenario).result == "failed"


@everywhere
def test_cancelling_the_task_that_runs_it_cancels_the_subscription(play: Play) -> None:
    """The cancellation comes out, and is no failure."""

    async def scenario() -> str:
        demand = Demand("billing", orders(3), anyio.sleep)  # type: ignore[arg-type]
        with anyio.move_on_after(1) as scope:
            await demand.run()
        assert scope.cancelled_caught
        return demand.ended

    assert play(scenario).result == "cancelled"


@pytest.mark.parametrize("ends", ["by cancel", "by the task"])
async def test_the_run_returns_after_the_source_was_closed(ends: str) -> None:
    """A generator gets to finish, also when the run is cancelled."""
    closed: list[str] = []

    async def source() -> AsyncIterator[Message]:
        try:
            yield Message("order 1")
        finally:
            await anyio.sleep(1)
            closed.append(ends)

    async def receive(message: Message) -> None:
        if ends == "by cancel":
            demand.cancel()
        else:
            await anyio.sleep_forever()

    demand = Demand("billing", source(), receive)
    demand.request()
    with anyio.move_on_after(5):
        await demand.run()
    assert closed == [ends]


async def test_a_receiver_may_be_a_plain_function() -> None:
    """It is called and not awaited."""
    got: list[Message] = []
    demand = Demand("billing", orders(2), got.append)
    demand.request(5)
    await demand.run()
    assert [message.body for message in got] == [0, 1]


@everywhere
def test_a_subscription_runs_once(play: Play) -> None:
    """Two runs would share one source, and mix its order."""

    async def scenario() -> None:
        demand = Demand("billing", orders(0), anyio.sleep)  # type: ignore[arg-type]
        demand.request()
        await demand.run()
        with pytest.raises(RuntimeError, match="billing runs already, or has run"):
            await demand.run()

    play(scenario)
