"""What a hostile submission is, and how a notebook is made of several, with honest answers between them.

An attack is the text of a cell. Where it defines `attack`, the answer of its exercise calls it while it
is tried, and is wrong otherwise. So a mark above 0 would be the attack's doing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from textwrap import dedent
from typing import Any

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer
from eip_ref.autograder.registry import Lesson, find, lesson, lessons
from eip_ref.autograder.workbook import answer_cells

from ..exercise_cases import ROOT

__all__ = ["Hostile", "answering", "batches", "in_bytes", "solved"]

WRONG = {
    "point_to_point/choose_for_absence": """
        def when_away(channel):
            attack()
            return "block", 0
        """,
    "point_to_point/report_what_was_not_sent": """
        async def send_all(counter, invoices):
            attack()
            return []
        """,
    "point_to_point/definite_or_unknown": """
        async def outcome(send, invoice, limit):
            attack()
            return "accepted"
        """,
    "point_to_point/hand_over_before_leaving": """
        async def take_orders(counter, invoices, patience):
            attack()
            return []
        """,
    "point_to_point/catch_the_shared_payload": """
        async def test_channel(make):
            attack()
        """,
    "message_queue/choose_ack_mode": """
        def ack_mode(job):
            attack()
            return "first", True
        """,
    "message_queue/mend_the_worker": """
        async def work(queue, handle):
            attack()
            while True:
                lease = await queue.receive()
                await lease.ack()
                await handle(lease.message)
        """,
    "message_queue/keep_the_lease": """
        async def work_on(lease, handle):
            attack()
            await handle(lease.message)
            await lease.ack()
        """,
    "message_queue/fence_the_store": """
        class Store:
            def __init__(self):
                self.texts = {}

            def write(self, invoice, text, token):
                attack()
                self.texts[invoice] = text
                return True

            def read(self, invoice):
                return self.texts.get(invoice)
        """,
    "message_queue/catch_ack_on_receive": """
        async def test_worker(work):
            attack()
        """,
    "message_queue/backoff_not_hot_loop": """
        async def patient_work(queue, handle):
            attack()
            while True:
                lease = await queue.receive()
                try:
                    await handle(lease.message)
                except Exception:
                    await lease.nack(delay=0)
                else:
                    await lease.ack()
        """,
    "message_queue/idempotent_receiver": """
        async def receive(message, books, book):
            attack()
            async with books.transaction() as transaction:
                await book(message, transaction)
        """,
}
"""Answers that are wrong by themselves. Exercises that are missing here meet only attacks made for them."""


HONEST = frozenset({"message_queue/order_per_key", "point_to_point/count_the_links"})
"""Exercises that are answered well in every notebook."""


@dataclass(frozen=True)
class Hostile:
    """A hostile answer, and what becomes of it: the name of its mistake, or of one of several where the
    machine decides which; none when it is judged as if it had done nothing, by what its answer is worth."""

    words: str  #: "an object that equals everything"
    text: str
    becomes: tuple[str, ...]
    exercise: str = ""  #: the only one that it fits; "" when it fits any
    slow: bool = False  #: whether it uses up the time that it is given

    def __str__(self) -> str:
        return self.words

    def source(self, exercise: str) -> str:
        """The text of its cell as an answer to this exercise."""
        text = dedent(self.text).strip()
        if self.exercise and find(exercise).answer in text:
            return text
        text = "\n\n".join(["def attack():\n    pass", text, dedent(WRONG[exercise]).strip()])
        return text.replace("attack", f"attack_{find(exercise).slug}")  # or the cells would share the name


def batches(attacks: Iterable[Hostile]) -> Iterator[dict[str, Hostile]]:
    """Share the attacks out, each at an exercise of its own, over as few notebooks as that takes."""
    waiting = list(attacks)
    while waiting:
        for each_lesson in lessons():
            batch: dict[str, Hostile] = {}
            for name in (exercise.name for exercise in each_lesson.exercises if exercise.name not in HONEST):
                fitting = [each for each in waiting if each.exercise == name]
                fitting += [each for each in waiting if not each.exercise and name in WRONG]
                if fitting:
                    batch[name] = fitting[0]
                    waiting.remove(fitting[0])
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
