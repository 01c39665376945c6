"""Lessons 07a, 07b and 07c · Event sourcing."""

from ...autograder.registry import Part
from . import (
    as_of,
    catch_the_loose_store,
    climb_the_ladder,
    follow_the_store,
    react_once,
    read_the_lunch,
    sell_once,
    what_becomes_of_it,
)
from .as_of import all_positions
from .climb_the_ladder import old_bodies
from .day import a_day, the_log_demo
from .follow_the_store import sales_and_a_desk
from .history import a_file, snapshots_of_a_wrong_fold, stored, the_history_demo
from .news import five_rows, news_demo, twenty_facts
from .react_once import old_and_new_orders
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
from .sell_once import nine_cards

__all__ = [
    "NUMBER",
    "PARTS",
    "ReadsWhatItSees",
    "a_day",
    "a_file",
    "a_lunch",
    "all_positions",
    "delays",
    "five_rows",
    "forty_facts",
    "four_tills",
    "four_users",
    "in_words",
    "looks_in_words",
    "news_demo",
    "nine_cards",
    "old_and_new_orders",
    "old_bodies",
    "one_death_each",
    "picture_of_looks",
    "rebuilt_while_open",
    "sales_and_a_desk",
    "snapshots_of_a_wrong_fold",
    "stored",
    "the_history_demo",
    "the_log_demo",
    "twenty_facts",
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
    Part(
        "a_long_history",
        "A long history",
        (what_becomes_of_it.EXERCISE, climb_the_ladder.EXERCISE),
        ("renamed", "cents", "snapshot", "forgotten"),
    ),
)
