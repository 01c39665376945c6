"""Lessons 09a and 09b · Saga."""

from ...autograder.registry import Part
from . import finish_the_order, in_any_order, order_the_steps, read_the_log
from .finish_the_order import STEPS, Case, an_order
from .in_any_order import Way, arrivals
from .order_the_steps import a_thousand_orders
from .race import a_race, card, one_rung, undo_race_demo
from .read_the_log import a_night, lines
from .shop import ORDER, Shop, as_before, deaths, one_order, told

__all__ = [
    "NUMBER",
    "ORDER",
    "PARTS",
    "STEPS",
    "Case",
    "Shop",
    "Way",
    "a_night",
    "a_race",
    "a_thousand_orders",
    "an_order",
    "arrivals",
    "as_before",
    "card",
    "deaths",
    "lines",
    "one_order",
    "one_rung",
    "told",
    "undo_race_demo",
]

NUMBER = 9
PARTS = (
    Part(
        "undo_in_order",
        "Undo in order",
        (
            read_the_log.EXERCISE,
            in_any_order.EXERCISE,
            order_the_steps.EXERCISE,
            finish_the_order.EXERCISE,
        ),
        ("twice", "in_memory", "lost", "late", "gives_up", "silent_charge"),
    ),
)
