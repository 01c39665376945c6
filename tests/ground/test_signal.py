"""Signals: one change wakes one waiter, the longest waiting first, and no change is lost."""

from __future__ import annotations

import random
from collections import deque

import anyio
import pytest

from eip_ref.lab.faults import Crash, Participant
from eip_ref.signal import ReceivingEnd, Signal, on_death
from tests.backends import virtual_time_only


class Shelf(ReceivingEnd[int]):
    """Things that receivers wait for."""

    def __init__(self) -> None:
        self.things: deque[int] = deque()
        self.signal = Signal()
        self.looks = 0

    def put(self, thing: int) -> None:
        self.things.append(thing)
        self.signal.notify()

    def receive_nowait(self) -> int:
        self.looks += 1
        if not self.things:
            raise anyio.WouldBlock
        return self.things.popleft()


async def test_the_longest_waiting_is_served_first() -> None:
    """In the order in which they came."""
    shelf, served = Shelf(), list[str]()

    async def wait(name: str) -> None:
        await shelf.receive()
        served.append(name)

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(wait, name)
            await anyio.sleep(1)
        for thing in range(3):
            shelf.put(thing)
            await anyio.sleep(1)
    assert served == ["a", "b", "c"]


async def test_one_change_costs_one_look_however_many_wait() -> None:
    """500 receivers, and each thing is looked for once, in a rush and one by one."""
    shelf, taken = Shelf(), list[int]()

    async def wait() -> None:
        taken.append(await shelf.receive())

    async with anyio.create_task_group() as group:
        for _ in range(500):
            group.start_soon(wait)
        await anyio.sleep(1)
        shelf.looks = 0
        for thing in range(500):
            shelf.put(thing)
            await anyio.sleep(thing // 250)
    assert sorted(taken) == list(range(500))
    assert shelf.looks == 500


async def test_whoever_comes_later_stands_behind_those_who_wait() -> None:
    """Four workers share alike: none takes again what another was woken for."""
    shelf, shares = Shelf(), [0, 0, 0, 0]

    async def work(number: int) -> None:
        while True:
            await shelf.receive()
            shares[number] += 1

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(work, number)
            await anyio.sleep(1)
        for thing in range(300):
            shelf.put(thing)
            await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert shares == [75] * 4


async def test_a_waiter_that_leaves_passes_on_what_it_was_woken_for() -> None:
    """Cancelled at the very instant at which it was woken, it has taken nothing."""
    shelf, taken = Shelf(), list[str]()

    async def wait(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await shelf.receive()
            taken.append(name)

    scopes = [anyio.CancelScope(), anyio.CancelScope()]
    async with anyio.create_task_group() as group:
        for name, scope in zip("ab", scopes, strict=True):
            group.start_soon(wait, name, scope)
            await anyio.sleep(1)
        shelf.put(1)
        scopes[0].cancel()
    assert taken == ["b"]
    assert not shelf.signal


async def test_nobody_takes_what_another_was_woken_for() -> None:
    """Whoever asks between the waking and the taking stands behind."""
    shelf, taken = Shelf(), list[tuple[str, int]]()

    async def wait(name: str) -> None:
        taken.append((name, await shelf.signal.first(shelf.receive_nowait, anyio.WouldBlock)))

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "first")
        await anyio.sleep(1)
        shelf.put(1)
        with anyio.move_on_after(1):
            await wait("second")
    assert taken == [("first", 1)]


async def test_nobody_takes_what_is_there_before_those_who_wait_have_heard_of_it() -> None:
    """As of what another process has put: whoever waits will be told a little later."""
    shelf, served = Shelf(), list[str]()

    async def wait(name: str) -> None:
        await shelf.receive()
        served.append(name)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "first")
        await anyio.sleep(1)
        shelf.things.append(1)
        group.start_soon(wait, "second")
        await anyio.sleep(1)
        shelf.signal.notify()
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert served == ["first"]


async def test_whoever_is_woken_for_nothing_keeps_its_place() -> None:
    """Something else was quicker, or it was gone in time."""
    shelf, served = Shelf(), list[str]()

    async def wait(name: str) -> None:
        await shelf.receive()
        served.append(name)

    async with anyio.create_task_group() as group:
        for name in "ab":
            group.start_soon(wait, name)
            await anyio.sleep(1)
        shelf.signal.notify()
        await anyio.sleep(1)
        for thing in range(2):
            shelf.put(thing)
            await anyio.sleep(1)
    assert served == ["a", "b"]


async def test_those_who_are_woken_together_for_nothing_keep_their_order() -> None:
    """However often all of them look in vain, the one who came first is served first."""
    signal, things, served = Signal(), list[int](), list[int]()

    def take() -> int:
        if not things:
            raise anyio.WouldBlock
        return things.pop()

    async def wait(who: int) -> None:
        await signal.first(take, anyio.WouldBlock)
        served.append(who)

    async with anyio.create_task_group() as group:
        for who in range(4):
            group.start_soon(wait, who)
            await anyio.sleep(1)
        for thing in range(4):
            for _ in range(thing + 1):
                signal.notify_all()
                await anyio.sleep(1)
            things.append(thing)
            signal.notify()
            await anyio.sleep(1)
    assert served == [0, 1, 2, 3]


