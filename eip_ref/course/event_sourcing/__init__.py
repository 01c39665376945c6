"""Lesson 07a · Event sourcing."""

from ...autograder.registry import Part
from . import as_of, catch_the_loose_store, read_the_lunch, sell_once
from .as_of import forty_positions
from .day import a_day, the_log_demo
from .read_the_lunch import a_lunch
from .retries import forty_facts, four_users, in_words
from .sell_once import six_cards

__all__ = [
    "NUMBER",
    "PARTS",
    "a_day",
    "a_lunch",
    "forty_facts",
    "forty_positions",
    "four_users",
    "in_words",
    "six_cards",
    "the_log_demo",
]

NUMBER = 7
PARTS = (
    Part(
        "facts_not_rows",
        "Facts, not rows",
        (read_the_lunch.EXERCISE, sell_once.EXERCISE, as_of.EXERCISE, catch_the_loose_store.EXERCISE),
        ("the_row", "conflict", "ten_tills", "own_id"),
    ),
)
