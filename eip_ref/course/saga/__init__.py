"""Lessons 09a and 09b · Saga."""

from ...autograder.registry import Part
from . import (
    catch_the_coordinator,
    finish_the_order,
    in_any_order,
    order_the_steps,
    read_the_log,
    sell_the_seats,
    who_takes_it_back,
)
from .finish_the_order import STEPS, Case, an_order
from .halves import holds, in_turn
from .in_any_order import Way, arrivals
from .order_story import PLACE_ORDER, REACTIONS, order_choreography, order_saga
from .order_the_steps import a_thousand_orders
from .race import a_race, card, one_rung, undo_race_demo
from .read_the_log import a_night, lines
from .sell_the_seats import Story, mixed_sagas
from .shop import ORDER, Shop, as_before, deaths, one_order, told
from .styles import both_styles, equal_books, in_words, told_by_events, two_styles_demo
from .who_takes_it_back import an_evening

__all__ = [
    "NUMBER",
    "ORDER",
    "PARTS",
    "PLACE_ORDER",
    "REACTIONS",
    "STEPS",
    "Case",
    "Shop",
    "Story",
    "Way",
    "a_night",
    "a_race",
    "a_thousand_orders",
    "an_evening",
    "an_order",
    "arrivals",
    "as_before",
    "both_styles",
    "card",
    "deaths",
    "equal_books",
    "holds",
    "in_turn",
    "in_words",
    "lines",
    "mixed_sagas",
    "one_order",
    "one_rung",
    "order_choreography",
    "order_saga",
    "told",
    "told_by_events",
    "two_styles_demo",
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
    Part(
        "two_styles",
        "Two styles",
        (who_takes_it_back.EXERCISE, sell_the_seats.EXERCISE, catch_the_coordinator.EXERCISE),
        ("declared", "messages", "never_returns", "lost_update", "dirty_read"),
    ),
)
