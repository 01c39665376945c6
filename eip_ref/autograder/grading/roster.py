"""The list of a class, as CSV: who is who, so that also those are known who handed in nothing.

| column | what it holds |
|---|---|
| `learner` | the name in the gradebook, each one once |
| `name` | optional: the name of the person, in a column of its own |
| `folder` | optional: what the learner's folder or file is called, when it is not called `learner` |
"""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from .safe_files import NotRead, read
from .untrusted import shown_name

__all__ = ["BadRoster", "Roster", "near"]

COLUMNS = ("learner", "name", "folder")
LARGEST = 2**20  #: bytes


class BadRoster(ValueError):
    """The file is no list of a class; the text says where, and what to do."""


@dataclass(frozen=True)
class Roster:
    """The learners of a class."""

    names: Mapping[str, str]  #: by learner, the name of the person; "" where there is none
    folders: Mapping[str, str]  #: by the name of a folder or file, the learner

    @classmethod
    def read(cls, path: Path) -> Roster:
        """Read a file. Raises `BadRoster`, also for a learner or folder that is there twice."""
        try:
            rows = list(_rows(read(path, LARGEST).decode("utf-8-sig")))
        except NotRead as reason:
            raise BadRoster(f"the roster {path} cannot be used. {reason}") from None
        except UnicodeDecodeError:
            raise BadRoster(f"the roster {path} is not UTF-8; save it as `CSV UTF-8`") from None
        except BadRoster as problem:
            raise BadRoster(f"the roster {path}{problem}") from None
        names = {row["learner"]: row["name"] for row in rows}
        return cls(names, {row["folder"]: row["learner"] for row in rows})

    def known(self, found: Collection[str]) -> dict[str, str]:
        """By name that was found, the learner who has it, or the only one who has it but for upper case."""
        exact = {each: self.folders[each] for each in found if each in self.folders}
        left = [each for each in found if each not in exact]
        count = Counter(map(_folded, left))
        folded = {_folded(each): who for each, who in self.folders.items() if who not in exact.values()}
        alone = (each for each in left if count[_folded(each)] == 1 and _folded(each) in folded)
        return exact | {each: folded[_folded(each)] for each in alone}


def near(name: str, known: Iterable[str]) -> str:
    """Words that name what may have been meant; "" when nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"; near to it: {', '.join(close)}" if close else ""


def _rows(text: str) -> Iterator[dict[str, str]]:
    """The rows, each with all columns. Raises `BadRoster`, whose text begins after the file's name."""
    first = text.partition("\n")[0]
    lines = csv.reader(StringIO(text, newline=""), delimiter=";" if ";" in first else ",", strict=True)
    heads: list[str] = []
    seen: dict[str, dict[str, int]] = {"learner": {}, "folder": {}}
    try:
        for cells in lines:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not heads:
                heads = _heads(cells)
                continue
            row = _row(heads, cells, lines.line_num)
            for column, numbers in seen.items():
                _once(numbers, column, row[column], lines.line_num)
            yield row
    except csv.Error as error:
        raise BadRoster(f", line {lines.line_num}: {error}") from None
    if not heads:
        raise BadRoster(" is empty; its first line names the columns, such as `learner,name`")


def _heads(cells: list[str]) -> list[str]:
    heads = [cell.lower() for cell in cells]
    unknown = [cell for cell, head in zip(cells, heads, strict=True) if head not in COLUMNS]
    said = f"it may have {', '.join(f'`{each}`' for each in COLUMNS)}"
    if unknown:
        raise BadRoster(f": no column is called {shown_name(unknown[0])[:80]!r}; {said}")
    if len(set(heads)) < len(heads):
        raise BadRoster(f" has a column twice; {said}, each one once")
    if "learner" not in heads:
        raise BadRoster(f" lacks the column `learner`; {said}")
    return heads


def _row(heads: list[str], cells: list[str], line: int) -> dict[str, str]:
    if any(cells[len(heads) :]):
        raise BadRoster(f", line {line}: more cells than columns; put a name with a comma in quotes")
    row = dict.fromkeys(COLUMNS, "") | dict(zip(heads, cells, strict=False))
    if not row["learner"]:
        raise BadRoster(f", line {line}: no `learner`")
    row["folder"] = row["folder"] or row["learner"]
    return {column: shown_name(cell) for column, cell in row.items()}


def _once(numbers: dict[str, int], column: str, cell: str, line: int) -> None:
    before = numbers.setdefault(_folded(cell), line)
    if before != line:
        raise BadRoster(f": the {column} {cell!r} stands in line {before} and in line {line}; each one once")


def _folded(name: str) -> str:
    """The name as it counts: file systems write accents in two ways, and upper case is no other name."""
    return unicodedata.normalize("NFC", name).casefold()
