# ruff: noqa: E501 (what attackers say stays in one line)
"""Answers that are not what they seem, and facts that are none."""

from __future__ import annotations

from .submissions import FENCE, MEND, Hostile

TEST = "message_queue/catch_ack_on_receive"
CHANNEL = "point_to_point/catch_the_shared_payload"
PREDICT = "message_queue/predict_the_shares"
OUTCOME = "point_to_point/definite_or_unknown"

ATTACKS = (
    Hostile(
        "an object that equals everything",
        "no-such-choice",
        "an object of its own is no choice",
        """
        class Everything:
            def __eq__(self, other): return True
            def __hash__(self): return 0
            def __bool__(self): return True
            def __contains__(self, item): return True

        def when_away(channel):
            return Everything(), Everything()
        """,
    ),
    Hostile(
        "a number that equals every number",
        "head-start-forgotten",
        "it crosses as the number that it is",
        """
        class Any(int):
            def __eq__(self, other): return True
            def __hash__(self): return 7

        def predict_shares():
            some = Any(3)
            return {"prefetch 1": (some, some), "prefetch 12": (some, some), "prefetch 20": (some, some),
                    "order kept": some}
        """,
        PREDICT,
    ),
    Hostile(
        "a text that equals every text",
        "no-such-choice",
        "it crosses as the text that it is",
        """
        class Word(str):
            def __eq__(self, other): return True
            def __hash__(self): return hash("last")

        def ack_mode(job):
            return Word("anything"), True
        """,
        "message_queue/choose_ack_mode",
    ),
    Hostile(
        "a dictionary that has every key",
        "no-prediction",
        "what it holds crosses, and no method",
        """
        class All(dict):
            def __missing__(self, key): return 15
            def get(self, key, otherwise=None): return 15

        def predict_shares():
            return All()
        """,
        PREDICT,
    ),
    Hostile(
        "numbers that are no numbers",
        "raised",
        "NaN does not cross",
        """
        def predict_shares():
            nan = float("nan")
            return {"prefetch 1": (nan, nan), "prefetch 12": (nan, float("inf")), "prefetch 20": (1e999, 0),
                    "order kept": nan}
        """,
        PREDICT,
    ),
    Hostile(
        "sets in a dictionary with numbers as keys",
        "no-such-outcome",
        "it crosses, and is no outcome",
        """
        async def outcome(send, invoice, limit):
            return {1: {2, 3}}
        """,
        OUTCOME,
    ),
    Hostile(
        "a class whose metaclass says yes to everything",
        "died",
        "whoever describes it fails, in its own process",
        """
        class Yes(type):
            def __getattr__(cls, name): return lambda *args, **more: True
            def __instancecheck__(cls, thing): return True
            def __eq__(cls, other): return True
            def __hash__(cls): return 0

        class Store(metaclass=Yes):
            pass
        """,
        FENCE,
    ),
    Hostile(
        "an object in place of a function",
        "wrong-form",
        "it is no async function",
        """
        class Callable_:
            def __call__(self, *args, **more): return self
            def __await__(self): return iter(())
            def __getattr__(self, name): return self

        work = Callable_()
        say = "say("
        """,
        MEND,
    ),
    Hostile(
        "a coroutine that was begun elsewhere",
        "sender-stands-still",
        "each process makes its own",
        """
        async def begun():
            attack()
        waiting = begun()
        waiting.close()
        """,
    ),
    Hostile(
        "a test that looks at the class of what it gets",
        "accuses-a-correct-channel",
        "it gets a stand-in, of no class of the library",
        """
        async def test_channel(make):
            channel = make()
            assert type(channel) is PointToPointChannel
        """,
        CHANNEL,
    ),
    Hostile(
        "a test that looks at where the methods come from",
        "accuses-a-correct-channel",
        "they come from the stand-in",
        """
        async def test_channel(make):
            channel = make()
            sending = channel.send(Message("a"))
            name = sending.__qualname__
            sending.close()
            assert make.__module__ == "eip_ref.point_to_point" and name, name
        """,
        CHANNEL,
    ),
    Hostile(
        "a test that reads the name of the worker",
        "misses-ack-on-receive",
        "no name crosses",
        """
        async def test_worker(work):
            assert not any(word in work.__name__ + work.__qualname__ + repr(work) for word in
                           ("acks_on", "acks_in", "acks_after", "never_acks"))
        """,
        TEST,
    ),
    Hostile(
        "a test that reads what the worker's errors say of it",
        "misses-ack-on-receive",
        "an error comes without frames and notes",
        """
        import traceback

        async def test_worker(work):
            async def handle(message):
                raise ValueError("x")
            try:
                async with MessageQueue("q", lease=5) as queue:
                    await queue.put(Message("a"))
                    with anyio.move_on_after(3):
                        await work(queue, handle)
                await work(None, None)
            except BaseException as error:
                text = "".join(traceback.format_exception(error)) + repr(vars(error))
                assert not any(word in text for word in ("acks_on", "_ack_whatever", "acks_after", "never_acks"))
        """,
        TEST,
    ),
    Hostile(
        "a test that counts its calls, since the good ones come first",
        "misses-ack-on-receive",
        "each implementation meets a process of its own",
        """
        calls = []

        async def test_worker(work):
            calls.append(1)
            assert (len(calls) - 1) % 8 < 4
        """,
        TEST,
    ),
    Hostile(
        "facts recorded by hand",
        "ack-on-receive",
        "the record is the judge's",
        """
        from eip_ref.trace import record

        async def work(queue, handle):
            while True:
                lease = await queue.receive()
                record("started", "worker", lease.message.id, who="worker")
                record("effect", "worker", lease.message.id, who="worker", effect="packed", receipt=1)
                await lease.ack()
        """,
        MEND,
    ),
    Hostile(
        "a queue of its own with the name of the judge's, in which all goes well",
        "left-behind",
        "what the library records here is no fact",
        """
        async def work(queue, handle):
            async with MessageQueue("orders") as mine:
                for number in range(1, 5):
                    await mine.put(Message(f"order {number}"))
                    await (await mine.receive()).ack()
            await anyio.sleep_forever()
        """,
        MEND,
    ),
    Hostile(
        "a message whose content is changed after it was handed over",
        "ack-on-receive",
        "it is a copy",
        """
        async def work(queue, handle):
            while True:
                lease = await queue.receive()
                object.__setattr__(lease.message, "body", "order 9")
                await lease.ack()
        """,
        MEND,
    ),
    Hostile(
        "a receipt made from a seed that it asks the library for",
        "ack-on-receive",
        "the seed is not here, and the receipt is no fact",
        """
        from random import Random
        from eip_ref.lab.clock import current_seed
        from eip_ref.trace import record

        async def work(queue, handle):
            while True:
                lease = await queue.receive()
                number = Random(f"{current_seed()}/{lease.message.id}/packed").randrange(1_000_000)
                record("effect", "worker", lease.message.id, who="worker", effect="packed", receipt=number)
                await lease.ack()
        """,
        MEND,
    ),
    Hostile(
        "a scenario of its own, in which it passes",
        "left-behind",
        "a simulation here is nobody's run",
        """
        from eip_ref.lab import simulate

        async def day():
            async with MessageQueue("orders") as mine:
                await mine.put(Message("order 1", id="m1"))

        kept = simulate(day, seed=1)

        async def work(queue, handle):
            await anyio.sleep_forever()
        """,
        MEND,
    ),
    Hostile(
        "`anyio.sleep` that does not sleep",
        "hot-loop",
        "time is the judge's",
        """
        async def never_tired(seconds):
            await anyio.lowlevel.checkpoint()

        anyio.sleep = never_tired

        async def patient_work(queue, handle):
            while True:
                lease = await queue.receive()
                try:
                    await handle(lease.message)
                except Exception:
                    await anyio.sleep(60)
                    await lease.nack(delay=0 if lease.deliveries < 30 else 5)
                else:
                    await lease.ack()
        """,
        "message_queue/backoff_not_hot_loop",
    ),
    Hostile(
        "a clock that is set back while the answer takes its time",
        "no-time-limit",
        "the judge has a clock of its own",
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
            real = loop.time
            loop.time = lambda: began
            loop.call_soon(lambda: setattr(loop, "time", real))
            return said
        """,
        OUTCOME,
    ),
    Hostile(
        "the library's writer of lines, taught to lie",
        "garbled",
        "an empty object is no line",
        """
        import os
        import eip_ref.autograder.process.learner_side as there

        there.write_line = lambda file, line: os.write(file, b"{}\\n")
        """,
    ),
    Hostile(
        "the judge, the record, chance and Python's own functions, replaced",
        "",
        "it is a right answer, and these are not the judge's",
        """
        import builtins, random, sys
        import eip_ref.autograder.judging as judging, eip_ref.trace
        from eip_ref.message_queue import MessageQueue as Theirs

        judging.judge_trace = lambda *args: None
        eip_ref.trace.record = lambda *args, **more: None
        Theirs.put = None
        random.Random.sample = lambda self, items, count: list(items)
        builtins.sorted = list
        sys.settrace(lambda frame, event, arg: None)
        """,
        right=True,
    ),
    Hostile(
        "the judge, asked for a verdict that says passed",
        "sender-stands-still",
        "a verdict that is made here is nobody's",
        """
        def attack():
            from eip_ref.autograder.judging import judge_answer
            from eip_ref.autograder.registry import find
            judge_answer(find("point_to_point/choose_for_absence"), lambda channel: ("fail", 0))
        """,
    ),
    Hostile(
        "a profiler and an audit hook of its own",
        "",
        "it is a right answer, and it watches itself alone",
        """
        import sys, threading

        threading.setprofile(lambda *args: None)
        sys.addaudithook(lambda *args: None)
        """,
        MEND,
        right=True,
    ),
)
