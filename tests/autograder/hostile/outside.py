"""Answers that reach for what is outside the sandbox: whoever reads, judges and draws."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "a label of a million characters",
        """
        async def work(queue, handle):
            while True:
                lease = await queue.receive()
                await queue.put(Message("x", headers={"customer": "x" * 900_000}))
                await lease.ack()
        """,
        ("raised", "too-much", "never-ends", "ack-on-receive"),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "a word of a million characters, for the words of the verdict",
        """
        async def outcome(send, invoice, limit):
            return "<b>" * 300_000
        """,
        ("no-such-outcome",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "a huge trace",
        """
        async def patient_work(queue, handle):
            while True:
                lease = await queue.receive()
                for _ in range(1_000_000):
                    await lease.extend(30)
        """,
        ("never-ends", "too-much", "raised", "out-of-time"),
        "message_queue/backoff_not_hot_loop",
    ),
    Hostile(
        "lists in lists, as deep as they may be and deeper",
        """
        async def send_all(counter, invoices):
            deep = []
            for _ in range(5_000):
                deep = [deep]
            return deep
        """,
        (),
        "point_to_point/report_what_was_not_sent",
    ),
    Hostile(
        "a number of a million digits",
        """
        def when_away(channel):
            return "buffer", 10 ** 1_000_000
        """,
        (),
        "point_to_point/choose_for_absence",
    ),
    Hostile(
        "a buffer as large as a number may be",
        """
        def when_away(channel):
            return "buffer", 10 ** 3_000
        """,
        (),
        "point_to_point/choose_for_absence",
    ),
    Hostile(
        "an error whose text is made for the judge's regular expressions",
        """
        async def outcome(send, invoice, limit):
            raise ValueError(" at 0x" * 200_000 + "a" * 200_000)
        """,
        ("too-much",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "more brackets than anybody reads",
        "x = " + "(" * 50_000,
        ("syntax-error",),
        "message_queue/idempotent_receiver",
    ),
    Hostile(
        "a line that IPython reads for minutes",
        "a = !ls\n" * 6_000,
        ("syntax-error",),
        "message_queue/fence_the_store",
    ),
    Hostile(
        "a line with a hundred thousand steps",
        "x = 1" + " + 1" * 20_000,
        (),
        "message_queue/keep_the_lease",
    ),
    Hostile(
        "a report of a hundred thousand ids",
        """
        async def send_all(counter, invoices):
            return [f"m{number}" for number in range(100_000)]
        """,
        (),
        "point_to_point/report_what_was_not_sent",
    ),
)
