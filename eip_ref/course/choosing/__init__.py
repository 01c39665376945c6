"""Lessons 12a and 12b · Choosing and combining."""

from ...autograder.registry import Part
from . import (
    catch_the_broken_promise,
    choose_the_way,
    give_one_up,
    predict_the_lamps,
    read_the_evening,
    run_the_whole_shop,
)
from .board import boards, deaths, storm, the_storm_board
from .chooser import evenings, evenings_of_pages, table, the_chooser_demo
from .evening import an_evening, measure
from .give_one_up import six_tables
from .lamps import LAMPS, Board, read_the_board
from .read_the_evening import a_mixed_evening
from .repairs import REPAIRS, naive, repaired
from .run_the_whole_shop import a_short_storm
from .storm import FAULTS, Weather, a_storm
from .ways import WAYS

__all__ = [
    "FAULTS",
    "LAMPS",
    "NUMBER",
    "PARTS",
    "REPAIRS",
    "WAYS",
    "Board",
    "Weather",
    "a_mixed_evening",
    "a_short_storm",
    "a_storm",
    "an_evening",
    "boards",
    "deaths",
    "evenings",
    "evenings_of_pages",
    "measure",
    "naive",
    "read_the_board",
    "repaired",
    "six_tables",
    "storm",
    "table",
    "the_chooser_demo",
    "the_storm_board",
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
    Part(
        "the_whole_shop",
        "The whole shop",
        (predict_the_lamps.EXERCISE, run_the_whole_shop.EXERCISE),
        ("one_fault", "saga_slow", "without_key"),
    ),
)
