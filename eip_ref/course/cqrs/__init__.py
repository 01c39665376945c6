"""Lessons 08a, 08b and 08c · CQRS."""

from ...autograder.registry import Part
from . import (
    both_or_neither,
    catch_the_relay,
    not_before,
    read_the_evening,
    whatever_order,
    which_read,
    without_a_gap,
    write_the_event,
)
from .both_or_neither import three_commands
from .broadcast import page_and_view
from .crash_points import Design, a_sign_up, every_death, picture_of_deaths
from .dashboard import at_the_end, gauges, on_the_wall, the_dashboard_demo, the_minute
from .not_before import nine_evenings
from .read_the_evening import a_bad_evening
from .running import open_the_shop
from .sign_ups import a_hundred_sign_ups, pages
from .sockets import heard_by, sockets_demo, three_browsers
from .the_reference import a_broker_that_is_down, every_death_of_the_reference
from .whatever_order import every_order
from .which_read import a_busy_day
from .who_dies import who_dies_demo
from .without_a_gap import a_browser_follows

__all__ = [
    "NUMBER",
    "PARTS",
    "Design",
    "a_bad_evening",
    "a_broker_that_is_down",
    "a_browser_follows",
    "a_busy_day",
    "a_hundred_sign_ups",
    "a_sign_up",
    "at_the_end",
    "every_death",
    "every_death_of_the_reference",
    "every_order",
    "gauges",
    "heard_by",
    "nine_evenings",
    "on_the_wall",
    "open_the_shop",
    "page_and_view",
    "pages",
    "picture_of_deaths",
    "sockets_demo",
    "the_dashboard_demo",
    "the_minute",
    "three_browsers",
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
    Part(
        "a_view_that_lags",
        "A view that lags",
        (whatever_order.EXERCISE, not_before.EXERCISE),
        ("half_a_second", "fourth", "gauge"),
    ),
    Part(
        "the_running_shop",
        "The running shop",
        (without_a_gap.EXERCISE, which_read.EXERCISE),
        ("three_sockets", "dead_projector", "resume", "from_the_log"),
    ),
)
