"""The form that every lesson has. A new notebook in `notebooks/` is held to it without being named here."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from statistics import median

import pytest

from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.notebooks import read
from eip_ref.autograder.registry import Lesson, lessons
from tests.notebooks.lessons import LESSONS, ROOT, asked, cells, code, prose, section

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
README = (ROOT / "README.md").read_text(encoding="utf-8")
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)

BOOK = """
File Transfer, Shared Database, Remote Procedure Invocation, Messaging, Message Channel, Message, Pipes
and Filters, Message Router, Message Translator, Message Endpoint, Point-to-Point Channel,
Publish-Subscribe Channel, Datatype Channel, Invalid Message Channel, Dead Letter Channel, Guaranteed
Delivery, Channel Adapter, Messaging Bridge, Message Bus, Command Message, Document Message, Event Message,
Request-Reply, Return Address, Correlation Identifier, Message Sequence, Message Expiration, Format
Indicator, Content-Based Router, Message Filter, Dynamic Router, Recipient List, Splitter, Aggregator,
Resequencer, Composed Message Processor, Scatter-Gather, Routing Slip, Process Manager, Message Broker,
Envelope Wrapper, Content Enricher, Content Filter, Claim Check, Normalizer, Canonical Data Model,
Messaging Gateway, Messaging Mapper, Transactional Client, Polling Consumer, Event-Driven Consumer,
Competing Consumers, Message Dispatcher, Selective Consumer, Durable Subscriber, Idempotent Receiver,
Service Activator, Control Bus, Detour, Wire Tap, Message History, Message Store, Smart Proxy, Test
Message, Channel Purger.
"""
PATTERNS = {" ".join(name.split()) for name in BOOK.strip(" .\n").split(",")}
"""The 65 patterns of Hohpe and Woolf, *Enterprise Integration Patterns*."""


def told(path: Path) -> Lesson:
    """The lesson of a notebook."""
    return next(lesson for lesson in lessons() if lesson.notebook == path.name)


def first(path: Path) -> str:
    source: str = cells(path)[0]["source"]
    return source


def last(path: Path) -> str:
    source: str = cells(path)[-1]["source"]
    return source


def minutes(path: Path) -> int:
    (found,) = re.findall(r"^Time: (\d+) minutes", first(path), re.MULTILINE)
    return int(found)


def test_each_lesson_has_a_notebook_and_each_notebook_a_lesson() -> None:
    """In the order of their labels, 02a after 01."""
    assert [lesson.notebook for lesson in lessons()] == [path.name for path in LESSONS]


@each_lesson
def test_a_lesson_has_at_most_40_cells_and_150_lines_of_code(path: Path) -> None:
    """One sitting holds no more; what needs more is several lessons."""
    assert 20 <= len(cells(path)) <= 40
    assert sum(len(source.splitlines()) for source in code(path)) <= 150


@each_lesson
def test_a_lesson_has_900_to_1600_words(path: Path) -> None:
    """Read in a quarter of an hour; code and diagrams do not count."""
    assert 900 <= len(re.findall(r"\w[\w'’-]*", FENCE.sub("", prose(path)))) <= 1600


@each_lesson
def test_half_of_the_code_cells_have_at_most_eight_lines(path: Path) -> None:
    """Small cells with visible results; a scenario to play with may be longer."""
    assert median(len(source.splitlines()) for source in code(path)) <= 8


@each_lesson
def test_a_lesson_never_has_three_code_cells_in_a_row(path: Path) -> None:
    """Something is said between them."""
    runs = groupby(cells(path), key=lambda cell: cell["cell_type"])
    assert max(len(list(run)) for kind, run in runs if kind == "code") < 3


@each_lesson
def test_a_lesson_begins_with_number_problem_three_goals_and_at_most_45_minutes(path: Path) -> None:
    """In its first cell, which is prose. README.md says the same minutes."""
    assert cells(path)[0]["cell_type"] == "markdown"
    assert first(path).startswith(f"# {told(path).label} · {told(path).title}\n\n**The problem.** ")
    assert len(_numbered(first(path))) == 3
    assert minutes(path) <= 45
    (row,) = [line for line in README.splitlines() if f"(notebooks/{path.name})" in line]
    assert f"| {minutes(path)} |" in row


@each_lesson
def test_a_lesson_ends_with_a_recap_of_its_three_goals(path: Path) -> None:
    """In its last cell, which is prose."""
    assert cells(path)[-1]["cell_type"] == "markdown"
    assert "## Recap" in last(path)
    assert len(_numbered(section(path, "Recap"))) == 3


def _numbered(text: str) -> list[str]:
    return re.findall(r"^\d\. ", text, re.MULTILINE)


@each_lesson
def test_a_lesson_breaks_something_and_asks_for_three_predictions(path: Path) -> None:
    """Each in a cell of its own, and followed by the run that answers it."""
    assert len(asked(path)) >= 3
    for place, cell in enumerate(cells(path)):
        if cell["cell_type"] == "code" and "predict(" in cell["source"].replace("import", ""):
            assert re.fullmatch(r'predict\("[a-z_]+/[a-z_]+"\)', cell["source"]), cell["source"]
            assert any(below["cell_type"] == "code" for below in cells(path)[place + 1 : place + 3])


@each_lesson
def test_a_lesson_says_what_products_call_it_and_when_not_to_use_it(path: Path) -> None:
    """With what speaks for it and what against it."""
    field = section(path, "In the field")
    assert "✅" in field
    assert "⚠️" in field


@each_lesson
def test_a_lesson_names_the_patterns_of_the_book_that_it_showed(path: Path) -> None:
    """By the names that Hohpe and Woolf gave them."""
    names = re.findall(r"\*\*(.+?)\*\*", section(path, "In the book"))
    assert names
    assert set(names) <= PATTERNS


@each_lesson
def test_the_article_is_named_with_its_site_before_the_lesson_speaks_of_it(path: Path) -> None:
    """A newcomer has not read it."""
    paragraphs = [each for each in prose(path).split("\n\n") if re.search("article", each) and each[0] != "#"]
    if paragraphs:
        assert "Enterprise Integration Patterns in Go: Practical Examples" in paragraphs[0]
        assert "](https://norbix.dev)" in paragraphs[0]


@each_lesson
def test_a_lesson_leads_to_its_exercises_and_they_lead_back(path: Path) -> None:
    """Each lesson with exercises has a notebook with all of them, and no others."""
    lesson = told(path)
    there = [(ROOT / folder / path.name).exists() for folder in ("exercises", "solutions")]
    assert there == [bool(lesson.exercises)] * 2
    if lesson.exercises:
        assert f"](../exercises/{path.name})" in last(path)
        sources = [cell["source"] for cell in read(ROOT / "solutions" / path.name)["cells"]]
        assert any(f"](../notebooks/{path.name})" in source for source in sources)
        assert _checked(sources) == [exercise.name for exercise in lesson.exercises]
        assert _sum(lesson.exercises) in sources[0]


def _checked(sources: list[str]) -> list[str]:
    return [name for source in sources for name in re.findall(r'^check\("(.+?)", \w+\)$', source)]


def _sum(exercises: tuple[Exercise, ...]) -> str:
    points, time = sum(each.points for each in exercises), sum(each.minutes for each in exercises)
    return f" exercises, {points} points, {time} minutes in all."
