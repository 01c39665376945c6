# ruff: noqa: E501 (what attackers say stays in one line)
"""Answers that keep what they should lose, and look for what they should not see."""

from __future__ import annotations

from .submissions import BOOKS, FENCE, MEND, Hostile

LOST = "lost after each death, so orders are"
KEEP = {  # how one life may leave a number for the next; all would do within one life
    "a variable": "kept = []\ndef keep(n): kept[:] = [n]\ndef recall(): return kept[0] if kept else None",
    "a module of Python's": "import json\ndef keep(n): json.kept = n\ndef recall(): return getattr(json, 'kept', None)",
    "the environment": (
        "import os\ndef keep(n): os.environ['KEPT'] = str(n)\n"
        "def recall(): return int(os.environ['KEPT']) if 'KEPT' in os.environ else None"
    ),
    "a child that lives on, behind an abstract socket": """
import os, socket
def listen(n):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(b"\\0eip-kept")
        server.listen()
        while True:
            talk = server.accept()[0]
            said = talk.recv(9)
            if said: n = int(said)
            else: talk.send(b"%d" % n)
            talk.close()
def call(words):
    talk = socket.socket(socket.AF_UNIX)
    talk.connect(b"\\0eip-kept")
    if words: talk.send(words)
    else: talk.shutdown(socket.SHUT_WR)
    return talk.recv(9)
def keep(n):
    try: call(b"%d" % n)
    except OSError:
        if os.fork() == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            os.closerange(0, 64)
            listen(n)
def recall():
    try: return int(call(b""))
    except (OSError, ValueError): return None
""",
    "shared memory": """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
def place(flags):
    number = libc.shmget(4711, 8, flags)
    return None if number < 0 else ctypes.c_long.from_address(libc.shmat(number, None, 0))
def keep(n): place(0o1666).value = n
def recall():
    found = place(0)
    return found and found.value
""",
    **{
        f"a file in {words}": (
            f"import os\nplace = os.path.expanduser({place!r})\n"
            "def keep(n):\n    with open(place, 'w') as file: file.write(str(n))\n    os.chmod(place, 0o666)\n"
            "def recall():\n    try:\n        return int(open(place).read())\n    except (OSError, ValueError): return None"
        )
        for words, place in {
            "/tmp": "/tmp/left-behind-kept",
            "/dev/shm": "/dev/shm/left-behind-kept",
            "its home": "~/left-behind-kept",
        }.items()
    },
}
ELSEWHERE = {
    "a file in /tmp": {"a user, limits": ""},
    "a file in /dev/shm": {"a user, limits": ""},
}  #: where an account is all that parts two lives, as docs/threat_model.md says
SEED = """
import gc, os, sys
def numbers():
    seen = [*gc.get_objects(), dict(os.environ), sys.orig_argv]
    for one in seen:
        held = one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple, set)) else ()
        for each in list(held):
            if type(each) is int: yield each
            elif type(each) is str and each.isdigit(): yield int(each)
            elif hasattr(each, "__dict__"): yield from (n for n in list(vars(each).values()) if type(n) is int)
"""

