"""“In the field” of each lesson says of a system what was measured, or names a source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eip_ref.field import table
from tests.notebooks.lessons import LESSONS, section

TABLES = table.load()
PROMISES = {table.words(promise) for each in TABLES for promise in each.promises}
PAGES = "docs/field"
SYSTEM = re.compile(r"RabbitMQ|NATS|JetStream|Redis|PostgreSQL|ActiveMQ|SQS|SNS|Pub/Sub|Kafka|Envoy|gRPC")
RUN = "a run that was stored"  #: with which a scenario is announced
VERSION = re.compile(r"( [\d.]+,?)+$")
SOURCE = re.compile(r"\]\(")
ROW_BY_NAME = re.compile(r"(?<!\*)\*([A-Z]\w*(?: \w+){3,})\*(?!\*)")

Row = list[str]


def field(path: Path) -> str:
    return section(path, "In the field")


def tables(path: Path) -> Iterator[list[Row]]:
    """Each table of the section: its rows, the head first."""
    for block in field(path).split("\n\n"):
        if block.startswith("|"):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
            yield [rows[0], *rows[2:]]


def measured(promise: str, systems: list[str]) -> list[str]:
    """The signs of one row, as they were measured for systems with these labels.

    Raises LookupError when no table has such a row and such columns.
    """
    for each in TABLES:
        ids = {VERSION.sub("", label): id for id, label in each.systems.items()}
        name = next((name for name in each.promises if table.words(name) == promise), None)
        if name is not None and set(systems) <= set(ids):
            return [table.MARKS[each.cells[ids[system], name].found] for system in systems]
    raise LookupError(f"no table has the row {promise!r} and the columns {systems}")


each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@each_lesson
def test_a_sign_is_the_one_that_was_measured(path: Path) -> None:
    """In a table of promises, whose systems and rows are called as the measured table calls them."""
    for (first, *systems), *rows in tables(path):
        for promise, *cells in rows if first == "promise" else ():
            assert [cell.split()[0] for cell in cells] == measured(promise, systems), promise


@each_lesson
def test_a_row_that_a_lesson_names_is_measured(path: Path) -> None:
    """By its words, in italics."""
    assert set(ROW_BY_NAME.findall(field(path))) <= PROMISES


@each_lesson
def test_a_lesson_that_speaks_of_a_measured_system_leads_to_the_tables(path: Path) -> None:
    """By the name of their folder: a learner's copy of the lesson stands elsewhere."""
    assert PAGES in field(path) or not SYSTEM.search(field(path))


@each_lesson
def test_what_is_said_of_a_system_was_measured_or_has_a_source(path: Path) -> None:
    """Row by row in other tables, and paragraph by paragraph where a measured system is named."""
    other = [row for (first, *_), *rows in tables(path) if first != "promise" for row in rows]
    assert [row for row in other if not SOURCE.search(" ".join(row))] == []
    prose = [block for block in field(path).split("\n\n") if not block.startswith("|") and RUN not in block]
    bare = [each for each in prose if SYSTEM.search(each) and not (SOURCE.search(each) or PAGES in each)]
    assert [each for each in bare if not ROW_BY_NAME.search(each)] == []
