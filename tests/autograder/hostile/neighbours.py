"""Answers that are after their neighbours and the machine: processes, memory, files, network, output."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "a fork bomb",
        "raised",
        "it has a number of processes of its own",
        """
        import os

        def attack():
            while True:
                if os.fork() == 0:
                    import time
                    time.sleep(1000)
        """,
        elsewhere={},
        harms=True,
    ),
    Hostile(
        "a bomb of threads",
        "raised",
        "threads are counted with them",
        """
        import threading, time

        def attack():
            while True:
                threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        """,
        elsewhere={},
        harms=True,
    ),
    Hostile(
        "a memory bomb",
        "raised",
        "its memory has a bound",
        """
        def attack():
            held = []
            while True:
                held.append(bytearray(64_000_000))
        """,
        elsewhere={},
        harms=True,
    ),
    Hostile(
        "signals to all that it may reach",
        "sender-stands-still",
        "it reaches nobody",
        """
        import os

        def attack():
            for number in (19, 9):
                try: os.kill(-1, number)
                except OSError: pass
        """,
        elsewhere={},
        harms=True,
    ),
    Hostile(
        "a full disk",
        "sender-stands-still",
        "files and folders have a bound",
        """
        def attack():
            try:
                for number in range(200):
                    with open(f"/tmp/{number}", "wb") as file: file.write(bytes(2**20 - 1))
            except OSError:
                pass
        """,
        elsewhere={},
        harms=True,
    ),
    Hostile(
        "all files of the system, open",
        "raised",
        "files are counted",
        """
        import os

        def attack():
            while True: os.dup(0)
        """,
        harms=True,
    ),
    Hostile(
        "locks on the files that all read",
        "sender-stands-still",
        "nobody else asks for these locks",
        """
        import fcntl
        import eip_ref.trace

        kept = open(eip_ref.trace.__file__)

        def attack():
            fcntl.flock(kept, fcntl.LOCK_EX)
        """,
        harms=True,
    ),
    Hostile(
        "a hundred endless loops",
        "sender-stands-still",
        "they end with it",
        """
        import os

        def attack():
            for _ in range(9):
                if os.fork() == 0:
                    while True: pass
        """,
        harms=True,
    ),
    Hostile(
        "shared memory without an end",
        "sender-stands-still",
        "it has a space of its own for it",
        """
        import ctypes

        def attack():
            for _ in range(200): ctypes.CDLL(None).shmget(0, 2**20, 0o1666)
        """,
        harms=True,
    ),
    Hostile(
        "children that outlive it, in sessions of their own",
        "sender-stands-still",
        "they end with it",
        """
        import os, signal, time

        def attack():
            for _ in range(3):
                if os.fork() == 0:
                    os.setsid()
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                    if os.fork() == 0: time.sleep(1000)
                    os._exit(0)
        """,
        elsewhere={},
        harms=True,
    ),
    Hostile(
        "the priority of all, set down, and its own kept",
        "sender-stands-still",
        "it may change nobody's",
        """
        import os

        def attack():
            for which in (os.PRIO_USER, os.PRIO_PGRP):
                try: os.setpriority(which, 0, 19)
                except OSError: pass
        """,
        harms=True,
    ),
    Hostile(
        "a flood written to the standard output itself",
        "sender-stands-still",
        "nobody hears it",
        """
        import os

        def attack():
            for number in (0, 1, 2):
                for _ in range(1000): os.write(number, b"x" * 60_000)
        """,
        harms=True,
    ),
    Hostile(
        "a program that is started",
        "sender-stands-still",
        "it may, and what it leaves is gone",
        """
        import os

        def attack():
            os.system("touch /tmp/left-behind; sleep 1000 & exit 0")
        """,
        elsewhere={"limits": "sender-stands-still"},
    ),
    Hostile(
        "a program that is started by a library",
        "no-report",
        "it may, and what it leaves is gone",
        """
        import threading

        async def touch():
            await asyncio.create_subprocess_exec("touch", "/tmp/left-behind")

        async def send_all(counter, invoices):
            thread = threading.Thread(target=asyncio.run, args=(touch(),))
            thread.start()
            thread.join()
        """,
        "point_to_point/report_what_was_not_sent",
    ),
    Hostile(
        "a huge file",
        "raised",
        "a file has a bound",
        """
        def attack():
            with open("big", "wb") as file:
                for _ in range(50): file.write(b"x" * 1_000_000)
        """,
    ),
    Hostile(
        "a flood of files",
        "sender-stands-still",
        "their folder is gone with it",
        """
        def attack():
            for number in range(3000): open(f"file-{number}", "w").close()
        """,
    ),
    Hostile(
        "the course's own files, changed",
        "raised",
        "it may not",
        """
        import eip_ref.trace

        def attack():
            with open(eip_ref.trace.__file__, "a") as file: file.write("# changed")
        """,
        elsewhere={},
    ),
    Hostile(
        "the course's own files, replaced by a mount of its own",
        "sender-stands-still",
        "a kernel that lets it mount at all lets it do so where nobody else looks",
        """
        import ctypes, os
        import eip_ref

        def attack():
            libc = ctypes.CDLL(None)
            libc.unshare(0x10020000)
            place = os.path.dirname(eip_ref.__file__).encode()
            libc.mount(b"/tmp", place, None, 4096, None)
        """,
        elsewhere={},
    ),
    Hostile(
        "a link that leads outside its folder",
        "raised",
        "what it leads to cannot be written",
        """
        import os

        def attack():
            os.symlink("/", "everything")
            open("everything/etc/left-behind", "w")
        """,
    ),
    Hostile(
        "a file made in a folder that was opened for reading",
        "raised",
        "it may not",
        """
        import os
        import anyio

        def attack():
            place = os.open(os.path.dirname(anyio.__file__), os.O_RDONLY)
            os.open("left-behind", os.O_CREAT | os.O_WRONLY, dir_fd=place)
        """,
    ),
    Hostile(
        "a module in a zip file, in the path of Python",
        "sender-stands-still",
        "it runs here alone",
        """
        import sys, zipfile

        with zipfile.ZipFile("more.zip", "w") as file:
            file.writestr("helper.py", "import os; os.system('touch /tmp/left-behind')")
        sys.path.insert(0, "more.zip")
        import helper
        """,
    ),
    Hostile(
        "a connection to the network",
        "raised",
        "there is none",
        """
        import socket

        def attack():
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        """,
        elsewhere={},
    ),
    Hostile(
        "a name of the network, looked up by a library",
        "raised",
        "there is none",
        """
        import urllib.request

        def attack():
            urllib.request.urlopen("http://left-behind.invalid/", timeout=1)
        """,
    ),
    Hostile(
        "limits, raised",
        "no-such-choice",
        "they are for good",
        """
        import resource

        def attack():
            resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))
        """,
    ),
    Hostile(
        "the account, changed back",
        "raised",
        "it is given up for good",
        """
        import os

        def attack():
            os.setresuid(0, 0, 0)
        """,
        elsewhere={},
    ),
    Hostile(
        "a key of the system's keyring",
        "sender-stands-still",
        "the keyring is its own",
        """
        import ctypes

        def attack():
            ctypes.CDLL(None).syscall(248, b"user", b"left-behind", b"x", 1, -3)
        """,
        elsewhere={},
    ),
)
