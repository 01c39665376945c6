"""Lesson 01 · Point-to-point."""

from . import (
    catch_the_shared_payload,
    choose_for_absence,
    count_the_links,
    definite_or_unknown,
    hand_over_before_leaving,
    report_what_was_not_sent,
)
from .choose_for_absence import three_outages
from .definite_or_unknown import a_shaky_line
from .hand_over_before_leaving import closing_time
from .report_what_was_not_sent import a_day_at_the_counter

__all__ = [
    "EXERCISES",
    "NUMBER",
    "TITLE",
    "a_day_at_the_counter",
    "a_shaky_line",
    "closing_time",
    "three_outages",
]

NUMBER = 1
TITLE = "Point-to-point"
EXERCISES = (
    count_the_links.EXERCISE,
    choose_for_absence.EXERCISE,
    report_what_was_not_sent.EXERCISE,
    definite_or_unknown.EXERCISE,
    hand_over_before_leaving.EXERCISE,
    catch_the_shared_payload.EXERCISE,
)
