"""The storm board of lesson 12b: runs, tables and the demo."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...lab import simulate
from ...lab.demo import Demo, choice, demo, toggle
from ...lab.figures import Figure, bars
from ...trace import Trace
from .chooser import table
from .lamps import LAMPS, Board, read_the_board
from .repairs import REPAIRS, repaired
from .storm import FAULTS, Shop, Weather, a_storm

__all__ = ["boards", "deaths", "storm", "the_storm_board"]

LABELS = (
    "Key",
    "Queue for mail",
    "Saga and paper",
    "Say “accepted” first",
    "Breaker and patience",
    "Bound of 20",
)
QUIET = Weather(12, 0, (4, 6), (7, 9), (10, 11))


def storm(*repairs: str, faults: Collection[str] = FAULTS, seed: int = 1) -> Board:
    """The board after a storm of these faults, for a shop with these repairs."""
    return read_the_board(simulate(a_storm, repaired(*repairs), faults, seed=seed))


def boards(shown: Mapping[str, Board], title: str) -> Figure:
    """Boards below each other; a lamp that is on stands out."""
    lit = [(name, lamp) for name, board in shown.items() for lamp in LAMPS if getattr(board, lamp)]
    return table(shown, title, marked=lit)


def deaths(shop: Shop) -> str:
    """A sign for a death at each tenth of a second between 5 and 7 s: "·" when no lamp is on, else "✗"."""
    signs = ""
    for tenth in range(20):
        weather = QUIET._replace(death=5.005 + tenth / 10)
        board = read_the_board(simulate(a_storm, shop, ("death", "sold out"), weather, seed=1))
        signs += "✗" if any(board[: len(LAMPS)]) else "·"
    return signs


def the_storm_board() -> Demo:
    """Faults and repairs as controls, lamps as bars."""

    async def scenario(fault: str, **repairs: bool) -> None:
        faults = {"all seven": FAULTS, "none": ()}.get(fault, (fault,))
        await a_storm(repaired(*(repair for repair, on in repairs.items() if on)), faults)

    def picture(trace: Trace) -> Figure:
        board = {
            name.replace("_", " "): float(value) for name, value in read_the_board(trace)._asdict().items()
        }
        lit = [name for name, value in board.items() if value and name not in ("sold", "refused")]
        return bars(board, unit="orders", title="The storm board", highlight=lit)

    def first(count: int) -> dict[str, bool]:
        return dict.fromkeys(REPAIRS[:count], True)

    toggles = {repair: toggle(label=label) for repair, label in zip(REPAIRS, LABELS, strict=True)}
    return demo(
        scenario,
        {"fault": choice("all seven", *FAULTS, "none", value="all seven", label="Faults"), **toggles},
        presets={
            "Naive": {},
            "Up to the queue": first(2),
            "Up to the saga": first(3),
            "Up to the breaker": first(5),
            "All repairs": first(6),
            "Quiet": {"fault": "none"},
        },
        summary=in_words,
        figures=[picture],
        player=False,
        seed=1,
        title="The storm board",
    )


def in_words(trace: Trace) -> str:
    board = read_the_board(trace)
    lit = [f"{lamp.replace('_', ' ')} {getattr(board, lamp)}" for lamp in LAMPS if getattr(board, lamp)]
    return f"Lamps on: {', '.join(lit) or 'none'}. Sold {board.sold}, refused {board.refused}."