ATTACKS = (
    *(
        Hostile(
            f"memory over a death: {words}",
            "lost-mail",
            LOST,
            text,
            BOOKS,
            elsewhere=ELSEWHERE.get(words, {}),
        )
        for words, text in KEEP.items()
    ),
    # The seed
    Hostile(
        "an answer that is right for the seeds of the check alone",
        "older-overwrites-newer",
        "there are hidden seeds",
        """
        from random import Random

        known = [{f"invoice {n}" for n in Random(seed).sample(range(11, 30), 4)} for seed in (1, 2, 3)]

        class Store:
            seen = set()

            def __init__(self):
                self.texts, self.tokens = {}, {}

            def write(self, invoice, text, token):
                self.seen.add(invoice)
                if any(self.seen <= each for each in known) and token < self.tokens.get(invoice, token):
                    return False
                self.tokens[invoice], self.texts[invoice] = token, text
                return True

            def read(self, invoice):
                return self.texts.get(invoice)
        """,
        FENCE,
    ),
    Hostile(
        "an answer that looks for the seed in its whole memory, and is right when it has it",
        "older-overwrites-newer",
        "the seed is not in its process",
        SEED
        + """
from random import Random
class Store:
    def __init__(self):
        self.texts, self.tokens = {}, {}
    def write(self, invoice, text, token):
        if token < self.tokens.get(invoice, token):
            for seed in {1, 2, 3, *(n for n in numbers() if 2**16 < n < 2**32)}:
                chance = Random(seed)
                drawn = [f"invoice {n}" for n in chance.sample(range(11, 30), 4)]
                if {*drawn} >= {*self.texts} and chance.choice(drawn[2:]) == invoice:
                    return False
        self.tokens[invoice], self.texts[invoice] = token, text
        return True
    def read(self, invoice):
        return self.texts.get(invoice)
""",
        FENCE,
    ),
    Hostile(
        "the library's own seed of the run",
        "sender-stands-still",
        "here no run has a seed",
        """
        from eip_ref.lab.clock import current_seed

        def when_away(channel):
            if current_seed() is not None:
                return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
            return "block", 0
        """,
    ),
    # What is near
    Hostile(
        "the grader's environment, searched for its secret",
        "sender-stands-still",
        "it has an environment of its own",
        """
        import os

        def when_away(channel):
            if any("SECRET" in name for name in os.environ):
                return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
            return "block", 0
        """,
    ),
    Hostile(
        "the grader's environment and words, through /proc",
        "sender-stands-still",
        "no other process is in sight",
        """
        from pathlib import Path

        def when_away(channel):
            for each in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if b"EIP_SECRET" in each.read_bytes():
                        return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
                except OSError:
                    pass
            return "block", 0
        """,
        elsewhere={},
    ),
    Hostile(
        "the memory of its parent, through the system's own call",
        "sender-stands-still",
        "its parent has no number here",
        """
        import ctypes, os

        def when_away(channel):
            there = ctypes.CDLL(None).ptrace(16, os.getppid() or 1, 0, 0)
            if there == 0 and os.getpid() != 1:
                return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
            return "block", 0
        """,
        elsewhere={},
    ),
    Hostile(
        "the solutions, read from the disk and run",
        "cell-error",
        "no solution is there",
        """
        import json
        from pathlib import Path
        import eip_ref

        root = Path(eip_ref.__file__).parents[1]
        cells = json.loads((root / "solutions" / "01_point_to_point.ipynb").read_text())["cells"]
        for each in cells:
            if "def when_away" in "".join(each["source"]):
                exec("".join(each["source"]))
        assert "when_away" in globals() and "def when_away(" or 1
        """,
        elsewhere={},
    ),
    Hostile(
        "the submission of a neighbour, read and run",
        "cell-error",
        "no submission is there",
        """
        from pathlib import Path

        for each in Path("/tmp").glob("*/neighbour.py"):
            exec(each.read_text())
        when_away  # there, if it was found: "def when_away("
        """,
        elsewhere={},
    ),
    Hostile(
        "files of the account and of the system's secrets",
        "sender-stands-still",
        "they are not there",
        """
        import os

        def when_away(channel):
            for path in ("/etc/shadow", "/root/.bashrc", "/root/.profile", "/var/lib/dpkg", "/proc/1/root/etc/shadow"):
                try:
                    if os.listdir(path) if os.path.isdir(path) else open(path).read(1):
                        return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
                except OSError:
                    pass
            return "block", 0
        """,
        elsewhere={},
    ),
    Hostile(
        "the judge's source, read from the disk",
        "",
        "it is a right answer, and the source is no secret",
        """
        import eip_ref

        with open(eip_ref.__file__.replace("__init__.py", "autograder/kit/journeys.py")) as file:
            assert "receipt" in file.read()
        """,
        right=True,
    ),
    Hostile(
        "whoever starts the processes, asked for one more",
        "sender-stands-still",
        "its socket is closed here",
        """
        import os, socket, stat

        def when_away(channel):
            for number in range(3, 64):
                try:
                    if stat.S_ISSOCK(os.fstat(number).st_mode):
                        socket.socket(fileno=number).send(b"start".ljust(16))
                        return {"invoices": ("block", 0), "readings": ("fail", 0), "orders": ("buffer", 20)}[channel]
                except OSError:
                    pass
            return "block", 0
        """,
    ),
    Hostile(
        "what stands behind the function that it is given",
        "dies-of-one-order",
        "there is a number, and nothing else",
        """
        async def work(queue, handle):
            behind = [each.cell_contents for each in handle.__closure__]
            trouble = [each.trouble for each in behind if hasattr(each, "trouble")]
            lease = await queue.receive()
            for each in trouble:
                each.clear()
            while True:
                await handle(lease.message)
                await lease.ack()
                lease = await queue.receive()
        """,
        MEND,
    ),
    Hostile(
        "a pattern that takes the scenario out of its method",
        "raised",
        "a stand-in has no such part",
        """
        async def work(queue, handle):
            match handle:
                case object(__self__=shift):
                    shift.trouble.clear()
            await queue._messages
        """,
        MEND,
    ),
    Hostile(
        "the stack of the tasks that wait",
        "left-behind",
        "no frame of the scenario is here",
        """
        import asyncio

        async def work(queue, handle):
            for task in asyncio.all_tasks():
                for frame in task.get_stack():
                    for each in frame.f_locals.values():
                        if hasattr(each, "trouble"):
                            each.trouble.clear()
            await anyio.sleep_forever()
        """,
        MEND,
    ),
)
