"""Lessons 11a and 11b · API gateway and aggregator."""

from ...autograder.registry import Part
from . import catch_the_page, join_the_parcels, mend_the_page, read_the_pages
from .join_the_parcels import six_orders
from .mend_the_page import a_day
from .page import Services, outcome, the_page_demo, three_days
from .parcels import a_death, hand_out, handed_out, parcel
from .read_the_pages import seven_pages
from .tail import many_pages, slow_pages, the_cost

__all__ = [
    "NUMBER",
    "PARTS",
    "Services",
    "a_day",
    "a_death",
    "hand_out",
    "handed_out",
    "many_pages",
    "outcome",
    "parcel",
    "seven_pages",
    "six_orders",
    "slow_pages",
    "the_cost",
    "the_page_demo",
    "three_days",
]

NUMBER = 11
PARTS = (
    Part(
        "one_answer_of_many",
        "One answer of many",
        (read_the_pages.EXERCISE, mend_the_page.EXERCISE, join_the_parcels.EXERCISE, catch_the_page.EXERCISE),
        ("one_second", "twenty", "hedge_cost", "twice", "dies"),
    ),
)
