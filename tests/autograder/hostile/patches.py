"""Answers that change what the grading rests on: the library, the judge, the clock, Python itself."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "a function of the library, replaced",
        """
        import eip_ref.trace

        def silent(*args, **more):
            pass

        def attack():
            eip_ref.trace.record = silent
        """,
        (),
    ),
    Hostile(
        "a method of the library, replaced",
        """
        from eip_ref.message_queue import MessageQueue as Theirs

        async def nothing(self, *args, **more):
            pass

        Theirs.put = nothing
        """,
        (),
    ),
    Hostile(
        "a method of the library, replaced during the run and put back",
        """
        async def work(queue, handle):
            real = MessageQueue.receive

            async def nothing(self, *args, **more):
                await anyio.sleep(1000)

            MessageQueue.receive = nothing
            for _ in range(4):
                lease = await real(queue)
                await lease.ack()
            MessageQueue.receive = real
            await anyio.sleep(100)
        """,
        ("raised",),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "the judge, replaced",
        """
        import eip_ref.autograder.judging as judging
        judging.judge_trace = lambda *args: None
        """,
        (),
    ),
    Hostile(
        "the judge, found in the table of modules and replaced",
        """
        import sys

        for name in list(sys.modules):
            if name.endswith("judging"):
                sys.modules[name].judge_trace = None
        """,
        (),
    ),
    Hostile(
        "the exercise, replaced by one that always passes",
        """
        from eip_ref.course.message_queue import EXERCISES

        for exercise in EXERCISES:
            object.__setattr__(exercise, "judge", lambda trace: [])
        """,
        ("cell-error",),
    ),
    Hostile(
        "the clock of Python, replaced",
        """
        import time

        time.monotonic = lambda: 0.0
        time.time = lambda: 0.0
        """,
        (),
    ),
    Hostile(
        "the clock of asyncio, replaced",
        """
        import asyncio.base_events

        asyncio.base_events.BaseEventLoop.time = lambda self: 0.0
        """,
        (),
    ),
    Hostile(
        "`anyio.sleep`, replaced",
        """
        import anyio

        async def never_tired(seconds):
            pass

        anyio.sleep = never_tired
        """,
        (),
    ),
    Hostile(
        "JSON, taught to lie",
        """
        import json

        json.dumps = lambda *args, **more: "{}"
        """,
        ("garbled",),
    ),
    Hostile(
        "chance, replaced",
        """
        import random

        random.Random.sample = lambda self, items, count: list(items)
        """,
        (),
    ),
    Hostile(
        "`len` and `sorted` of Python, replaced",
        """
        import builtins

        builtins.sorted = list
        """,
        (),
    ),
    Hostile(
        "a tracer that sees every line",
        """
        import sys

        sys.settrace(lambda frame, event, arg: None)
        """,
        (),
    ),
    Hostile(
        "a profiler, set by a roundabout way",
        """
        import threading

        def attack():
            threading.setprofile(lambda *args: None)
            threading.Thread(target=print).start()
        """,
        (),
    ),
    Hostile(
        "an audit hook of its own",
        """
        import sys

        def attack():
            sys.addaudithook(lambda *args: None)
        """,
        (),
    ),
    Hostile(
        "a module of the library, loaded anew",
        """
        import sys
        from importlib import reload
        """,
        (),
    ),
    Hostile(
        "a loop that makes no tasks",
        """
        import asyncio

        async def work(queue, handle):
            loop = asyncio.get_running_loop()
            loop.create_task = lambda *args, **more: None
            while True:
                lease = await queue.receive()
                await lease.ack()
        """,
        ("ack-on-receive",),
        "message_queue/mend_the_worker",
    ),
)
