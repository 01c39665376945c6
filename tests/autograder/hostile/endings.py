"""Answers that end what runs them, or never end."""

from __future__ import annotations

import sys

from .submissions import MEND, Hostile, inside, speaking

ATTACKS = (
    # They end
    Hostile(
        "`SystemExit` in the answer",
        "raised",
        "it is an error",
        "import sys\n\ndef attack():\n    sys.exit(0)",
    ),
    Hostile(
        "`SystemExit` before the answer is defined",
        "cell-error",
        "the cell defines nothing",
        "raise SystemExit",
    ),
    Hostile(
        "`os._exit` in the answer", "died", "its process ended", "import os\n\ndef attack():\n    os._exit(0)"
    ),
    Hostile("`os.abort` before the answer is defined", "died", "its process ended", "import os\nos.abort()"),
    Hostile(
        "a stack that overflows in C",
        "died" if sys.version_info < (3, 12) else "raised",
        "Python itself ends, until it counts the calls in C as well",
        """
        import sys

        sys.setrecursionlimit(10**6)

        class Deep:
            def __repr__(self): return repr([self])

        def attack():
            repr(Deep())
        """,
    ),
    Hostile("a recursion without an end", "raised", "Python counts calls", "def attack():\n    attack()"),
    Hostile(
        "an error whose text is an error",
        "raised",
        "an error without a text",
        """
        class Worse(Exception):
            def __str__(self): raise Worse
            def __repr__(self): raise Worse

        def attack():
            raise Worse
        """,
    ),
    Hostile("a syntax error", "syntax-error", "Python cannot read it", "def attack(:\n    pass"),
    Hostile("a byte that is no text", "syntax-error", "Python cannot read it", "y = 'a\0b'"),
    Hostile(
        "something that shall happen when Python ends",
        "sender-stands-still",
        "its process is killed, and nothing happens",
        """
        import atexit, threading, weakref

        class Late:
            def __del__(self): open("/tmp/left-behind", "w").write("x")

        def attack():
            late = Late()
            weakref.finalize(late, open, "/tmp/left-behind", "w")
            globals()["kept"] = late
            atexit.register(lambda: open("/tmp/left-behind", "w").write("x"))
        """,
        elsewhere={},
    ),
    Hostile(
        "a kill signal to itself",
        "sender-stands-still",
        "the first process of a space does not die of it",
        "import os\n\ndef attack():\n    os.kill(os.getpid(), 9)",
        elsewhere={"limits": "died"},
    ),
    Hostile(
        "a kill signal to its parent",
        "sender-stands-still",
        "its parent has no number here",
        """
        import os

        def attack():
            try: os.kill(os.getppid() or 2**22, 9)
            except OSError: pass
        """,
        elsewhere={"limits": "sender-stands-still"},
    ),
    # They do not end
    Hostile(
        "a stop signal to itself",
        "sender-stands-still",
        "the first process of a space does not stop at it",
        "import os\n\ndef attack():\n    os.kill(os.getpid(), 19)",
        elsewhere={"limits": "out-of-time"},
    ),
    Hostile("an endless loop", "out-of-time", "time is up", "def attack():\n    while True: pass"),
    Hostile(
        "an endless loop before the answer is defined",
        "out-of-time",
        "time is up",
        "while True: pass",
    ),
    Hostile(
        "an endless loop that swallows every error and ignores every signal",
        "out-of-time",
        "nobody asks it to end",
        """
        import signal

        for each in {*signal.Signals} - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(each, signal.SIG_IGN)

        def attack():
            while True:
                try:
                    while True: pass
                except BaseException:
                    continue
        """,
    ),
    Hostile(
        "an endless loop, with Python's clocks set back",
        "out-of-time",
        "the judge has a clock of its own",
        """
        import time

        time.monotonic = time.time = time.perf_counter = lambda: 0.0

        def attack():
            while True: pass
        """,
    ),
    Hostile(
        "sleeping in real time",
        "out-of-time",
        "time is up",
        "import time\n\ndef attack():\n    time.sleep(1000)",
    ),
    Hostile(
        "a lock that is taken twice, in a coroutine",
        "out-of-time",
        "time is up",
        """
        import threading

        async def work(queue, handle):
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        """,
        MEND,
    ),
    Hostile(
        "a thread that sleeps for ever, while the answer goes on",
        "sender-stands-still",
        "nobody waits for a thread",
        "import threading, time\n\nthreading.Thread(target=time.sleep, args=(1000,)).start()",
    ),
    Hostile(
        "half a line, and then nothing",
        "out-of-time",
        "time is up",
        speaking("write(b'[1')\ntime.sleep(99)"),
        MEND,
    ),
    Hostile(
        "a line, byte by byte",
        "out-of-time",
        "each byte is a word, and the run has an end all the same",
        speaking("write(b'[')\nwhile True:\n    write(b'1')\n    time.sleep(0.01)"),
        MEND,
    ),
    Hostile(
        "a reminder of the queue's that never comes back",
        "out-of-time",
        "time is up, whoever called",
        inside(
            "lease = await queue.receive()\nlease.on_end.append(lambda: time.sleep(99))\nawait lease.ack()"
        ),
        MEND,
    ),
    Hostile(
        "a child that holds the pipes, while its parent is gone",
        "died",
        "in a space of its own the child goes with its parent",
        inside("if os.fork() == 0: time.sleep(99)\nos._exit(0)"),
        MEND,
        elsewhere={"limits": "out-of-time"},
    ),
)
