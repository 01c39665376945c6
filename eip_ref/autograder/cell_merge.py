"""A learner's notebook and a new edition of it, merged cell by cell; cells are known by their ids.

What the learner wrote stays. A cell is theirs when its text differs from that of `base`, the notebook as
they got it. A correction of such a cell is put below it, folded, so that it arrives and takes nothing away.

*Left out:* merging inside a cell. Two texts of one cell are shown one below the other.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Merged", "merge", "untouched"]

Notebook = dict[str, Any]
Cell = dict[str, Any]


@dataclass
class Merged:
    """The merged notebook, and the ids of the cells with which something was done."""

    notebook: Notebook
    corrected: list[str] = field(default_factory=list)  #: the learner's was untouched, and is the new one now
    offered: list[str] = field(default_factory=list)  #: the learner's stays, and the new one is below it
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)  #: gone from the edition, and untouched

    def __str__(self) -> str:
        """Say in words what was done: "3 cells corrected, 1 kept as yours"; "" for nothing."""
        words = {
            "corrected": self.corrected,
            "kept as yours, with the new one folded below": self.offered,
            "added": self.added,
            "removed": self.removed,
        }
        said = [f"{len(ids)} {word}" for word, ids in words.items() if ids]
        if not said:
            return ""
        number, _, rest = said[0].partition(" ")
        return ", ".join([f"{number} cell{'' if number == '1' else 's'} {rest}", *said[1:]])


def untouched(base: Notebook, mine: Notebook) -> bool:
    """True when the learner's notebook has the cells of `base`, with the same texts, and no others."""
    return [_said(cell) for cell in base["cells"]] == [_said(cell) for cell in mine["cells"]]


def merge(base: Notebook, mine: Notebook, new: Notebook, edition: str) -> Merged:
    """Bring the learner's notebook `mine`, once copied from `base`, to the edition's notebook `new`.

    Every text of the learner's is in the outcome; merging the outcome again changes nothing.
    """
    metadata = {**new["metadata"], **mine["metadata"], "eip": new["metadata"].get("eip", {})}
    merged = Merged({**new, "metadata": metadata, "cells": []})
    old, coming, here = _by_id(base["cells"]), _by_id(new["cells"]), _by_id(_distinct(mine["cells"]))
    kept = {name: _kept(cell, old.get(name), coming.get(name), merged) for name, cell in here.items()}
    for name in merged.offered.copy():
        offer = _offer(coming[name], edition)
        if offer["id"] in here:  # it came in an update that was interrupted
            merged.offered.remove(name)
        else:
            kept[name].append(offer)
    order = _in_new_order(list(here), list(old), list(coming))
    for at, (name, cell) in enumerate(coming.items()):
        if name not in here and name not in old:
            order.insert(_place(order, list(coming)[:at]), name)
            kept[name] = [copy.deepcopy(cell)]
            merged.added.append(name)
    merged.notebook["cells"] = [cell for name in order for cell in kept[name]]
    return merged


def _kept(mine: Cell, base: Cell | None, new: Cell | None, merged: Merged) -> list[Cell]:
    """The cells that stand in the place of the learner's cell."""
    was_touched = base is None or _said(mine) != _said(base)
    if new is None:
        if not was_touched:
            merged.removed.append(mine["id"])
        return [mine] if was_touched else []
    own = {**mine, "metadata": {**mine["metadata"], **new["metadata"]}}
    if _said(mine) == _said(new):
        has_run = mine["cell_type"] == "code" and (base is None or mine["outputs"] != base.get("outputs"))
        return [own if has_run else {**copy.deepcopy(new), "metadata": own["metadata"]}]
    if not was_touched:
        merged.corrected.append(mine["id"])
        return [copy.deepcopy(new)]
    if base is not None and _said(base) == _said(new):
        return [own]
    merged.offered.append(mine["id"])
    return [own]


def _offer(new: Cell, edition: str) -> Cell:
    """A folded cell of prose that shows the edition's cell. Its id tells what it shows, so it comes once."""
    source = new["source"]
    if new["cell_type"] == "code":
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", source)), default=0))
        source = f"{fence}python\n{source}\n{fence}"
    words = f"The new cell, from edition {edition}. The one above is yours and was kept."
    digest = hashlib.sha256(repr((new["id"], *_said(new))).encode()).hexdigest()[:16]
    text = f"<details><summary>{words}</summary>\n\n{source}\n\n</details>"
    return {"cell_type": "markdown", "id": f"new-{digest}", "metadata": {}, "source": text}


def _in_new_order(order: list[str], old: list[str], coming: list[str]) -> list[str]:
    """The learner's cells in the edition's order, unless they moved some; their own stay behind the same."""
    common = [name for name in order if name in old and name in coming]
    if common != [name for name in old if name in common]:
        return order
    groups: dict[str, list[str]] = {"": []}
    last = ""
    for name in order:
        if name in common:
            last = name
        groups.setdefault(last, []).append(name)
    return [*groups[""], *(name for each in coming if each in groups for name in groups[each])]


def _place(order: Sequence[str], before: Sequence[str]) -> int:
    """Behind the nearest cell that precedes it in the edition, and is there; else at the top."""
    return next((order.index(name) + 1 for name in reversed(before) if name in order), 0)


def _said(cell: Cell) -> tuple[str, str]:
    return cell["cell_type"], cell["source"]


def _by_id(cells: Iterable[Cell]) -> dict[str, Cell]:
    return {cell["id"]: cell for cell in cells}


def _distinct(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each with an id of its own: an editor may have copied one, or left it out."""
    seen: set[str] = set()
    made: list[Cell] = []
    for at, cell in enumerate(cells):
        name = cell.get("id") or f"own-{at}"
        while name in seen:
            name = f"own-{hashlib.sha256(f'{name} {at}'.encode()).hexdigest()[:16]}"
        seen.add(name)
        made.append({**cell, "id": name})
    return made
