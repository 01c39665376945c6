"""Lessons 07a and 07b · Event sourcing."""

from ...autograder.registry import Part
from . import as_of, catch_the_loose_store, follow_the_store, react_once, read_the_lunch, sell_once
from .as_of import forty_positions
from .day import a_day, the_log_demo
from .follow_the_store import sales_and_a_desk
from .news import five_rows, news_demo, twenty_facts
from .react_once import twenty_orders
from .read_the_lunch import a_lunch
from .reading import (
    ReadsWhatItSees,
    delays,
    four_tills,
    looks_in_words,
    one_death_each,
    picture_of_looks,
    rebuilt_while_open,
)
from .retries import forty_facts, four_users, in_words
from .sell_once import six_cards

__all__ = [
    "NUMBER",
    "PARTS",
    "ReadsWhatItSees",
    "a_day",
    "a_lunch",
    "delays",
    "five_rows",
    "forty_facts",
    "forty_positions",
    "four_tills",
    "four_users",
    "in_words",
    "looks_in_words",
    "news_demo",
    "one_death_each",
    "picture_of_looks",
    "rebuilt_while_open",
    "sales_and_a_desk",
    "six_cards",
    "the_log_demo",
    "twenty_facts",
    "twenty_orders",
]

NUMBER = 7
PARTS = (
    Part(
        "facts_not_rows",
        "Facts, not rows",
        (read_the_lunch.EXERCISE, sell_once.EXERCISE, as_of.EXERCISE, catch_the_loose_store.EXERCISE),
        ("the_row", "conflict", "ten_tills", "own_id"),
    ),
    Part(
        "reading_it_all",
        "Reading it all",
        (follow_the_store.EXERCISE, react_once.EXERCISE),
        ("often", "forgetful", "position_first", "new_handler", "mails"),
    ),
)
