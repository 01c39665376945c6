"""Answers that are not what they seem: things that equal everything, and tests that know the suspects."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "an object that equals everything",
        """
        class Everything:
            def __eq__(self, other):
                return True

            def __ne__(self, other):
                return False

            def __hash__(self):
                return 0

            def __bool__(self):
                return True

            def __contains__(self, item):
                return True

        def count_the_links():
            return Everything()

        def when_away(channel):
            return Everything(), Everything()
        """,
        ("no-such-choice",),
        "point_to_point/choose_for_absence",
    ),
    Hostile(
        "a number that equals every number",
        """
        class Any(int):
            def __eq__(self, other):
                return True

            def __hash__(self):
                return 7

        def predict_shares():
            some = Any(3)
            return {"prefetch 1": (some, some), "prefetch 12": (some, some), "prefetch 20": (some, some),
                    "order kept": some}
        """,
        ("head-start-forgotten",),
        "message_queue/predict_the_shares",
    ),
    Hostile(
        "a text that equals every text",
        """
        class Word(str):
            def __eq__(self, other):
                return True

            def __hash__(self):
                return hash("last")

        def ack_mode(job):
            return Word("anything"), True
        """,
        ("no-such-choice",),
        "message_queue/choose_ack_mode",
    ),
    Hostile(
        "an outcome that equals every outcome",
        """
        class Word(str):
            def __eq__(self, other):
                return True

            def __hash__(self):
                return 1

        async def outcome(send, invoice, limit):
            return Word("accepted or not sent or unknown")
        """,
        ("no-such-outcome",),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "a class whose metaclass says yes to everything",
        """
        class Yes(type):
            def __getattr__(cls, name):
                return lambda *args, **more: True

            def __instancecheck__(cls, thing):
                return True

            def __eq__(cls, other):
                return True

            def __hash__(cls):
                return 0

        class Store(metaclass=Yes):
            pass
        """,
        ("died", "wrong-form"),
        "message_queue/fence_the_store",
    ),
    Hostile(
        "an object in place of a function",
        """
        class Callable_:
            def __call__(self, *args, **more):
                return self

            def __await__(self):
                return iter(())

            def __getattr__(self, name):
                return self

        work = Callable_()
        """,
        ("wrong-form",),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "a test that looks at the class of what it gets",
        """
        async def test_channel(make):
            channel = make()
            assert type(channel) is PointToPointChannel
            assert type(channel).__name__ == "PointToPointChannel"
        """,
        ("accuses-a-correct-channel",),
        "point_to_point/catch_the_shared_payload",
    ),
    Hostile(
        "a test that looks at where the methods come from",
        """
        async def test_channel(make):
            channel = make()
            sending = channel.send(Message("a"))
            name = sending.__qualname__
            sending.close()  # or Python would warn that nobody awaited it
            assert name == channel.send.__qualname__ == "PointToPointChannel.send", name
            assert make.__module__ == "eip_ref.point_to_point"
        """,
        ("accuses-a-correct-channel",),
        "point_to_point/catch_the_shared_payload",
    ),
    Hostile(
        "a test that reads the name of the worker",
        """
        async def test_worker(work):
            assert not any(word in work.__name__ + work.__qualname__ + repr(work) for word in
                           ("acks_on", "acks_in", "acks_after", "never_acks"))
        """,
        ("misses-ack-on-receive",),
        "message_queue/catch_ack_on_receive",
    ),
    Hostile(
        "a test that reads the name of the worker in the traceback of an error",
        """
        import io
        import logging

        async def test_worker(work):
            kept = []

            async def handle(message):
                try:
                    raise ValueError("x")
                except ValueError as error:
                    kept.append(error)
                    raise

            async with MessageQueue("q", lease=5) as queue, anyio.create_task_group() as group:
                await queue.put(Message("a"))
                group.start_soon(work, queue, handle)
                await anyio.sleep(1)
                group.cancel_scope.cancel()
            text = io.StringIO()
            logger = logging.getLogger("spy")
            logger.handlers = [logging.StreamHandler(text)]
            logger.error("x", exc_info=kept[0])
            assert not any(word in text.getvalue() for word in
                           ("acks_on", "_ack_whatever", "acks_after", "never_acks"))
        """,
        ("misses-ack-on-receive",),
        "message_queue/catch_ack_on_receive",
    ),
    Hostile(
        "a test that reads the source of the worker",
        """
        import inspect

        async def test_worker(work):
            assert "finally" not in inspect.getsource(work)
        """,
        ("misses-ack-on-receive",),
        "message_queue/catch_ack_on_receive",
    ),
    Hostile(
        "a test that counts its calls, since the good ones come first",
        """
        calls = []

        async def test_worker(work):
            calls.append(1)
            assert (len(calls) - 1) % 8 < 4
        """,
        ("misses-ack-on-receive",),
        "message_queue/catch_ack_on_receive",
    ),
    Hostile(
        "a test that always fails",
        """
        async def test_channel(make):
            assert False
        """,
        ("accuses-a-correct-channel",),
        "point_to_point/catch_the_shared_payload",
    ),
)
