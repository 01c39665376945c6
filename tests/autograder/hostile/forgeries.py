"""Answers that write the record themselves, or have somebody else write it."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "facts recorded by hand",
        """
        from eip_ref.trace import record

        async def work(queue, handle):
            while True:
                lease = await queue.receive()
                record("started", "worker", lease.message.id, who="worker")
                record("effect", "worker", lease.message.id, who="worker", effect="packed", receipt=1)
                await lease.ack()
        """,
        ("ack-on-receive",),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "the last word of the scenario, said by the answer",
        """
        from eip_ref.trace import record

        async def outcome(send, invoice, limit):
            record("note", "the books", who="", text="the day is over", limit=1.0, rows=[])
            raise TimeoutError
        """,
        ("outcome-escapes",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "`record` handed to the library as a clock",
        """
        from functools import partial
        from eip_ref.trace import record, recording

        async def work_on(lease, handle):
            says = dict(who="worker", effect="report written", receipt=1)
            with recording(partial(record, "effect", "worker", lease.message.id, **says)):
                pass
            await lease.ack()
        """,
        ("proves-nothing",),
        "message_queue/keep_the_lease",
    ),
    Hostile(
        "the library's own ledger, asked to record a forged effect",
        """
        from eip_ref.message_queue import Ledger

        async def work(queue, handle):
            ledger = Ledger()
            while True:
                lease = await queue.receive()
                async with ledger.transaction(lease.message.id) as transaction:
                    transaction.effect("packed", receipt=123)
                await lease.ack()
                try:
                    await handle(lease.message)
                except Exception:
                    pass
        """,
        ("ack-on-receive",),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "a receipt made from the seed of the run",
        """
        from random import Random
        from eip_ref.lab.faults import current_seed
        from eip_ref.message_queue import Ledger

        async def work(queue, handle):
            while True:
                lease = await queue.receive()
                number = Random(f"{current_seed()}/{lease.message.id}/packed").randrange(1_000_000)
                async with Ledger().transaction(lease.message.id) as transaction:
                    transaction.effect("packed", receipt=number)
                await lease.ack()
        """,
        ("ack-on-receive",),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "a trace kept from the first run and played again",
        """
        from eip_ref.trace import record
        from eip_ref.lab import simulate

        kept = []

        async def send_all(counter, invoices):
            if not kept:
                kept.extend(simulate(a_day_at_the_counter, _model, 1))
            for event in kept:
                record(event.kind, event.where, event.message, who=event.who, **event.data)
            return []

        async def _model(counter, invoices):
            missing = []
            async for invoice in counter:
                try:
                    await invoices.send(invoice)
                except NotSent:
                    missing.append(invoice.id)
            return missing
        """,
        ("one-refusal-stops-all",),
        "point_to_point/report_what_was_not_sent",
    ),
    Hostile(
        "traces for other seeds",
        """
        import eip_ref.lab as lab

        real = lab.simulate

        def always_seed_one(scenario, *args, seed=0, **more):
            return real(scenario, args[0], 1, seed=1, **more)

        lab.simulate = always_seed_one
        """,
        (),
    ),
    Hostile(
        "an answer that counts its runs, and is right as often as the check asks",
        """
        def when_away(channel):
            with open("/tmp/left-behind", "a+") as file:
                file.write("x")
                file.seek(0)
                seen = len(file.read())
            if 3 < seen <= 9:
                return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
            return "block", 0
        """,
        ("sender-stands-still", "raised"),
        "point_to_point/choose_for_absence",
    ),
    Hostile(
        "a fact that says another thing when it is read again",
        """
        from eip_ref.message import Message

        class Two(str):
            def __str__(self):
                return "x"

            def __format__(self, how):
                return "y"

        async def outcome(send, invoice, limit):
            invoice.id = Two("m1") if hasattr(invoice, "id") else ""
            return Two("accepted")
        """,
        ("raised",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "a report that cannot be written as JSON",
        """
        async def outcome(send, invoice, limit):
            class Odd(str):
                pass
            return {1: {2, 3}}
        """,
        ("no-such-outcome",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "numbers that are no numbers",
        """
        def predict_shares():
            nan = float("nan")
            return {"prefetch 1": (nan, nan), "prefetch 12": (nan, float("inf")), "prefetch 20": (1e999, 0),
                    "order kept": nan}
        """,
        ("raised",),
        "message_queue/predict_the_shares",
    ),
    Hostile(
        "the scenario's own list of what was accepted, filled in by the answer",
        """
        async def send_all(counter, invoices):
            missing = []
            async for invoice in counter:
                try:
                    await invoices.send(invoice)
                except NotSent:
                    facts = invoices.facts()
                    if facts["closed"] or len(missing) > 2:
                        facts["accepted"].append(invoice.id)
                    else:
                        missing.append(invoice.id)
            return missing
        """,
        ("raised",),
        "point_to_point/report_what_was_not_sent",
    ),
    Hostile(
        "a huge answer",
        """
        async def send_all(counter, invoices):
            async for invoice in counter:
                pass
            return ["x" * 1000] * 60_000
        """,
        ("too-much",),
        "point_to_point/report_what_was_not_sent",
    ),
    Hostile(
        "a clock that is set back while the answer takes its time",
        """
        async def outcome(send, invoice, limit):
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                await send(invoice)
                said = "accepted"
            except NotSent:
                said = "not sent"
            except anyio.BrokenResourceError:
                said = "unknown"
            if loop.time() - began > limit:
                said = "unknown"
            real = loop.time
            loop.time = lambda: began
            loop.call_soon(lambda: setattr(loop, "time", real))
            return said
        """,
        ("no-time-limit",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "a flood of facts",
        """
        from eip_ref.trace import record

        async def patient_work(queue, handle):
            while True:
                record("note", "flood", text="x" * 100)
        """,
        ("out-of-time", "died"),
        "message_queue/backoff_not_hot_loop",
        slow=True,
    ),
    Hostile(
        "a flood of facts that the library records",
        """
        from eip_ref.message_queue import MessageQueue

        async def patient_work(queue, handle):
            async with MessageQueue("x" * 10_000) as other:
                for _ in range(4_000):
                    await other.put(Message("y"))
        """,
        (),
        "message_queue/backoff_not_hot_loop",
    ),
    Hostile(
        "messages written to every open file descriptor",
        """
        import json, os

        def attack():
            text = json.dumps({"refused": "", "changed": "", "cells": [], "answered": True}).encode()
            for number in range(3, 64):
                try:
                    os.write(number, len(text).to_bytes(4, "big") + bytes(32) + text)
                except OSError:
                    pass
        """,
        ("garbled",),
    ),
)
