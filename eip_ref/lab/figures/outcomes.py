"""Many runs of several designs, one sign for each run: where a design dies, and what is left of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..wording import listing
from .canvas import Canvas, Figure, area, box, drawing
from .style import GREEN, GREY, MARGIN, ORANGE, PURPLE, RED, SKY, WIDTH, fit, tint, widest

_COLOURS = (GREEN, RED, PURPLE, ORANGE, SKY, GREY)
_CELL, _ROW = 22.0, 24.0


@drawing()
def outcomes(
    runs: Mapping[str, Sequence[str]],
    signs: Mapping[str, str],
    *,
    across: str = "run",
    title: str = "How each run ended",
) -> Figure:
    """Draw a row for each name in `runs`, with the sign of how each of its runs ended.

    `signs` gives each ending its sign; the first of them is the good one. `across` names what is counted
    from left to right, such as "step". Raises ValueError for an ending without a sign, or for more than six.
    """
    unknown = {ending for row in runs.values() for ending in row} - set(signs)
    if unknown or len(signs) > len(_COLOURS):
        raise ValueError(f"each ending needs one of at most {len(_COLOURS)} signs; not so: {sorted(unknown)}")
    looks = dict(zip(signs, _COLOURS, strict=False))
    longest = max((len(row) for row in runs.values()), default=0)
    left = MARGIN + widest(runs, 40, WIDTH - 3 * MARGIN - longest * _CELL) + 12
    key = [area(f"{signs[name]} {name}", facecolor=tint(looks[name], 0.3)) for name in signs]
    canvas = Canvas(title, _ROW * len(runs) + 20, key=key)
    canvas.text(left - 12, canvas.top + 8, across, colour=GREY, align="right")
    for step in range(longest):
        canvas.text(left + (step + 0.5) * _CELL, canvas.top + 8, str(step + 1), colour=GREY, align="center")
    for number, (name, row) in enumerate(runs.items()):
        top = canvas.top + 18 + _ROW * number
        canvas.text(left - 12, top + _ROW / 2, fit(name, left - MARGIN - 12), align="right")
        for step, ending in enumerate(row):
            x = left + step * _CELL
            canvas.shapes([box(x + 1, top + 2, x + _CELL - 1, top + _ROW - 2, 3)], tint(looks[ending], 0.3))
            canvas.text(
                x + _CELL / 2, top + _ROW / 2, signs[ending], align="center", bold=True, colour=looks[ending]
            )
    said = [f"{name}: {_in_words(row)}" for name, row in runs.items()]
    return canvas.picture(f"{title}. {'; '.join(said) or 'No runs'}.")


def _in_words(row: Sequence[str]) -> str:
    return listing([f"{ending} {times}" for ending, times in Counter(row).items()], max_items=6)
