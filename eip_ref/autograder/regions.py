"""The answer regions of a cell, in nbgrader's format, and what a learner finds in their place.

A region begins with a line `### BEGIN SOLUTION` and ends with `### END SOLUTION`. In the exercise
it becomes nbgrader's stub, or, where the region has lines that begin with `#~`, those lines: the
broken code that the learner is to mend. nbgrader itself takes such lines for a part of the solution.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["CODE_STUB", "TEXT_STUB", "UnclearRegion", "model_answer", "regions", "stubbed"]

BEGIN, END, START = "### BEGIN SOLUTION", "### END SOLUTION", "#~"
CODE_STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")
TEXT_STUB = ("YOUR ANSWER HERE",)


class UnclearRegion(ValueError):
    """The markers of a cell's regions do not come in pairs."""


def stubbed(source: str, *, code: bool = True) -> str:
    """The cell as the learner gets it. Raises `UnclearRegion`."""
    lines: list[str] = []
    for region, part in _parts(source):
        lines += _start(part, CODE_STUB if code else TEXT_STUB) if region else part
    return "\n".join(lines)


def model_answer(source: str) -> str:
    """The cell with its answer, without the markers and the broken code. Raises `UnclearRegion`."""
    return "\n".join(
        line for region, part in _parts(source) for line in (_answer(part) if region else part)
    ).strip("\n")


def regions(source: str) -> list[list[str]]:
    """The lines of the model answer, region by region. Raises `UnclearRegion`."""
    return [_answer(part) for region, part in _parts(source) if region]


def stops_the_notebook(source: str) -> bool:
    """True when the stub would raise as soon as the cell runs, and not when the answer is called."""
    return CODE_STUB[1] in stubbed(source).split("\n")


def _parts(source: str) -> Iterator[tuple[bool, list[str]]]:
    """The cell in parts: whether a part is a region, and its lines, a region's first marker included."""
    region, part = False, list[str]()
    for line in source.split("\n"):
        marker = line.strip()
        if marker == (END if not region else BEGIN):
            raise UnclearRegion(
                f"{marker!r} comes {'inside a region' if region else 'before any region begins'}"
            )
        if marker in (BEGIN, END):
            yield region, part
            region, part = not region, [line] if marker == BEGIN else []
        else:
            part.append(line)
    if region:
        raise UnclearRegion(f"a region begins and there is no {END!r}")
    yield region, part


def _answer(region: list[str]) -> list[str]:
    return [line for line in region[1:] if not line.lstrip().startswith(START)]


def _start(region: list[str], stub: tuple[str, ...]) -> list[str]:
    """The text in place of a region: its broken code, else the stub, indented like the marker."""
    broken = [line for line in region[1:] if line.lstrip().startswith(START)]
    if broken:
        return [line.replace(f"{START} ", "", 1) if f"{START} " in line else "" for line in broken]
    indent = region[0][: region[0].index(BEGIN)]
    return [indent + line for line in stub]
