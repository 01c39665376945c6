"""The marks of a class as JUnit XML, which every CI server shows: a suite for each notebook."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as xml

from ..marks import NOT_BEGUN, Mark
from .class_record import ClassRecord, Graded
from .untrusted import shown

__all__ = ["junit"]


def junit(book: ClassRecord) -> str:
    """A suite for each learner and lesson, a case for each exercise; who has not begun is skipped."""
    marks = [mark for graded in book.graded for mark in graded.marks.marks]
    root = xml.Element("testsuites", {"name": "eip grade"} | _counts(marks))
    root.extend(_suite(graded) for graded in book.graded)
    xml.indent(root, " ")
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{xml.tostring(root, encoding='unicode')}\n"


def _suite(graded: Graded) -> xml.Element:
    marks = graded.marks
    name = f"{graded.learner}: {marks.lesson}"
    suite = xml.Element("testsuite", {"name": name} | _counts(marks.marks))
    suite.extend(_case(mark, graded.learner) for mark in marks.marks)
    return suite


def _case(mark: Mark, learner: str) -> xml.Element:
    lesson, _, slug = mark.exercise.partition("/")
    case = xml.Element("testcase", classname=f"{learner}.{lesson}", name=slug)
    if mark.mistake in NOT_BEGUN:
        xml.SubElement(case, "skipped", message=shown(mark.title))
    elif mark.mistake:
        failure = xml.SubElement(case, "failure", type=mark.mistake, message=shown(mark.title))
        failure.text = shown("\n".join(filter(None, (*map(str, mark.parts), mark.seen, mark.explanation))))
    return case


def _counts(marks: Sequence[Mark]) -> dict[str, str]:
    skipped = sum(mark.mistake in NOT_BEGUN for mark in marks)
    failures = sum(not mark.passed for mark in marks) - skipped
    return {"tests": str(len(marks)), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
