"""Lessons 10a and 10b · Circuit breaker."""

from ...autograder.registry import Part
from . import (
    catch_the_breaker,
    choose_the_rule,
    mend_the_fuse,
    order_the_layers,
    read_the_breaker,
    say_where_it_is_from,
    tune_three_breakers,
)
from .choose_the_rule import four_services
from .cold import a_cold_return, answered_after, cold_demo
from .ladder import FromTheReference, failed_before, repaired, still_sick
from .layers import calls_and_waits, fifty_customers
from .mend_the_fuse import a_script
from .order_the_layers import two_days
from .outage import an_outage, the_outage_demo
from .pool import slow_pages, told
from .prices import a_price_changes, answers, twenty_questions
from .read_the_breaker import a_rough_morning
from .say_where_it_is_from import thirteen_calls
from .strangers import a_bot, refused_of, services_told, three_services
from .strip import strip
from .tune_three_breakers import three_services_to_tune
from .tuning import score, steady_calls

__all__ = [
    "NUMBER",
    "PARTS",
    "FromTheReference",
    "a_bot",
    "a_cold_return",
    "a_price_changes",
    "a_rough_morning",
    "a_script",
    "an_outage",
    "answered_after",
    "answers",
    "calls_and_waits",
    "cold_demo",
    "failed_before",
    "fifty_customers",
    "four_services",
    "refused_of",
    "repaired",
    "score",
    "services_told",
    "slow_pages",
    "steady_calls",
    "still_sick",
    "strip",
    "the_outage_demo",
    "thirteen_calls",
    "three_services",
    "three_services_to_tune",
    "told",
    "twenty_questions",
    "two_days",
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
    Part(
        "storms_and_fallbacks",
        "Circuit breaker: storms and fallbacks",
        (say_where_it_is_from.EXERCISE, order_the_layers.EXERCISE, tune_three_breakers.EXERCISE),
        ("order", "between", "cold", "old_prices", "hiccup", "healthy"),
    ),
)
