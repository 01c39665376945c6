"""Lessons 10a and 10b · Circuit breaker."""

from ...autograder.registry import Part
from . import catch_the_breaker, choose_the_rule, mend_the_fuse, read_the_breaker
from .choose_the_rule import four_services
from .ladder import FromTheReference, failed_before, repaired, still_sick
from .mend_the_fuse import a_script
from .outage import an_outage, the_outage_demo
from .pool import slow_pages, told
from .read_the_breaker import a_rough_morning
from .strangers import a_bot, refused_of, services_told, three_services
from .strip import strip

__all__ = [
    "NUMBER",
    "PARTS",
    "FromTheReference",
    "a_bot",
    "a_rough_morning",
    "a_script",
    "an_outage",
    "failed_before",
    "four_services",
    "refused_of",
    "repaired",
    "services_told",
    "slow_pages",
    "still_sick",
    "strip",
    "the_outage_demo",
    "three_services",
    "told",
]

NUMBER = 10
PARTS = (
    Part(
        "when_to_stop_asking",
        "Circuit breaker: when to stop asking",
        (
            read_the_breaker.EXERCISE,
            mend_the_fuse.EXERCISE,
            catch_the_breaker.EXERCISE,
            choose_the_rule.EXERCISE,
        ),
        ("pages", "five_failures", "at_once", "old_news", "bot", "one_for_three"),
    ),
)
