"""Lessons 06a and 06b · Request–reply."""

from ...autograder.registry import Part
from .ends import answering
from .killed import for_real
from .payments import a_day, charges, paid_and_charged, the_patience_demo
from .storm import a_spike, answered
from .suppliers import ask_suppliers, completeness
from .whose import a_thousand, told, two_shops, whose_demo

__all__ = [
    "NUMBER",
    "PARTS",
    "a_day",
    "a_spike",
    "a_thousand",
    "answered",
    "answering",
    "ask_suppliers",
    "charges",
    "completeness",
    "for_real",
    "paid_and_charged",
    "the_patience_demo",
    "told",
    "two_shops",
    "whose_demo",
]

NUMBER = 6
PARTS = (
    Part(
        "whose_answer",
        "Request–reply: whose answer?",
        (),
        ("one_late", "in_turn", "too_late", "two_shops", "killed"),
    ),
    Part(
        "ask_again",
        "Request–reply: ask again?",
        (),
        ("twice", "fresh_key", "for_nobody", "spike", "ends_the_storm", "fifty"),
    ),
)
