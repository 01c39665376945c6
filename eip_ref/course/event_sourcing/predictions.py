"""The predictions of lessons 07a, 07b and 07c · Event sourcing."""

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


def _how_often(by_poll: Mapping[float, Trace]) -> str:
    skipped = [trace.count(Kind.ACCEPTED) - trace.count(Kind.DELIVERED) for trace in by_poll.values()]
    if skipped == sorted(skipped, reverse=True) and skipped[0] > 2 * skipped[-1]:
        return "more often is worse"
    return "less often is worse" if skipped[-1] > skipped[0] else "the same"


def _who_waits(trace: Trace) -> str:
    """The tills whose sales the reader got more than 10 s after they were inserted."""
    sent = {event.message: event.at for event in trace.filter(Kind.SENT)}
    late = {
        event.message[:6] for event in trace.filter(Kind.DELIVERED) if event.at > sent[event.message] + 10
    }
    return {0: "nobody", 1: "till 4", 4: "all"}.get(len(late), f"{len(late)} tills")


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
    Proved(
        name="event_sourcing/often",
        question="The dashboard looked every 0.2 s and skipped 38 of 100 sales. What if it looks less often?",
        run="by_poll",
        reading=_how_often,
        claims={
            "More are skipped: it is longer behind": "less often is worse",
            "The same ones are skipped": "the same",
            "Fewer are skipped": "more often is worse",
        },
        answer="Fewer are skipped",
        why=(
            "A sale is skipped when the dashboard passes its place while its transaction is open. With 5 s "
            "between two looks nearly all transactions have ended, and only the newest are in danger. With "
            "0.05 s the dashboard runs along at the very edge."
        ),
    ),
    Proved(
        name="event_sourcing/forgetful",
        question="Till 4 forgets to commit one sale for 20 s. Whose sales does the dashboard see late?",
        run="forgetful",
        reading=_who_waits,
        claims={
            "Nobody's: the others are committed": "nobody",
            "Those of till 4": "till 4",
            "Those of all tills": "all",
        },
        answer="Those of all tills",
        why=(
            "Below the horizon is what lies below every open transaction. The dashboard cannot know what the "
            "open one will bring, or for which card. So all that was inserted after it has to wait."
        ),
    ),
    Proved(
        name="event_sourcing/position_first",
        question="Five sales of 10, and one death. What does the view show with the checkpoint first?",
        run="shown",
        reading=lambda shown: frozenset(shown["checkpoint first"]),
        claims={
            "50 always: it goes on at the checkpoint": frozenset({50}),
            "50, or 40": frozenset({50, 40}),
            "50, or 60": frozenset({50, 60}),
        },
        answer="50, or 40",
        why=(
            "A death between the two writes leaves a checkpoint that claims a sale, and a view without it. "
            "After the restart the sale is passed over. With the view first it is the other way round: the "
            "sale is taken in again."
        ),
    ),
    Proved(
        name="event_sourcing/new_handler",
        question="Generation 1 goes on with the new handler. How many taken back does it show in the end?",
        run="back",
        reading=lambda back: back[1].result,
        claims={"13: the log has all of them": 13, "3: those that came afterwards": 3, "None": None},
        answer="3: those that came afterwards",
        why=(
            "The checkpoint says that the first ten are taken in. They were, by a projection that passed "
            "over this type. The log still has them, but nobody reads them for this view again."
        ),
    ),
    Proved(
        name="event_sourcing/mails",
        question="Five orders, one view, two rebuilds. How many mails does the projection send?",
        run="mails",
        reading=lambda mails: mails[False].count(Kind.EFFECT, where="mailer"),
        claims={"5": 5, "10": 10, "15": 15},
        answer="15",
        why=(
            "Each generation of the view takes in all five orders from the first on, and its handler sends a "
            "mail for each. The first filling and two rebuilds make three times five."
        ),
    ),
    Proved(
        name="event_sourcing/renamed",
        question="What does the dashboard say of the ten sales, now that its handler is for TeaBought?",
        run="renamed",
        reading=lambda trace: trace.result,
        claims={
            "It stops with an error at the first one": "an error",
            "0 sales, and it is 10 behind": {"sales": 0, "behind": 10},
            "0 sales, and it is not behind": {"sales": 0, "behind": 0},
        },
        answer="0 sales, and it is not behind",
        why=(
            "To pass over the types of others is what every projection does, so an unknown name is no error "
            "here. Its checkpoint moves on, and all that watches the lag shows green."
        ),
    ),
    Proved(
        name="event_sourcing/cents",
        question="Of 5,000 prices, how many are a cent off with `cut`?",
        run="wrong",
        reading=lambda wrong: "none" if not wrong["cut"] else "few" if wrong["cut"] < 100 else "many",
        claims={
            "None: each price has two digits behind the point": "none",
            "About ten, all of them high prices": "few",
            "Some hundreds": "many",
        },
        answer="Some hundreds",
        why=(
            "Most prices with cents have no exact binary number. About half of those lie a little below what "
            "they mean, and some of them still do after they are multiplied by 100. To cut takes a whole "
            "cent from these."
        ),
    ),
    Proved(
        name="event_sourcing/snapshot",
        question="The fold is mended, and nothing else is touched. What do the three cards show now?",
        run="loaded",
        reading=lambda loaded: tuple(loaded[1].result.values()),
        claims={
            "3, 9, 18: a snapshot is only a cache": (3, 9, 18),
            "3, 15, 30: only the first is right": (3, 15, 30),
            "5, 15, 30: none is right": (5, 15, 30),
        },
        answer="3, 15, 30: only the first is right",
        why=(
            "The card with two events never had a snapshot, so it is folded anew. The others begin at what "
            "the wrong fold has made of them. A cache is harmless only while it holds what one would "
            "compute today."
        ),
    ),
    Proved(
        name="event_sourcing/forgotten",
        question="Ann's key is thrown away, and nothing is rebuilt. What does the dashboard show?",
        run="ann",
        reading=lambda trace: trace.result["forgotten"]["view"],
        claims={
            "[forgotten] in place of her name": "[forgotten]",
            "Nothing: the event cannot be read": None,
            "Ann": "Ann",
        },
        answer="Ann",
        why=(
            "The view is a copy that was made while the key was there. Nobody tells it. The log itself can "
            "no longer be read, so a rebuild shows no name; until then the copy does."
        ),
    ),
)
