"""Lessons 06a and 06b · Request–reply."""

from ...autograder.registry import Part
from . import (
    catch_the_dispatcher,
    end_the_storm,
    mend_the_dispatcher,
    pass_the_deadline_on,
    pay_once,
    read_the_morning,
)
from .end_the_storm import half_a_minute
from .ends import answering
from .killed import for_real
from .mend_the_dispatcher import ten_questions
from .pass_the_deadline_on import five_customers
from .pay_once import six_days
from .payments import a_day, charges, paid_and_charged, the_patience_demo
from .read_the_morning import a_strange_morning
from .storm import a_spike, answered
from .suppliers import ask_suppliers, completeness
from .whose import a_thousand, told, two_shops, whose_demo

__all__ = [
    "NUMBER",
    "PARTS",
    "a_day",
    "a_spike",
    "a_strange_morning",
    "a_thousand",
    "answered",
    "answering",
    "ask_suppliers",
    "charges",
    "completeness",
    "five_customers",
    "for_real",
    "half_a_minute",
    "paid_and_charged",
    "six_days",
    "ten_questions",
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
        (read_the_morning.EXERCISE, mend_the_dispatcher.EXERCISE, catch_the_dispatcher.EXERCISE),
        ("one_late", "in_turn", "too_late", "two_shops", "killed"),
    ),
    Part(
        "ask_again",
        "Request–reply: ask again?",
        (pay_once.EXERCISE, pass_the_deadline_on.EXERCISE, end_the_storm.EXERCISE),
        ("twice", "fresh_key", "for_nobody", "spike", "ends_the_storm", "fifty"),
    ),
)
