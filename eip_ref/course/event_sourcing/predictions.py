"""The predictions of lessons 07a and 07b · Event sourcing."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved

__all__ = ["PREDICTIONS"]


def _sold_and_row(rows: Mapping[int, Trace]) -> tuple[int, int]:
    trace = rows[25]
    return sum(event.data["euros"] for event in trace.filter(Kind.EFFECT)), trace.result


def _small_sale(refused: Mapping[int, Trace]) -> tuple[int, bool]:
    left, said = refused[10].result
    return left, said["till 2"].startswith("sold")


PREDICTIONS = (
    Proved(
        name="event_sourcing/the_row",
        question="The card holds 40, and each till sells tea for 25. What comes of it?",
        run="rows",
        reading=_sold_and_row,
        claims={
            "Tea for 25 is sold, and the row says 15": (25, 15),
            "Tea for 50 is sold, and the row says -10": (50, -10),
            "Tea for 50 is sold, and the row says 15": (50, 15),
        },
        answer="Tea for 50 is sold, and the row says 15",
        why=(
            "Both tills have read 40, so for both it is enough. Each writes what it believes to be left, 15, "
            "and the second write goes over the first. Nothing in the row is wrong, but the sum is."
        ),
    ),
    Proved(
        name="event_sourcing/conflict",
        question="The card holds 40. Till 1 sells for 25 at 2 s, till 2 for 10 at 3 s. What comes of it?",
        run="refused",
        reading=_small_sale,
        claims={
            "Both are sold, and 5 are left": (5, True),
            "Till 2 says sorry, and 15 are left": (15, False),
            "The sale of till 1 is undone, and 30 are left": (30, True),
        },
        answer="Till 2 says sorry, and 15 are left",
        why=(
            "Till 2 has seen version 1, and the stream is at version 2. The store compares versions and does "
            "not know what a sale means. So it refuses also what would have been right."
        ),
    ),
    Proved(
        name="event_sourcing/ten_tills",
        question="How many of the ten tills sell, with three tries each?",
        run="company",
        reading=lambda company: company[3].result.get("sold"),
        claims={"All ten: there is money enough": 10, "About half of them": 5, "3": 3},
        answer="3",
        why=(
            "All ten have read the same version, so one of them wins and nine are refused. They read again, "
            "all at the same moment, and again one wins. Three rounds, three sales."
        ),
    ),
    Proved(
        name="event_sourcing/own_id",
        question=(
            "The till reads the stream once more, sees version 2, and appends its sale with the same id at "
            "version 2. What does the store say?"
        ),
        run="asked",
        reading=lambda asked: asked["sale 1", 2].result,
        claims={
            "It knows the id, writes nothing and confirms": ("known", 1),
            "It appends: there are two sales now": ("appended", 2),
            "It raises an error, and there is one sale": ("IdTaken", 1),
        },
        answer="It raises an error, and there is one sale",
        why=(
            "Version 2 is a state with the sale in it. To decide on that state to sell the same again is "
            "another decision, so it is no repetition. The error is not an accident: it tells that the "
            "writer has read past its own sale without seeing it."
        ),
    ),
)
