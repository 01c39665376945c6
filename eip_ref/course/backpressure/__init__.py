"""Lessons 04a and 04b · Backpressure."""

from ...autograder.registry import Part
from . import (
    bear_with_the_partner,
    catch_the_lying_buffer,
    choose_who_pays,
    close_the_tills,
    labels_for_orders,
    room_for_patience,
    window_for_the_line,
)
from .bear_with_the_partner import many_calls
from .choose_who_pays import five_bursts
from .close_the_tills import three_tills
from .labels_for_orders import sixty_one_orders
from .room_for_patience import groups_of_customers
from .rush import a_rush, compare_the_answers, the_rush_demo
from .scaler import calm, ten_minutes, the_scaler_demo
from .spike import a_spike, served, the_spike_demo
from .window_for_the_line import four_lines

__all__ = [
    "NUMBER",
    "PARTS",
    "a_rush",
    "a_spike",
    "calm",
    "compare_the_answers",
    "five_bursts",
    "four_lines",
    "groups_of_customers",
    "many_calls",
    "served",
    "sixty_one_orders",
    "ten_minutes",
    "the_rush_demo",
    "the_scaler_demo",
    "the_spike_demo",
    "three_tills",
]

NUMBER = 4
PARTS = (
    Part(
        "bounds_and_drops",
        "Bounds and drops",
        (
            room_for_patience.EXERCISE,
            choose_who_pays.EXERCISE,
            close_the_tills.EXERCISE,
            catch_the_lying_buffer.EXERCISE,
        ),
        ("two_more", "expire", "block", "never_closed"),
    ),
    Part(
        "credit_and_scaling",
        "Credit and scaling",
        (window_for_the_line.EXERCISE, labels_for_orders.EXERCISE, bear_with_the_partner.EXERCISE),
        ("after_the_bus", "window", "burst", "one_customer", "own_queue"),
    ),
)
