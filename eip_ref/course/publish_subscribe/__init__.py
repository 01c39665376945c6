"""Lessons 05a and 05b · Publish–subscribe."""

from ...autograder.registry import Part
from . import (
    catch_the_deaf_channel,
    every_socket,
    keep_the_position,
    read_the_night,
    receipts_once_more,
    who_hears_what,
)
from .every_socket import six_sockets
from .keep_the_position import readers_that_die
from .packers import a_pack_room, packed, the_packers_demo
from .read_the_night import a_night
from .receipts_once_more import ten_receipts
from .slow import heard, one_is_slow, the_slow_demo
from .who_hears_what import eight_topics

__all__ = [
    "NUMBER",
    "PARTS",
    "a_night",
    "a_pack_room",
    "eight_topics",
    "heard",
    "one_is_slow",
    "packed",
    "readers_that_die",
    "six_sockets",
    "ten_receipts",
    "the_packers_demo",
    "the_slow_demo",
]

NUMBER = 5
PARTS = (
    Part(
        "everybody_hears",
        "Everybody hears",
        (who_hears_what.EXERCISE, every_socket.EXERCISE, catch_the_deaf_channel.EXERCISE),
        ("away", "slow_mail", "dead_mail", "sockets"),
    ),
    Part(
        "where_was_i",
        "Where was I?",
        (keep_the_position.EXERCISE, receipts_once_more.EXERCISE, read_the_night.EXERCISE),
        ("helper", "committed", "holiday", "ada"),
    ),
)
