"""Lessons 11a and 11b · API gateway and aggregator."""

from ...autograder.registry import Part
from . import (
    catch_the_page,
    choose_the_guard,
    join_the_parcels,
    mend_the_page,
    read_the_pages,
    share_the_call,
)
from .bounds import a_storm, quick_answers, two_kinds_of_pages, users_pages
from .choose_the_guard import a_route
from .join_the_parcels import six_orders
from .mend_the_page import a_day
from .noon import a_noon, in_time, in_words, the_noon_demo
from .page import Services, outcome, the_page_demo, three_days
from .parcels import a_death, hand_out, handed_out, parcel
from .read_the_pages import seven_pages
from .share_the_call import tabs
from .stampede import a_stampede, seen_by_tabs
from .tail import many_pages, slow_pages, the_cost

__all__ = [
    "NUMBER",
    "PARTS",
    "Services",
    "a_day",
    "a_death",
    "a_noon",
    "a_route",
    "a_stampede",
    "a_storm",
    "hand_out",
    "handed_out",
    "in_time",
    "in_words",
    "many_pages",
    "outcome",
    "parcel",
    "quick_answers",
    "seen_by_tabs",
    "seven_pages",
    "six_orders",
    "slow_pages",
    "tabs",
    "the_cost",
    "the_noon_demo",
    "the_page_demo",
    "three_days",
    "two_kinds_of_pages",
    "users_pages",
]

NUMBER = 11
PARTS = (
    Part(
        "one_answer_of_many",
        "One answer of many",
        (read_the_pages.EXERCISE, mend_the_page.EXERCISE, join_the_parcels.EXERCISE, catch_the_page.EXERCISE),
        ("one_second", "twenty", "hedge_cost", "twice", "dies"),
    ),
    Part(
        "one_door",
        "One door",
        (choose_the_guard.EXERCISE, share_the_call.EXERCISE),
        ("leader", "noon", "layers", "storm"),
    ),
)
