"""A hostile submission: an exercise, the cell that answers it, and what it is worth.

Where a cell does not define the answer itself, a wrong answer stands below it, which calls `attack` first:
so points would be the attack's doing. Below a cell that is `right` stands the model answer, which gets its
points all the same.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from textwrap import dedent, indent
from typing import Any

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer
from eip_ref.autograder.registry import Lesson, find, lesson, lessons
from eip_ref.autograder.workbook import answer_cells

from ..exercise_cases import ROOT, model_source

__all__ = [
    "BOOKS",
    "CHOOSE",
    "FENCE",
    "MEND",
    "READY",
    "SPEAKER",
    "Hostile",
    "answering",
    "batches",
    "in_bytes",
    "inside",
    "put",
    "solved",
    "speaking",
]

CHOOSE = "point_to_point/choose_for_absence"  #: a function that does not suspend
MEND = "message_queue/mend_the_worker"  #: a worker that dies and is stopped
FENCE = "message_queue/fence_the_store"  #: a class
BOOKS = "event_sourcing/react_once"  #: a worker that must remember over its deaths

WRONG = {
    CHOOSE: """
        def when_away(channel):
            attack()
            return "block", 0
        """,
    MEND: """
        async def work(queue, handle):
            attack()
            while True:
                lease = await queue.receive()
                await lease.ack()
                await handle(lease.message)
        """,
    BOOKS: """
        async def react(store, memory, mail):
            position = recall()
            if position is None or position > store.last():
                position = store.last()
                keep(position)
            while True:
                for order in await store.read_all(position):
                    await mail(order.message.body["customer"], key=order.message.id)
                    position = order.position
                    keep(position)
        """,
}

SPEAKER = """
import gc, json, os, time
side = next(each for each in gc.get_objects() if type(each).__name__ == "Side")
rest = b""
def say(*line):
    write(json.dumps(line).encode() + b"\\n")
def write(data):
    while data:
        data = data[os.write(side._writes, data):]
def hear():
    global rest
    while b"\\n" not in rest:
        data = os.read(side._reads, 65536)
        if not data: os._exit(0)
        rest += data
    line, _, rest = rest.partition(b"\\n")
    return json.loads(line)
def wait(*entries, due=None):
    say("wait", due, list(entries))
    return hear()
def op(number, target, *args, lane=0, call=1, until=None):
    return ["op", number, lane, call, until, target, list(args), {}]
def ask(*words, call=1):
    say("ask", call, *words)
    return hear()
def back(value):
    return wait(["return", 1, value])
def error(*names, text="x", args=("x",), attributes={}, line=None, number=1):
    return {"$error": [number, [["builtins", each] if isinstance(each, str) else each for each in names],
            text, list(args), attributes, line]}
def number(thing):
    return vars(thing)["_stub_of"][1]
MESSAGE = ["eip_ref.message", "Message"]
"""
"""Words of the protocol, for who leaves the library aside and speaks on the pipes itself."""
READY = 'say("ready", None, ["{kind}", "{answer}", {{}}], 1)\nhear()\n'


def inside(body: str, exercise: str = MEND) -> str:
    """A cell whose answer does this, with `side` at hand: its own process's end of the talk."""
    return f"{SPEAKER}\n{find(exercise).signature}:\n{indent(dedent(body), '    ')}"


def speaking(body: str, exercise: str = MEND, before: str | None = None) -> str:
    """A cell that says it defines the answer, then says this in its place, and wants nothing more."""
    found = find(exercise)
    kind = "async" if found.signature.startswith("async") else "plain"
    ready = READY.format(kind=kind, answer=found.answer) if before is None else before
    return f"{SPEAKER}{ready}{dedent(body)}\nwhile True: wait()\n"


@dataclass(frozen=True)
class Hostile:
    """A hostile submission, and what becomes of it."""

    words: str  #: "an object that equals everything"
    verdict: str  #: the name of its mistake, "" when it passes; any mistake costs all points
    why: str  #: the reason why it gets that, in a few words
    text: str
    exercise: str = CHOOSE
    elsewhere: Mapping[str, str] | None = None
    """Its verdict in those ways or modes that have one of their own; None where the way does not matter."""
    right: bool = False  #: the model answer stands below it
    harms: bool = False  #: it is after a neighbour, who is graded at the same time

    def __str__(self) -> str:
        return self.words

    def verdict_in(self, way: str) -> str:
        """Its verdict where answers run in this way."""
        own = self.elsewhere or {}
        return own.get(way, own.get(way.partition(", ")[2], self.verdict))

    def depends_on(self, way: str) -> bool:
        """True when it is to be tried in this way too. Limits alone promise less, so there it must say so."""
        mode = way.partition(", ")[2]
        return self.elsewhere is not None and (mode != "limits" or bool({way, mode} & {*self.elsewhere}))

    @property
    def source(self) -> str:
        """The text of its cell."""
        found, text = find(self.exercise), dedent(self.text).strip()
        if self.right:
            return f"{text}\n\n{model_source(found)}"
        if f"def {found.answer}(" in text or f"class {found.answer}" in text or "say(" in text:
            return text
        wrong = dedent(WRONG[self.exercise]).strip()
        attack = "" if "def attack" in text else "def attack():\n    pass\n\n"
        return f"{attack}{text}\n\n{wrong}"


def batches(attacks: Iterable[Hostile]) -> Iterator[dict[str, Hostile]]:
    """Share the attacks out, no two at one exercise, over as few notebooks as that takes."""
    waiting = list(attacks)
    while waiting:
        for found in lessons():
            names = [exercise.name for exercise in found.exercises]
            batch = {each.exercise: each for each in reversed(waiting) if each.exercise in names}
            waiting = [each for each in waiting if each not in batch.values()]
            if batch:
                yield batch


@cache
def _solved(module: str) -> str:
    found = lesson(module)
    notebook = read(ROOT / "exercises" / found.notebook)
    solution = read(ROOT / "solutions" / found.notebook)
    for exercise in found.exercises:
        cells, models = answer_cells(notebook, exercise), answer_cells(solution, exercise)
        for cell, model in zip(cells, models, strict=True):
            cell["source"] = model_answer(model["source"])
    return json.dumps(notebook)


def solved(found: Lesson) -> dict[str, Any]:
    """The lesson's notebook with all model answers."""
    made: dict[str, Any] = json.loads(_solved(found.module))
    return made


def answering(found: Lesson, sources: Mapping[str, str]) -> dict[str, Any]:
    """The lesson's notebook with model answers, but for these, by the exercise's name."""
    made = copy.deepcopy(solved(found))
    for name, source in sources.items():
        put(made, find(name), source)
    return made


def put(notebook: dict[str, Any], exercise: Exercise, source: str) -> None:
    """Write this text where the answer to the exercise stands."""
    cells = answer_cells(notebook, exercise)
    for cell, text in zip(cells, [source, *[""] * len(cells)], strict=False):
        cell["source"] = text


def in_bytes(notebook: object) -> bytes:
    """As the file that a learner hands in."""
    return json.dumps(notebook).encode()
