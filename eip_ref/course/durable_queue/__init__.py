"""Lessons 03a and 03b · Durable queue."""

from ...autograder.registry import Part
from . import (
    catch_the_lying_broker,
    follow_the_log,
    keep_the_stream,
    read_back,
    read_the_trace,
    send_again,
    share_the_sync,
)
from .disk import Disk
from .follow_the_log import Group, a_log_and_a_crash
from .read_back import every_damage, sealed
from .read_the_trace import a_bad_night
from .send_again import Notes, a_till_dies
from .share_the_sync import Inbox, ten_tills

__all__ = [
    "NUMBER",
    "PARTS",
    "Disk",
    "Group",
    "Inbox",
    "Notes",
    "a_bad_night",
    "a_log_and_a_crash",
    "a_till_dies",
    "every_damage",
    "sealed",
    "ten_tills",
]

NUMBER = 3
PARTS = (
    Part(
        "guaranteed_delivery",
        "Durable queue: guaranteed delivery",
        (
            read_the_trace.EXERCISE,
            share_the_sync.EXERCISE,
            send_again.EXERCISE,
            catch_the_lying_broker.EXERCISE,
        ),
        ("finally", "never_synced", "company", "same_id", "lease"),
    ),
    Part(
        "message_log",
        "Durable queue: the log",
        (read_back.EXERCISE, follow_the_log.EXERCISE, keep_the_stream.EXERCISE),
        ("skipped", "retention", "compaction"),
    ),
)
