"""Lessons 12a and 12b · Choosing and combining."""

from ...autograder.registry import Part
from . import catch_the_broken_promise, choose_the_way, give_one_up, read_the_evening
from .chooser import evenings, evenings_of_pages, table, the_chooser_demo
from .evening import an_evening, measure
from .give_one_up import six_tables
from .read_the_evening import a_mixed_evening
from .ways import WAYS

__all__ = [
    "NUMBER",
    "PARTS",
    "WAYS",
    "a_mixed_evening",
    "an_evening",
    "evenings",
    "evenings_of_pages",
    "measure",
    "six_tables",
    "table",
    "the_chooser_demo",
]

NUMBER = 12
PARTS = (
    Part(
        "choosing",
        "Choosing",
        (
            choose_the_way.EXERCISE,
            read_the_evening.EXERCISE,
            give_one_up.EXERCISE,
            catch_the_broken_promise.EXERCISE,
        ),
        ("breaker", "saga", "both", "own_order"),
    ),
)
