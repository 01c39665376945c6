"""Answers that end what runs them, or never end."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "an endless loop",
        """
        def attack():
            while True:
                pass
        """,
        ("out-of-time",),
        slow=True,
    ),
    Hostile(
        "an endless loop before the answer is defined",
        """
        while True:
            pass
        """,
        ("out-of-time",),
        slow=True,
    ),
    Hostile(
        "sleeping in real time",
        """
        import time

        def attack():
            time.sleep(1000)
        """,
        ("out-of-time",),
        slow=True,
    ),
    Hostile(
        "a thread that sleeps for ever, while the answer goes on",
        """
        import threading
        import time

        threading.Thread(target=time.sleep, args=(1000,)).start()
        """,
        (),
    ),
    Hostile(
        "a lock that is taken twice",
        """
        import threading

        lock = threading.Lock()

        def attack():
            lock.acquire()
            lock.acquire()
        """,
        ("out-of-time",),
        slow=True,
    ),
    Hostile(
        "`SystemExit` in the answer",
        """
        import sys

        def attack():
            sys.exit(0)
        """,
        ("raised",),
    ),
    Hostile(
        "`KeyboardInterrupt` in the answer, to stop the grading of the class",
        """
        def attack():
            raise KeyboardInterrupt
        """,
        ("raised",),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "`SystemExit` before the answer is defined",
        """
        raise SystemExit
        """,
        ("cell-error",),
    ),
    Hostile(
        "`os._exit` in the answer",
        """
        import os

        def attack():
            os._exit(0)
        """,
        ("died",),
    ),
    Hostile(
        "`os._exit` by a name that is made while the code runs",
        """
        from os import *
        import os

        leave = {name: thing for name, thing in zip(dir(os), map(os.__dict__.get, dir(os)))}["_exit"]

        def attack():
            leave(0)
        """,
        ("died",),
    ),
    Hostile(
        "`os.abort`",
        """
        import os

        def attack():
            os.abort()
        """,
        ("died",),
    ),
    Hostile(
        "`os.abort` before the answer is defined",
        """
        import os
        os.abort()
        """,
        ("died",),
    ),
    Hostile(
        "a recursion without an end",
        """
        import sys

        sys.setrecursionlimit(10**9)

        def attack():
            attack()
        """,
        ("raised", "out-of-memory", "out-of-time", "died"),
        slow=True,
    ),
    Hostile(
        "swallowing every error",
        """
        def attack():
            while True:
                try:
                    while True:
                        pass
                except BaseException:
                    continue
        """,
        ("out-of-time",),
        slow=True,
    ),
    Hostile(
        "swallowing the cancellation",
        """
        async def work(queue, handle):
            while True:
                try:
                    lease = await queue.receive()
                    await handle(lease.message)
                    await lease.ack()
                except BaseException:
                    pass
        """,
        ("swallowed-cancellation", "never-ends"),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "an error whose text is an error",
        """
        class Worse(Exception):
            def __str__(self):
                raise Worse

            def __repr__(self):
                raise Worse

        def attack():
            raise Worse
        """,
        (),
    ),
    Hostile(
        "something that happens at exit",
        """
        import atexit

        def attack():
            atexit.register(lambda: open("/tmp/left-behind", "w").write("x"))
        """,
        (),
    ),
    Hostile(
        "something that happens when an object is thrown away",
        """
        import weakref

        class Late:
            def __del__(self):
                open("/tmp/left-behind", "w").write("x")

        def attack():
            late = Late()
            weakref.finalize(late, open, "/tmp/left-behind", "w")
        """,
        (),
    ),
    Hostile(
        "a syntax error",
        """
        def attack(:
        """,
        ("syntax-error",),
    ),
    Hostile(
        "a byte that is no text",
        """
        x = "\\0"
        y = 'a\0b'
        """,
        ("syntax-error", "cell-error"),
    ),
    Hostile(
        "a module that does not exist",
        """
        import no_such_module_anywhere
        """,
        (),
    ),
    Hostile(
        "a part of a module that does not exist",
        """
        from collections import no_such_part
        """,
        (),
    ),
    Hostile(
        "a stop signal to itself",
        """
        import os

        def attack():
            os.kill(os.getpid(), 19)
        """,
        (),  # where it is the first process of a space of its own, the signal does nothing
        slow=True,
    ),
    Hostile(
        "a kill signal to its parent",
        """
        import os

        def attack():
            os.kill(os.getppid(), 9)
        """,
        (),
    ),
    Hostile(
        "a handler for the signals that end it",
        """
        import signal

        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        """,
        (),
    ),
    Hostile(
        "closing every file descriptor",
        """
        import os

        def attack():
            os.closerange(0, 64)
        """,
        ("died",),
    ),
)
