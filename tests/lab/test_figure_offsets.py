"""The figure of offsets: the head of each log, how far each group has come, crashes and replays."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio

from eip_ref.durable_queue import ConsumerGroup, SQLiteLog
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.figures.offsets import offsets, tracks
from eip_ref.message import Message
from eip_ref.publish_subscribe import PartitionedTopic, PublishSubscribeChannel
from eip_ref.trace import Trace
from tests.backends import recorded, virtual_time_only
from tests.lab.test_figures import LINK, texts, trace_of

Row = tuple[float, str, str, str, str, dict[str, Any]]


def appended(at: float, offset: int, where: str = "orders") -> Row:
    return at, "accepted", where, f"m{offset}", "shop", {"offset": offset}


def read(at: float, offset: int, group: str = "billing") -> Row:
    return at, "delivered", "orders", f"m{offset}", "worker", {"offset": offset, "group": group}


def moved(at: float, was: int, now: int, reason: str = "committed", group: str = "billing") -> Row:
    return at, "state", "orders", "", "worker", {"was": was, "now": now, "reason": reason, "group": group}


def group_of_a_durable_log(path: Path) -> Trace:
    """Ten orders; the worker commits after two, and crashes with the third in its hands."""

    async def scenario() -> None:
        async with SQLiteLog(path / "shop.db", "orders") as log:
            for number in range(10):
                await log.append(Message(number))

            async def work() -> None:
                group = ConsumerGroup(log, "billing")
                while group.lag:
                    await group.read(limit=2)
                    await anyio.sleep(1)
                    await group.commit()

            await Participant("worker", work, (), (Crash(at=1.5, restart_after=2),)).run()

    return simulate(scenario)


def group_of_a_partitioned_topic() -> Trace:
    """Two workers share two partitions; one of them dies, and after its session the other has both."""

    async def scenario() -> None:
        topic = PartitionedTopic("orders", partitions=2, retain=50)

        async def work(name: str) -> None:
            async for delivery in topic.join("billing", name=name, when_full="block", session=2):
                await anyio.sleep(1)
                await delivery.ack()

        async with anyio.create_task_group() as group:
            crashes = {"ann": (Crash(at=1.5),), "bob": ()}
            for name in crashes:
                group.start_soon(Participant(name, work, (name,), crashes[name]).run)
            await anyio.sleep(0.1)
            for number in range(8):
                await topic.publish(Message(number))
            topic.close()

    return simulate(scenario)


# What is said


def test_a_crash_of_a_worker_and_its_replay_are_told(tmp_path: Path) -> None:
    """From the commit before the crash on, everything is read again."""
    said = offsets(group_of_a_durable_log(tmp_path)).alt
    assert "orders has 10 messages at 7.5 s: billing has committed 10, not behind, at most 10 behind" in said
    assert "crashed at 1.5 s, restarted at 3.5 s, read 2 messages again, from offset 2 at 3.5 s" in said


def test_each_partition_has_its_head_and_the_group_in_it() -> None:
    """Whoever dies holds up the partitions that it owns, until they move."""
    said = offsets(group_of_a_partitioned_topic()).alt
    assert "orders[0] has 4 messages" in said
    assert "orders[1] has 4 messages" in said
    assert said.count("billing has committed 4, not behind") == 2
    assert said.count("crashed at 1.5 s") == 1
    assert said.count("read 1 message again") == 1


@virtual_time_only
async def test_a_durable_subscription_is_at_the_head_when_nothing_there_is_meant_for_it() -> None:
    """What its pattern does not match does not count as lag. One that is unsubscribed stays behind."""
    channel = PublishSubscribeChannel("shop", retain=9)
    stock = channel.durable("stock", "orders.*", when_full="block")
    billing = channel.durable("billing", "orders.paid", when_full="block")
    for topic in ("orders.paid", "orders.sent", "orders.sent"):
        await channel.publish(topic, Message(topic))
    await (await billing.receive()).ack()
    await stock.receive()
    channel.unsubscribe(stock.name)
    await channel.publish("orders.paid", Message("the last"))
    said = offsets(recorded()).alt
    assert "shop.log has 4 messages" in said
    assert "billing has committed 3, 1 behind" in said
    assert "stock has committed 3, 1 behind" in said
    assert offsets(trace_of(appended(0, 0), read(1, 0))).alt.endswith("billing has committed 0, 1 behind.")


def test_the_largest_lag_is_said_and_measured() -> None:
    """The distance between head and committed, when it was greatest."""
    late = trace_of(
        *(appended(n, n) for n in range(5)), read(5, 0), moved(6, 0, 1), read(7, 1), moved(9, 1, 5)
    )
    figure = offsets(late)
    assert "billing has committed 5, not behind, at most 5 behind from 5.0 s" in figure.alt
    assert "lag 5" in texts(figure)
    assert "billing: 5 (not behind)" in texts(figure)


def test_a_log_that_has_lost_its_messages_begins_anew() -> None:
    """Offsets are given again. Nobody reads again, and nobody keeps a place that is no more."""
    rows = [*(appended(0, n) for n in range(4)), *(read(1, n) for n in range(3)), moved(2, 0, 3)]
    lost = trace_of(*rows, appended(5, 0), read(6, 0), moved(7, 0, 1))
    log = tracks(lost)["orders"]
    assert (log.end, log.readers["billing"].next, log.readers["billing"].again) == (1, 1, 0)
    assert log.readers["billing"].committed.at(5) == 0
    figure = offsets(lost)
    assert "orders has 1 message" in figure.alt
    assert "reads again" not in texts(figure)


def test_a_seek_moves_back_and_is_a_replay_when_it_is_read() -> None:
    """The group chose to read again, without a crash."""
    rows = [*(appended(0, n) for n in range(3)), *(read(1, n) for n in range(3)), moved(2, 0, 3)]
    back = offsets(trace_of(*rows, moved(3, 3, 1, "sought"), read(4, 1), read(4, 2)))
    assert "billing has committed 1, 2 behind, at most 3 behind" in back.alt
    assert "read 2 messages again, from offset 1 at 4.0 s" in back.alt
    assert "reads again" in texts(back)
    assert "reads again" not in texts(offsets(trace_of(*rows)))
    assert tracks(trace_of(*rows, moved(3, 3, 1, "sought")))["orders"].readers["billing"].read[-1] == (3, 1)


def test_what_a_crash_lost_is_not_read_any_more(tmp_path: Path) -> None:
    """A group of a durable log keeps in the file what it has committed, and the rest in memory."""
    billing = tracks(group_of_a_durable_log(tmp_path))["orders"].readers["billing"]
    assert billing.read[:4] == [(0.0, 2), (1.0, 4), (1.5, 2), (3.5, 4)]
    assert billing.committed[:3] == [(0.0, 0), (1.0, 2), (4.5, 4)]


def test_a_subscription_has_committed_what_lies_before_the_first_that_is_out() -> None:
    """What returns is read no more, and comes again."""

    def said(at: float, kind: str, offset: int) -> Row:
        return at, kind, "orders → billing", f"m{offset}", "billing", {"offset": offset}

    rows = [
        (0.0, "opened", "orders → billing", "", "", {"pattern": "orders"}),
        *(row for offset in (0, 1) for row in (appended(0, offset), said(0, "accepted", offset))),
        *(said(1, "delivered", offset) for offset in (0, 1)),
        *(said(3, "returned", offset) for offset in (0, 1)),
        *(said(at, kind, 0) for at, kind in ((5, "delivered"), (6, "acked"))),
    ]
    billing = tracks(trace_of(*rows))["orders"].readers["billing"]
    assert billing.read == [(0.0, 0), (1.0, 2), (3.0, 0), (5.0, 1)]
    assert billing.committed == [(0.0, 0), (6.0, 1)]
    assert billing.replays == [(5.0, 0)]


# What is drawn


def test_lines_are_told_apart_by_dash_and_marks_by_form(tmp_path: Path) -> None:
    """Colour is never the only sign: no two groups have the same dash."""
    groups = [f"group {n}" for n in range(5)]
    rows = [appended(0, 0), *(read(1, 0, group) for group in groups)]
    svg = offsets(trace_of(*rows, *(moved(n + 2, 0, 1, group=group) for n, group in enumerate(groups)))).svg
    drawn = Counter(re.findall(r"stroke-dasharray: ([^;]+);", svg))
    assert sum(times == 2 for times in drawn.values()) == len(groups)  # in the panel, and beside it
    words = texts(offsets(group_of_a_durable_log(tmp_path)))
    assert {"head", "committed", "read, not committed", "crashed", "restarted", "reads again"} <= set(words)
    assert {"next offset", "seconds", "head: 10"} <= set(words)


def test_logs_and_groups_without_room_are_named_and_can_be_chosen() -> None:
    """Four logs, and in each five groups."""
    logs = trace_of(*(appended(n, 0, f"log {n}") for n in range(6)))
    assert "Not shown: log 4 and log 5." in offsets(logs).alt
    assert "log 4 has" not in offsets(logs).alt
    assert "log 5 has 1 message at 5.0 s: nobody read it." in offsets(logs, where="log 5").alt
    many = trace_of(appended(0, 0), *(read(1, 0, f"group {n}") for n in range(7)))
    assert "Not shown: group 5 of orders and group 6 of orders." in offsets(many).alt


def test_a_trace_without_offsets_gives_a_picture_that_says_so() -> None:
    """No log, no axes."""
    for nothing in (Trace([]), LINK, trace_of((0.0, "accepted", "orders", "m1", "", {}))):
        assert "No log kept a message." in offsets(nothing).alt
        assert "No log kept a message." in texts(offsets(nothing))
    assert "No log kept" in offsets(trace_of(read(0, 0))).alt
    assert "No log kept" in offsets(trace_of(appended(0, 0)), where="elsewhere").alt


def test_the_same_trace_gives_the_same_bytes_and_a_title_replaces_the_default(tmp_path: Path) -> None:
    """As with every figure; and no text is small."""
    trace = group_of_a_partitioned_topic()
    assert offsets(trace).svg == offsets(trace).svg
    assert offsets(trace, title="Two partitions").alt.startswith("Two partitions. ")
    assert {
        float(size) for size in re.findall(r"font(?:-size)?: (?:bold )?([\d.]+)px", offsets(trace).svg)
    } <= {
        9.0,
        11.0,
    }


def test_ten_thousand_events_are_drawn_quickly() -> None:
    """In well under a few seconds, also on a busy machine."""
    rows = [row for n in range(3000) for row in (appended(n, n), read(n, n), moved(n + 0.5, n, n + 1))]
    start = time.process_time()
    figure = offsets(trace_of(*rows))
    assert time.process_time() - start < 3
    assert "billing has committed 3,000, not behind, at most 1 behind" in figure.alt
