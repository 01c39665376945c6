"""Kept answers to the exercises of lesson 01: wrong ones with their mistake, and other right ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import anyio

from eip_ref.course.point_to_point.books import Counter
from eip_ref.message import Message
from eip_ref.point_to_point import NotSent, PointToPointChannel, ReceiverAway, ReceiverClosed
from tests.autograder.exercise_cases import Answers

ANSWERS = Answers("point_to_point")
wrong, right = ANSWERS.wrong, ANSWERS.right

Channel = PointToPointChannel
Send = Callable[[Message], Awaitable[None]]
Make = Callable[[], PointToPointChannel]

RIGHT_COUNTS = {
    "direct": 132,
    "hub": 24,
    "hub_wins_from": 4,
    "direct_lost": 17,
    "hub_lost": 8,
    "hub_down": 100,
}


# Count the links


@right("count_the_links")
def computed() -> dict[str, float]:
    n = 12
    lost = {"direct_lost": 100 * 2 / n, "hub_lost": 100 / n, "hub_down": 100}
    return {"direct": n * (n - 1), "hub": 2 * n, "hub_wins_from": 4} | lost


@wrong("count_the_links", "counts-pairs")
def pairs() -> dict[str, int]:
    return RIGHT_COUNTS | {"direct": 12 * 11 // 2}


@wrong("count_the_links", "links-to-itself")
def squares() -> dict[str, int]:
    return RIGHT_COUNTS | {"direct": 12**2}


@wrong("count_the_links", "hub-one-way")
def one_link_each() -> dict[str, int]:
    return RIGHT_COUNTS | {"hub": 12}


@wrong("count_the_links", "equal-is-not-fewer")
def as_many_is_enough() -> dict[str, int]:
    return RIGHT_COUNTS | {"hub_wins_from": 3}


@wrong("count_the_links", "one-direction-lost")
def only_links_that_end_there() -> dict[str, int]:
    return RIGHT_COUNTS | {"direct_lost": 8}


@wrong("count_the_links", "miscounted")
def the_hub_is_one_of_many() -> dict[str, int]:
    return RIGHT_COUNTS | {"hub_down": 8}


@wrong("count_the_links", "no-prediction")
def forgets_one() -> dict[str, int | None]:
    return RIGHT_COUNTS | {"hub_down": None}


@wrong("count_the_links", "no-prediction")
def a_list_of_numbers() -> list[int]:
    return list(RIGHT_COUNTS.values())


# Choose for the absence


@right("choose_for_absence")
def a_larger_buffer(channel: str) -> tuple[str, int]:
    return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 40)}[channel]


@wrong("choose_for_absence", "sender-stands-still")
def everybody_waits(channel: str) -> tuple[str, int]:
    return "block", 0


@wrong("choose_for_absence", "loses-what-must-arrive")
def everybody_fails(channel: str) -> tuple[str, int]:
    return "fail", 0


@wrong("choose_for_absence", "keeps-too-much")
def a_buffer_for_everything(channel: str) -> tuple[str, int]:
    return "buffer", 1_000


@wrong("choose_for_absence", "buffer-too-small")
def forgets_the_last_customer(channel: str) -> tuple[str, int]:
    return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 14)}[channel]


@wrong("choose_for_absence", "buffer-too-small")
def the_night_job_fills_its_memory(channel: str) -> tuple[str, int]:
    return {"invoices": ("buffer", 5), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]


@wrong("choose_for_absence", "too-old")
def keeps_one_reading(channel: str) -> tuple[str, int]:
    return {"invoices": ("block", 0), "readings": ("buffer", 1), "orders": ("buffer", 20)}[channel]


@wrong("choose_for_absence", "no-such-choice")
def a_buffer_without_room(channel: str) -> tuple[str, int]:
    return "buffer", 0


@wrong("choose_for_absence", "no-such-choice")
def only_the_policy(channel: str) -> str:
    return "block"


# Report what was not sent


@right("report_what_was_not_sent")
async def waits_while_billing_is_away(counter: Counter, invoices: Channel) -> list[Message]:
    missing = []
    async for invoice in counter:
        while True:
            try:
                await invoices.send(invoice)
            except ReceiverAway:
                await anyio.sleep(0.4)
                continue
            except ReceiverClosed:
                missing.append(invoice)
            break
    return missing


@right("report_what_was_not_sent")
async def asks_no_more_once_it_is_closed(counter: Counter, invoices: Channel) -> set[str]:
    missing, closed = set(), False
    async for invoice in counter:
        missing.add(invoice.id)
        if closed:
            continue
        try:
            await invoices.send(invoice)
            missing.discard(invoice.id)
        except ReceiverClosed:
            closed = True
        except NotSent:
            pass
    return missing


@wrong("report_what_was_not_sent", "refusal-swallowed")
async def the_broken_code(counter: Counter, invoices: Channel) -> list[str]:
    not_sent: list[str] = []
    async for invoice in counter:
        try:  # noqa: SIM105 - as learners write it
            await invoices.send(invoice)
        except Exception:
            pass  # billing will surely be back soon
    return not_sent


@wrong("report_what_was_not_sent", "refusal-swallowed")
async def reports_only_the_last_kind(counter: Counter, invoices: Channel) -> list[str]:
    not_sent = []
    async for invoice in counter:
        try:
            await invoices.send(invoice)
        except ReceiverAway:
            continue
        except ReceiverClosed:
            not_sent.append(invoice.id)
    return not_sent


@wrong("report_what_was_not_sent", "one-refusal-stops-all")
async def lets_it_raise(counter: Counter, invoices: Channel) -> list[str]:
    async for invoice in counter:
        await invoices.send(invoice)
    return []


@wrong("report_what_was_not_sent", "one-refusal-stops-all")
async def stops_at_the_first(counter: Counter, invoices: Channel) -> list[str]:
    not_sent = []
    try:
        async for invoice in counter:
            await invoices.send(invoice)
    except NotSent:
        not_sent.append(invoice.id)
        not_sent += [rest.id async for rest in counter]
    return not_sent


@wrong("report_what_was_not_sent", "one-refusal-stops-all")
async def looks_before_it_sends(counter: Counter, invoices: Channel) -> list[str]:
    not_sent = []
    async for invoice in counter:
        if invoices.receiver_is_here:
            await invoices.send(invoice)
        else:
            not_sent.append(invoice.id)
    return not_sent


@wrong("report_what_was_not_sent", "false-alarm")
async def reports_all_from_the_first_refusal(counter: Counter, invoices: Channel) -> list[str]:
    not_sent: list[str] = []
    async for invoice in counter:
        try:
            await invoices.send(invoice)
        except NotSent:
            not_sent.append(invoice.id)
            continue
        if not_sent:
            not_sent.append(invoice.id)
    return not_sent


@wrong("report_what_was_not_sent", "retries-for-ever")
async def never_gives_up(counter: Counter, invoices: Channel) -> list[str]:
    async for invoice in counter:
        while True:
            try:
                await invoices.send(invoice)
                break
            except NotSent:
                await anyio.sleep(1)
    return []


@wrong("report_what_was_not_sent", "retries-for-ever")
async def never_even_pauses(counter: Counter, invoices: Channel) -> list[str]:
    async for invoice in counter:
        while True:
            try:
                await invoices.send(invoice)
                break
            except NotSent:
                continue
    return []


@wrong("report_what_was_not_sent", "no-report")
async def sleeps_until_billing_is_back(counter: Counter, invoices: Channel) -> list[str]:
    async for invoice in counter:
        while not invoices.receiver_is_here:
            await anyio.sleep(0.1)
        try:
            await invoices.send(invoice)
        except NotSent:
            await anyio.sleep(1)
    return []


@wrong("report_what_was_not_sent", "sent-twice")
async def sends_to_make_sure(counter: Counter, invoices: Channel) -> list[str]:
    not_sent = set()
    async for invoice in counter:
        accepted = False
        for _ in range(2):
            try:
                await invoices.send(invoice)
                accepted = True
            except NotSent:
                pass
        if not accepted:
            not_sent.add(invoice.id)
    return sorted(not_sent)


@wrong("report_what_was_not_sent", "no-report")
async def prints_instead(counter: Counter, invoices: Channel) -> None:
    missing = 0
    async for invoice in counter:
        try:
            await invoices.send(invoice)
        except NotSent:
            missing += 1


# Definite or unknown


@right("definite_or_unknown")
async def with_a_scope(send: Send, invoice: Message, limit: float) -> str:
    said = "unknown"
    with anyio.move_on_after(limit):
        try:
            await send(invoice)
        except NotSent:
            said = "not sent"
        except OSError:
            said = "unknown"
        except anyio.BrokenResourceError:
            said = "unknown"
        else:
            said = "accepted"
    return said


@right("definite_or_unknown")
async def with_asyncio(send: Send, invoice: Message, limit: float) -> str:
    async def sending() -> None:
        await send(invoice)

    try:
        await asyncio.wait_for(sending(), limit)
    except NotSent:
        return "not sent"
    except Exception:
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "silence-called-definite")
async def a_timeout_is_a_failure(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(limit):
            await send(invoice)
    except anyio.BrokenResourceError:
        return "unknown"
    except (TimeoutError, NotSent):
        return "not sent"
    return "accepted"


@wrong("definite_or_unknown", "broken-called-definite")
async def a_broken_line_is_a_failure(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(limit):
            await send(invoice)
    except TimeoutError:
        return "unknown"
    except Exception:
        return "not sent"
    return "accepted"


@wrong("definite_or_unknown", "accepted-without-confirmation")
async def moves_on(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.move_on_after(limit):
            await send(invoice)
    except NotSent:
        return "not sent"
    except anyio.BrokenResourceError:
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "refusal-called-unknown")
async def every_error_is_unknown(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(limit):
            await send(invoice)
    except Exception:
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "no-time-limit")
async def has_patience(send: Send, invoice: Message, limit: float) -> str:
    try:
        await send(invoice)
    except NotSent:
        return "not sent"
    except anyio.BrokenResourceError:
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "no-time-limit")
async def a_limit_of_its_own(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(5):
            await send(invoice)
    except NotSent:
        return "not sent"
    except (TimeoutError, anyio.BrokenResourceError):
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "confirmation-ignored")
async def hurries(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(1):
            await send(invoice)
    except NotSent:
        return "not sent"
    except (TimeoutError, anyio.BrokenResourceError):
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "outcome-escapes")
async def forgets_the_broken_line(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(limit):
            await send(invoice)
    except NotSent:
        return "not sent"
    except TimeoutError:
        return "unknown"
    return "accepted"


@wrong("definite_or_unknown", "sent-again")
async def tries_twice(send: Send, invoice: Message, limit: float) -> str:
    for _ in range(2):
        try:
            with anyio.fail_after(limit / 2):
                await send(invoice)
            return "accepted"
        except NotSent:
            return "not sent"
        except (TimeoutError, anyio.BrokenResourceError):
            pass
    return "unknown"


@wrong("definite_or_unknown", "no-such-outcome")
async def in_other_words(send: Send, invoice: Message, limit: float) -> str:
    try:
        with anyio.fail_after(limit):
            await send(invoice)
    except NotSent:
        return "not sent"
    except (TimeoutError, anyio.BrokenResourceError):
        return "timeout"
    return "accepted"


# Hand over before leaving


@right("hand_over_before_leaving")
async def with_one_sender(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    to_send, from_counter = anyio.create_memory_object_stream[Message](100)
    waiting: list[str] = []

    async def hand_over() -> None:
        async with from_counter:
            async for invoice in from_counter:
                await invoices.send(invoice)
                waiting.remove(invoice.id)

    async with anyio.create_task_group() as group:
        group.start_soon(hand_over)
        async with to_send:
            async for invoice in counter:
                waiting.append(invoice.id)
                await to_send.send(invoice)
        group.cancel_scope.deadline = anyio.current_time() + patience
    return waiting


@right("hand_over_before_leaving")
async def with_asyncio_wait(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    tasks = {}
    async for invoice in counter:
        tasks[asyncio.create_task(invoices.send(invoice))] = invoice.id
    _, pending = await asyncio.wait(tasks, timeout=patience)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return [tasks[task] for task in tasks if task in pending]


@wrong("hand_over_before_leaving", "nobody-owns-the-tasks")
async def fire_and_forget(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    async for invoice in counter:
        asyncio.create_task(invoices.send(invoice))  # noqa: RUF006 - that is the mistake
    return []


@wrong("hand_over_before_leaving", "nobody-owns-the-tasks")
async def forgets_after_a_while(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    tasks = set()
    async for invoice in counter:
        tasks.add(asyncio.create_task(invoices.send(invoice)))
    await anyio.sleep(patience)
    return []


@wrong("hand_over_before_leaving", "customers-wait")
async def one_after_the_other(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    async for invoice in counter:
        await invoices.send(invoice)
    return []


@wrong("hand_over_before_leaving", "stays-too-long")
async def waits_for_all(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    async with anyio.create_task_group() as group:
        async for invoice in counter:
            group.start_soon(invoices.send, invoice)
    return []


@wrong("hand_over_before_leaving", "left-unreported")
async def gives_up_in_silence(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    async with anyio.create_task_group() as group:
        async for invoice in counter:
            group.start_soon(invoices.send, invoice)
        group.cancel_scope.deadline = anyio.current_time() + patience
    return []


@wrong("hand_over_before_leaving", "leaves-too-early")
async def turns_off_the_lights(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    waiting: list[str] = []

    async def hand_over(invoice: Message) -> None:
        await invoices.send(invoice)
        waiting.remove(invoice.id)

    async with anyio.create_task_group() as group:
        async for invoice in counter:
            waiting.append(invoice.id)
            group.start_soon(hand_over, invoice)
        group.cancel_scope.cancel()
    return waiting


@wrong("hand_over_before_leaving", "false-alarm")
async def reports_who_had_to_wait(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    accepted: list[str] = []
    given: list[str] = []

    async def hand_over(invoice: Message) -> None:
        await invoices.send(invoice)
        accepted.append(invoice.id)

    async with anyio.create_task_group() as group:
        async for invoice in counter:
            given.append(invoice.id)
            group.start_soon(hand_over, invoice)
        missing = [message for message in given if message not in accepted]
        group.cancel_scope.deadline = anyio.current_time() + patience
    return missing


@wrong("hand_over_before_leaving", "sent-twice")
async def starts_a_second_task_to_be_sure(counter: Counter, invoices: Channel, patience: float) -> list[str]:
    waiting: set[str] = set()

    async def hand_over(invoice: Message) -> None:
        await invoices.send(invoice)
        waiting.discard(invoice.id)

    async with anyio.create_task_group() as group:
        async for invoice in counter:
            waiting.add(invoice.id)
            group.start_soon(hand_over, invoice)
            group.start_soon(hand_over, invoice)
        group.cancel_scope.deadline = anyio.current_time() + patience
    return sorted(waiting)


@wrong("hand_over_before_leaving", "no-report")
async def counts_them(counter: Counter, invoices: Channel, patience: float) -> int:
    waiting = 0

    async def hand_over(invoice: Message) -> None:
        nonlocal waiting
        await invoices.send(invoice)
        waiting -= 1

    async with anyio.create_task_group() as group:
        async for invoice in counter:
            waiting += 1
            group.start_soon(hand_over, invoice)
        group.cancel_scope.deadline = anyio.current_time() + patience
    return waiting


# Catch the shared payload


def orders() -> list[dict[str, Any]]:
    return [{"number": number, "lines": [{"sku": "tea", "price": 4}]} for number in range(1, 6)]


async def piled_up(
    channel: Channel, sent: list[Any], change: Callable[[Any], object] = lambda body: None
) -> list[Any]:
    """What billing gets when it takes the first message after all were sent, as far as the channel lets."""

    async def shop() -> None:
        for body in sent:
            await channel.send(Message(body))
            change(body)
        channel.close()

    got = []
    async with anyio.create_task_group() as group:
        with channel.receiver() as inbox:
            group.start_soon(shop)
            await anyio.sleep(1)
            async for message in inbox:
                got.append(message.body)
    return got


def dearer(body: dict[str, Any]) -> None:
    body["lines"][0]["price"] = 400


@right("catch_the_shared_payload")
async def one_question_after_the_other(make: Make) -> None:
    numbers = list(range(10))
    assert await piled_up(make(), list(numbers)) == numbers, "not each once, in order"
    (got,) = await piled_up(make(), [{"lines": [{"price": 4}]}], dearer)
    assert got["lines"][0]["price"] == 4, "the sender changed what was sent"


@right("catch_the_shared_payload")
async def the_receiver_changes_it(make: Make) -> None:
    sent = orders()
    got = await piled_up(make(), sent)
    assert got == orders()
    for body in got:
        dearer(body)
    assert sent == orders()


@wrong("catch_the_shared_payload", "accuses-a-correct-channel")
async def sends_and_then_receives(make: Make) -> None:
    channel, sent = make(), orders()
    for body in sent:
        await channel.send(Message(body))
    with channel.receiver() as inbox:
        for body in sent:
            assert (await inbox.receive()).body == body


@wrong("catch_the_shared_payload", "accuses-a-correct-channel")
async def connects_late(make: Make) -> None:
    channel, sent = make(), orders()

    async def shop() -> None:
        for body in sent:
            await channel.send(Message(body))
            dearer(body)
        channel.close()

    async with anyio.create_task_group() as group:
        group.start_soon(shop)
        await anyio.sleep(1)
        with channel.receiver() as inbox:
            got = [message.body async for message in inbox]
    assert got == orders()


@wrong("catch_the_shared_payload", "accuses-a-correct-channel")
async def wants_to_share(make: Make) -> None:
    sent = orders()
    got = await piled_up(make(), sent, dearer)
    assert got == sent


@wrong("catch_the_shared_payload", "misses-the-shared-body")
async def compares_what_it_sent(make: Make) -> None:
    assert await piled_up(make(), orders()) == orders()


@wrong("catch_the_shared_payload", "misses-what-is-inside")
async def changes_the_surface(make: Make) -> None:
    got = await piled_up(make(), orders(), lambda body: body.update(number=0))
    assert got == orders()


@wrong("catch_the_shared_payload", "misses-what-is-inside")
async def compares_identities(make: Make) -> None:
    sent = orders()
    got = await piled_up(make(), sent)
    assert got == orders()
    assert not any(a is b for a, b in zip(got, sent, strict=True))


@wrong("catch_the_shared_payload", "misses-the-order")
async def one_at_a_time(make: Make) -> None:
    channel, sent = make(), orders()

    async def shop() -> None:
        for body in sent:
            await channel.send(Message(body))
            dearer(body)
            await anyio.sleep(1)
        channel.close()

    async with anyio.create_task_group() as group:
        with channel.receiver() as inbox:
            group.start_soon(shop)
            got = [deepcopy(message.body) async for message in inbox]
    assert [body["number"] for body in got] == [1, 2, 3, 4, 5]
    assert await piled_up(make(), orders()[:1], dearer) == orders()[:1]


@wrong("catch_the_shared_payload", "misses-the-order")
async def sorts_first(make: Make) -> None:
    got = await piled_up(make(), orders(), dearer)
    assert sorted(got, key=lambda body: str(body["number"])) == orders()


@wrong("catch_the_shared_payload", "misses-the-double")
async def takes_as_many_as_it_sent(make: Make) -> None:
    got = await piled_up(make(), orders(), dearer)
    assert all(received == sent for received, sent in zip(got, orders(), strict=False))


@wrong("catch_the_shared_payload", "misses-the-double")
async def counts_each_once(make: Make) -> None:
    got = await piled_up(make(), orders(), dearer)
    seen: list[object] = []
    for body in got:
        if body not in seen:
            seen.append(body)
    assert seen == orders()
