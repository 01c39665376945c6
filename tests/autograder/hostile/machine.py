"""Answers that attack the machine: processes, memory, files, network, output."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "a fork bomb",
        """
        import os

        def attack():
            while True:
                os.fork()
        """,
        ("out-of-time", "raised", "died"),
        slow=True,
    ),
    Hostile(
        "a program that is started",
        """
        import os

        def attack():
            os.system("touch /tmp/left-behind")
        """,
        (),
    ),
    Hostile(
        "a program that is started by a library",
        """
        import asyncio
        import threading

        async def touch():
            await asyncio.create_subprocess_exec("touch", "/tmp/left-behind")

        async def send_all(counter, invoices):
            thread = threading.Thread(target=asyncio.run, args=(touch(),))
            thread.start()
            thread.join()
        """,
        ("no-report",),
        "point_to_point/report_what_was_not_sent",
    ),
    Hostile(
        "a bomb of threads",
        """
        import threading
        import time

        def attack():
            while True:
                threading.Thread(target=time.sleep, args=(1000,)).start()
        """,
        ("raised", "out-of-memory", "died"),
        "point_to_point/definite_or_unknown",
    ),
    Hostile(
        "a memory bomb",
        """
        def attack():
            held = []
            while True:
                held.append(bytearray(64_000_000))
        """,
        ("raised", "out-of-memory", "died"),
        "point_to_point/choose_for_absence",
    ),
    Hostile(
        "a flood of printed text",
        """
        def attack():
            for _ in range(20_000):
                print("x" * 1000)
        """,
        (),
    ),
    Hostile(
        "a flood written to the standard output itself",
        """
        import os

        def attack():
            for _ in range(1000):
                os.write(1, b"x" * 60_000)
        """,
        (),
    ),
    Hostile(
        "a huge file",
        """
        def attack():
            with open("big", "wb") as file:
                for _ in range(50):
                    file.write(b"x" * 1_000_000)
        """,
        ("raised", "died"),
        "message_queue/backoff_not_hot_loop",
    ),
    Hostile(
        "a flood of files",
        """
        def attack():
            for number in range(3000):
                open(f"file-{number}", "w").close()
        """,
        (),
    ),
    Hostile(
        "a file outside its folder",
        """
        def attack():
            open("/tmp/left-behind", "w").write("x")
        """,
        (),
    ),
    Hostile(
        "a link that leads outside its folder",
        """
        import os

        def attack():
            os.symlink("/", "everything")
            open("everything/tmp/left-behind", "w")
        """,
        (),
    ),
    Hostile(
        "a path with dots that leads outside",
        """
        from pathlib import Path

        def attack():
            Path("../../left-behind").write_text("x")
        """,
        (),
    ),
    Hostile(
        "the course's own files, changed",
        """
        import os
        import eip_ref.trace

        def attack():
            with open(eip_ref.trace.__file__, "a") as file:
                file.write("# changed")
        """,
        (),
    ),
    Hostile(
        "a zip file in the path of Python",
        """
        import sys
        import zipfile

        with zipfile.ZipFile("more.zip", "w") as file:
            file.writestr("helper.py", "import os; os.system('touch /tmp/left-behind')")
        sys.path.insert(0, "more.zip")
        import helper
        """,
        (),
    ),
    Hostile(
        "a module written into its folder, imported",
        """
        import sys

        open("antigravity2.py", "w").write("import eip_ref.trace as t; t._recorder.set(None)")
        sys.path.insert(0, "")
        __import__("antigravity2")
        """,
        (),
    ),
    Hostile(
        "a connection to the network",
        """
        import socket

        def attack():
            socket.create_connection(("192.0.2.1", 80), timeout=1)
        """,
        (),
    ),
    Hostile(
        "a connection to the network by a library",
        """
        import urllib.request

        def attack():
            urllib.request.urlopen("http://192.0.2.1/", timeout=1)
        """,
        (),
    ),
    Hostile(
        "a name of the network, looked up",
        """
        import asyncio
        import logging.handlers

        def attack():
            logging.handlers.SysLogHandler(address=("example.org", 514))
        """,
        (),
        "point_to_point/choose_for_absence",
    ),
    Hostile(
        "a rename of its own folder",
        """
        import os

        def attack():
            os.rename(os.getcwd(), "/tmp/left-behind")
        """,
        (),
    ),
    Hostile(
        "a file moved out of its folder",
        """
        import os

        def attack():
            open("mine", "w").close()
            os.rename("mine", "/tmp/left-behind")
        """,
        (),
    ),
    Hostile(
        "a file made in a folder that was opened for reading",
        """
        import os

        import anyio

        def attack():
            place = os.open(os.path.dirname(anyio.__file__), os.O_RDONLY)
            os.open("left-behind", os.O_CREAT | os.O_WRONLY, dir_fd=place)
        """,
        (),
    ),
    Hostile(
        "a file outside its folder, made by SQLite",
        """
        import sqlite3

        def attack():
            base = sqlite3.connect(":memory:")
            base.execute("ATTACH '/tmp/left-behind' AS other")
            base.execute("CREATE TABLE other.x (y)")
        """,
        (),
    ),
    Hostile(
        "a pipe with a name, outside its folder",
        """
        import os

        def attack():
            os.mkfifo("/tmp/left-behind")
        """,
        (),
    ),
    Hostile(
        "limits, raised",
        """
        import resource

        def attack():
            resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))
        """,
        (),
    ),
    Hostile(
        "a library of SQLite, loaded as code",
        """
        import sqlite3

        def attack():
            sqlite3.connect(":memory:").enable_load_extension(True)
        """,
        (),
    ),
)