async def test_a_latecomer_does_not_miss_what_came_while_another_was_on_its_way() -> None:
    """Two things, one of them with nobody in the line: both are taken."""
    shelf, taken = Shelf(), list[int]()

    async def wait() -> None:
        taken.append(await shelf.signal.first(shelf.receive_nowait, anyio.WouldBlock))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(1)
        shelf.put(1)
        shelf.put(2)
        await wait()
    assert sorted(taken) == [1, 2]


async def test_several_latecomers_miss_nothing_either() -> None:
    """Three things came while one was on its way, and two who came behind it are served too."""
    shelf, taken = Shelf(), list[int]()

    async def wait() -> None:
        taken.append(await shelf.signal.first(shelf.receive_nowait, anyio.WouldBlock))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(1)
        group.start_soon(wait)
        group.start_soon(wait)
        for thing in (1, 2, 3):
            shelf.put(thing)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert sorted(taken) == [1, 2, 3]


@virtual_time_only
@pytest.mark.parametrize("step", range(1, 8))
async def test_nobody_waits_for_the_dead(step: int) -> None:
    """Whenever a participant dies, also at the step at which it was woken, the next one is served."""
    shelf, taken = Shelf(), list[str]()

    async def wait(name: str) -> None:
        await anyio.sleep(1)
        await shelf.receive()
        taken.append(name)
        await anyio.sleep(1000)

    async with anyio.create_task_group() as group:
        first = Participant("first", lambda: wait("first"), crashes=(Crash(step=step),))
        group.start_soon(first.run)
        await anyio.sleep(3)
        group.start_soon(wait, "second")
        await anyio.sleep(3)
        shelf.put(1)
        await anyio.sleep(3)
        if taken == ["first"]:
            shelf.put(2)
        await anyio.sleep(3)
        group.cancel_scope.cancel()
    assert taken[-1:] == ["second"]


@virtual_time_only
async def test_what_somebody_holds_is_let_go_when_they_die_in_the_block() -> None:
    """Not when they leave it, however they do, and not when they die after it."""
    let_go = list[str]()

    async def hold(name: str, seconds: float) -> None:
        with on_death(lambda: let_go.append(name)):
            await anyio.sleep(seconds)
        await anyio.sleep(100)

    async with anyio.create_task_group() as group:
        for name, seconds in (("dies inside", 10.0), ("dies afterwards", 1.0)):
            dying = Participant(name, hold, (name, seconds), crashes=(Crash(at=5),))
            group.start_soon(dying.run)
        with anyio.move_on_after(1):
            await hold("is cancelled", 10)
        await anyio.sleep(10)
    assert let_go == ["dies inside"]


@virtual_time_only
@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_things_and_waiters_never_stand_beside_each_other(seed: int) -> None:
    """Puts, arrivals and cancellations in any order: in the end nothing is left while somebody waits."""
    dice, shelf, got = random.Random(seed), Shelf(), list[int]()

    async def wait(patience: float) -> None:
        with anyio.move_on_after(patience):
            while True:
                got.append(await shelf.receive())
                if dice.random() < 0.3:
                    await anyio.sleep(dice.randrange(3))

    async with anyio.create_task_group() as group:
        for number in range(200):
            if dice.random() < 0.4:
                group.start_soon(wait, dice.randrange(5))
            else:
                shelf.put(number)
            if dice.random() < 0.5:
                await anyio.sleep(dice.randrange(2))
        group.start_soon(wait, 1000.0)
        await anyio.sleep(20)
        assert not shelf.things
        group.cancel_scope.cancel()


async def test_notify_all_wakes_everybody_who_waits_now() -> None:
    """Those in the line and those who wait for a change."""
    signal, woken = Signal(), list[str]()

    async def change(name: str) -> None:
        await signal.wait()
        woken.append(name)

    async def turn() -> None:
        await signal.first(lambda: woken.append("turn") if signal_over else _not_yet(), anyio.WouldBlock)

    signal_over = False

    def _not_yet() -> None:
        raise anyio.WouldBlock

    async with anyio.create_task_group() as group:
        group.start_soon(change, "a")
        group.start_soon(change, "b")
        group.start_soon(turn)
        await anyio.sleep(1)
        signal_over = True
        signal.notify_all()
    assert sorted(woken) == ["a", "b", "turn"]


async def test_a_wait_ends_after_its_timeout_with_one_last_look() -> None:
    """Without a thing it is the error that says so; with a timeout of 0 nobody waits at all."""
    shelf, start = Shelf(), anyio.current_time()
    for timeout in (0, 3):
        with pytest.raises(anyio.WouldBlock):
            await shelf.signal.first(shelf.receive_nowait, anyio.WouldBlock, timeout=timeout)
    assert anyio.current_time() - start == pytest.approx(3)
    assert not shelf.signal


async def test_taking_may_take_time() -> None:
    """As it does from a file that another process has locked; whoever comes meanwhile stands behind."""
    shelf, taken = Shelf(), list[str]()

    async def slowly() -> int:
        await anyio.sleep(2)
        return shelf.receive_nowait()

    async def wait(name: str) -> None:
        _: int = await shelf.signal.first(slowly, anyio.WouldBlock)
        taken.append(name)

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(wait, name)
            await anyio.sleep(3)
        for thing in range(3):
            shelf.put(thing)
            await anyio.sleep(1)
    assert taken == ["a", "b", "c"]
