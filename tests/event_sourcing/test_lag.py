"""The figure of the lag: one line per reader, from the trace of any store."""

from __future__ import annotations

import pytest

from eip_ref.lab.clock import simulate
from eip_ref.lab.figures import lag
from eip_ref.trace import Trace, record

Step = tuple[str, str, int]


def story(*steps: Step) -> Trace:
    """Appends ("+"), openings ("o"), deliveries (">") and checkpoints ("=") of a reader at a position."""

    async def scenario() -> None:
        for sign, reader, position in steps:
            if sign == "+":
                record("accepted", "events", "m", position=position)
            elif sign == "o":
                record("opened", reader, who=reader, store="events", after=position)
            elif sign == ">":
                record("delivered", "events", "m", who=reader, position=position, reader=reader)
            else:
                facts = {"was": 0, "now": position, "reason": "checkpoint", "store": "events"}
                record("state", reader, "", who=reader, **facts)

    return simulate(scenario)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([("o", "view", 0), ("+", "", 1), ("+", "", 2), ("=", "view", 1)], "at most 2 behind at 0.0 s, 1 at"),
        (
            [("o", "view", 0), ("+", "", 3), (">", "view", 3), ("=", "view", 1)],
            "at most 3 behind at 0.0 s, 2 at",
        ),
        ([("+", "", 5), (">", "view", 2)], "at most 3 behind at 0.0 s, 3 at"),
        ([("+", "", 5), ("o", "view", 5)], "view: never behind"),
        ([("+", "", 5), ("+", "", 2), ("o", "view", 4)], "at most 1 behind at 0.0 s, 1 at"),
        ([("+", "", 1)], "Nobody read anything with a position"),
    ],
)
def test_the_lag_is_the_head_minus_the_checkpoint_or_else_the_last_that_was_read(
    steps: list[Step], said: str
) -> None:
    """The words beside the picture say how much it was at most, and in the end."""
    assert said in lag(story(*steps)).alt


def test_readers_beyond_the_sixth_are_named_and_not_drawn() -> None:
    """More lines than six cannot be told apart; `who` and `where` choose."""
    trace = story(("+", "", 9), *(("o", f"view {n}", n) for n in range(8)))
    assert "Not shown: view 6 and view 7." in lag(trace).alt
    assert lag(trace, who=["view 7"]).alt.count("view") == 1
    assert "Nobody" in lag(trace, where="other").alt
    assert "events, over time" in lag(trace, where="events").alt
    assert lag(trace).svg == lag(trace).svg
