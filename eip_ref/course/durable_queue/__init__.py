"""Lesson 03 · Durable queue, in two parts."""

from ...autograder.registry import Part

__all__ = ["NUMBER", "PARTS", "TITLE"]

NUMBER = 3
TITLE = "Durable queue"
PARTS = (
    Part(
        "guaranteed_delivery",
        "Durable queue: guaranteed delivery",
        (),
        ("finally", "never_synced", "company", "same_id", "lease"),
    ),
    Part("message_log", "Durable queue: the log", (), ("skipped", "retention", "compaction")),
)
