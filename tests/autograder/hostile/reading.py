"""Answers that look for what they should not see: the judge, the solutions, frames, memory, secrets."""

from __future__ import annotations

from .submissions import Hostile

ATTACKS = (
    Hostile(
        "the solutions, read from the disk",
        """
        from pathlib import Path

        def attack():
            import eip_ref
            for folder in Path(eip_ref.__file__).parents:
                for path in folder.glob("solutions/*.ipynb"):
                    print(path.read_text())
        """,
        (),
    ),
    Hostile(
        "the judge's source, read from the disk",
        """
        def attack():
            import eip_ref
            path = eip_ref.__file__.replace("__init__.py", "autograder/kit/journeys.py")
            if "receipt" in open(path).read():
                print("and it helps nobody: the seeds are not in it")
        """,
        (),
    ),
    Hostile(
        "the submissions of others, looked for",
        """
        import os

        def attack():
            for folder in ("/home", "/tmp", "/root", ".."):
                os.listdir(folder)
        """,
        (),
    ),
    Hostile(
        "the environment, searched for secrets",
        """
        import os

        def attack():
            found = [name for name in os.environ if name.startswith(("EIP_SECRET", "GITHUB", "AWS", "USER"))]
            if found:
                open("/tmp/left-behind", "w")
        """,
        (),
    ),
    Hostile(
        "the frames of the callers",
        """
        import sys

        def attack():
            sys._getframe(1).f_globals["judge"] = None
        """,
        (),
    ),
    Hostile(
        "the frames in the traceback of an error",
        """
        def attack():
            try:
                1 / 0
            except ZeroDivisionError as error:
                print(error.__traceback__.tb_frame.f_back)
        """,
        (),
    ),
    Hostile(
        "the frames, by names that are made while the code runs",
        """
        def attack():
            try:
                1 / 0
            except ZeroDivisionError as error:
                print(getattr(error, "__trace" + "back__"))
        """,
        (),
    ),
    Hostile(
        "`getattr` under another name",
        """
        look = getattr

        def attack():
            return look(attack, "__glo" "bals__")
        """,
        (),
    ),
    Hostile(
        "a pattern that takes a private part out of a thing",
        """
        async def work(queue, handle):
            match handle:
                case object(__self__=shift):
                    shift.trouble.clear()
        """,
        ("left-behind", "raised"),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "a format that reads a private part",
        """
        async def work(queue, handle):
            print("{0.__self__.trouble}".format(handle))
        """,
        ("left-behind", "raised"),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "code in a text, run by a library",
        """
        import timeit

        timeit.timeit("().__class__.__base__.__subclasses__()", number=1)
        """,
        (),
    ),
    Hostile(
        "code in an annotation, run by a library",
        """
        from functools import singledispatch

        @singledispatch
        def found(thing):
            pass

        @found.register
        def look(thing: "().__class__.__base__.__subclasses__()"):
            pass
        """,
        (),
    ),
    Hostile(
        "code made from text",
        """
        def attack():
            exec("import os")
        """,
        (),
    ),
    Hostile(
        "the objects that the garbage collector knows",
        """
        import gc

        def attack():
            print(len(gc.get_objects()))
        """,
        (),
    ),
    Hostile(
        "memory, through `ctypes`",
        """
        import ctypes

        def attack():
            ctypes.string_at(id(attack), 64)
        """,
        (),
    ),
    Hostile(
        "a private part, excused by an own one of the same name",
        """
        class Mine:
            __self__ = None
            _receipt = None

        async def work(queue, handle):
            handle.__self__.trouble.clear()
        """,
        ("left-behind", "raised"),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "a module that reads frames, found in another module",
        """
        import dataclasses

        def attack():
            print(dataclasses.inspect.getmembers(attack))
        """,
        (),
    ),
    Hostile(
        "the stack of the tasks that wait",
        """
        import asyncio

        async def work(queue, handle):
            for task in asyncio.all_tasks():
                for frame in task.get_stack():
                    print(frame)
        """,
        ("left-behind", "raised"),
        "message_queue/mend_the_worker",
    ),
    Hostile(
        "the inside of the scenario, imported",
        """
        from eip_ref.autograder import kit

        def attack():
            kit.happens(None, "packed")
        """,
        (),
    ),
    Hostile(
        "the recorder, taken from the context",
        """
        import contextvars

        def attack():
            for variable, value in contextvars.copy_context().items():
                print(variable, value)
        """,
        (),
    ),
    Hostile(
        "the private recorder of the library",
        """
        import eip_ref.trace

        def attack():
            eip_ref.trace._recorder.set(None)
        """,
        (),
    ),
    Hostile(
        "a pickle that runs code",
        """
        import pickle

        def attack():
            pickle.loads(b"cos\\nsystem\\n(S'true'\\ntR.")
        """,
        (),
    ),
    Hostile(
        "a function of Python in other clothes",
        """
        import operator

        def attack():
            return operator.attrgetter("__glo" + "bals__")(attack)
        """,
        (),
    ),
)
