"""Lessons 08a, 08b and 08c · CQRS."""

from ...autograder.registry import Part
from . import both_or_neither, catch_the_relay, read_the_evening, write_the_event
from .both_or_neither import three_commands
from .crash_points import Design, a_sign_up, every_death, picture_of_deaths
from .read_the_evening import a_bad_evening
from .the_reference import a_broker_that_is_down, every_death_of_the_reference
from .who_dies import who_dies_demo

__all__ = [
    "NUMBER",
    "PARTS",
    "Design",
    "a_bad_evening",
    "a_broker_that_is_down",
    "a_sign_up",
    "every_death",
    "every_death_of_the_reference",
    "picture_of_deaths",
    "three_commands",
    "who_dies_demo",
]

NUMBER = 8
PARTS = (
    Part(
        "state_and_event",
        "State and event",
        (
            both_or_neither.EXERCISE,
            catch_the_relay.EXERCISE,
            read_the_evening.EXERCISE,
            write_the_event.EXERCISE,
        ),
        ("look_first", "outbox", "format", "broker_down"),
    ),
)
