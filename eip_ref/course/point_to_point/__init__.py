"""The exercises of lesson 01 · Point-to-point."""

from .absence import CHOOSE_FOR_ABSENCE, three_outages
from .counting import COUNT_THE_LINKS
from .leaving import HAND_OVER_BEFORE_LEAVING, closing_time
from .outcomes import DEFINITE_OR_UNKNOWN, a_shaky_line
from .reporting import REPORT_WHAT_WAS_NOT_SENT, a_day_at_the_counter
from .shared_payload import CATCH_THE_SHARED_PAYLOAD

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
    COUNT_THE_LINKS,
    CHOOSE_FOR_ABSENCE,
    REPORT_WHAT_WAS_NOT_SENT,
    DEFINITE_OR_UNKNOWN,
    HAND_OVER_BEFORE_LEAVING,
    CATCH_THE_SHARED_PAYLOAD,
)
