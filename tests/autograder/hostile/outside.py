# ruff: noqa: E501 (what attackers say stays in one line)
"""Texts and records for whoever reads, judges and draws outside of the sandbox: they shall hang there."""

from __future__ import annotations

from .submissions import MEND, Hostile

OUTCOME = "point_to_point/definite_or_unknown"
REPORT = "point_to_point/report_what_was_not_sent"
POSITION = "publish_subscribe/keep_the_position"


def choosing(value: str) -> str:
    """A cell whose answer is this value."""
    return f"def when_away(channel):\n    return {value}"


ATTACKS = (
    # Read
    Hostile(
        "more brackets than anybody reads",
        "syntax-error",
        "Python's reader has a bound",
        "x = " + "(" * 50_000,
    ),
    Hostile(
        "a line that IPython would read for minutes",
        "syntax-error",
        "a cell has so many magics",
        "a = !ls\n" * 6_000,
    ),
    Hostile(
        "magics in strings in magics",
        "sender-stands-still",
        "IPython reads a bounded text",
        "%%time\n" * 29 + "!" * 2_000,
    ),
    Hostile(
        "a line with a hundred thousand steps",
        "syntax-error",
        "Python's reader has a bound",
        "x = 1" + " + 1" * 20_000,
    ),
    Hostile(
        "two thousand names that other cells may give",
        "sender-stands-still",
        "names are looked up at once",
        "\n".join(f"if 0: n{n} = n{n + 1}" for n in range(2_000)),
    ),
    Hostile(
        "a text that unfolds when Python reads it",
        "sender-stands-still",
        "Python does not unfold it",
        "if 0: x = " + "(1," * 80 + ")" * 80 + "\nif 0: y = 9 ** 9 ** 9",
    ),
    # Judged
    Hostile(
        "long labels, one after the other",
        "too-much",
        "all that an answer says has a bound",
        """
        async def work(queue, handle):
            while True:
                await queue.put(Message("x", headers={"customer": "x" * 1_000_000}))
        """,
        MEND,
    ),
    Hostile(
        "a record without an end",
        "retries-for-ever",
        "a record has a bound, and its end a name in this exercise",
        """
        async def send_all(counter, invoices):
            async for invoice in counter:
                for _ in range(1_000_000):
                    try: await invoices.send(invoice)
                    except NotSent: pass
        """,
        REPORT,
    ),
    Hostile(
        "lists in lists, deeper than may cross",
        "raised",
        "depth has a bound",
        choosing("eval('[' * 90 + ']' * 90)"),
    ),
    Hostile(
        "a number of a million digits",
        "raised",
        "numbers have a bound",
        choosing("('buffer', 10 ** 1_000_000)"),
    ),
    Hostile(
        "a buffer as large as a number may be",
        "no-such-choice",
        "a capacity has a bound",
        choosing("('buffer', 10 ** 3_000)"),
    ),
    Hostile(
        "an error whose text is made for regular expressions",
        "too-much",
        "an error's arguments have the bound of all that is said",
        """
        async def outcome(send, invoice, limit):
            raise ValueError(" at 0x" * 200_000 + "a" * 200_000)
        """,
        OUTCOME,
    ),
    Hostile(
        "a report of ten thousand ids",
        "one-refusal-stops-all",
        "it names others, and sent nothing",
        """
        async def send_all(counter, invoices):
            return [f"m{number}" for number in range(10_000)]
        """,
        REPORT,
    ),
    Hostile(
        "a huge answer",
        "too-much",
        "a line has a bound",
        """
        async def send_all(counter, invoices):
            return ["x" * 1000] * 2_000
        """,
        REPORT,
    ),
    Hostile(
        "a position of 400 digits",
        "counts-on-delivery",
        "it is a number, and too high",
        """
        class Position:
            committed = 10 ** 400
            def deliver(self, offset): pass
            def ack(self, offset, generation): return True
            def take_over(self): return 1
        """,
        POSITION,
    ),
    # Drawn and shown
    Hostile(
        "a word of a million characters, for the words of the verdict",
        "no-such-outcome",
        "words have a bound",
        """
        async def outcome(send, invoice, limit):
            return "<b>" * 300_000
        """,
        OUTCOME,
    ),
    Hostile(
        "a message's kind that is a page of its own",
        "left-behind",
        "whoever draws makes text of it",
        """
        async def work(queue, handle):
            for number in range(200):
                await queue.put(Message("x", "</text><script>alert(1)</script>" + "&" * 2_000, id=f"<{number}>"))
            await anyio.sleep_forever()
        """,
        MEND,
    ),
    Hostile(
        "two thousand senders, for whoever draws a line for each",
        "left-behind",
        "a picture has a bound",
        """
        async def work(queue, handle):
            for number in range(300):
                async with anyio.create_task_group() as group:
                    group.start_soon(queue.put, Message("x", id=f"m{number}-{number}"))
            await anyio.sleep_forever()
        """,
        MEND,
    ),
    Hostile(
        "an error in the words of a terminal and of a page",
        "raised",
        "it is shown as text",
        """
        class Script(Exception): pass

        def when_away(channel):
            raise Script("\\x1b[2J\\u202e</pre><img src=x onerror=alert(1)>\\ufffe" * 40)
        """,
    ),
)
