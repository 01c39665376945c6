"""A new edition reaches a learner's notebook, and nothing that they wrote is lost."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eip_ref.autograder.cell_merge import merge, untouched

Cell = dict[str, Any]


def cell(name: str, source: str, kind: str = "code") -> Cell:
    made: Cell = {"cell_type": kind, "id": name, "metadata": {}, "source": source}
    return made | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def notebook(**sources: str) -> Cell:
    cells = [cell(name, source) for name, source in sources.items()]
    return {"cells": cells, "metadata": {"eip": {"edition": "2"}}, "nbformat": 4, "nbformat_minor": 5}


def texts(made: Cell) -> list[str]:
    return [each["source"] for each in made["cells"]]


BASE = notebook(a="1", b="2", c="3")


def test_a_cell_that_was_not_touched_becomes_the_new_one() -> None:
    """The others stay as they are."""
    merged = merge(BASE, notebook(a="1", b="2", c="mine"), notebook(a="1", b="two", c="3"), "2")
    assert texts(merged.notebook) == ["1", "two", "mine"]
    assert str(merged) == "1 cell corrected"


def test_a_cell_that_was_touched_stays_with_the_new_one_folded_below() -> None:
    """Marked with the edition, and as prose, so that it does not run."""
    merged = merge(BASE, notebook(a="1", b="mine", c="3"), notebook(a="1", b="x = '```'", c="3"), "2")
    assert texts(merged.notebook)[:2] == ["1", "mine"]
    offered = merged.notebook["cells"][2]
    assert offered["cell_type"] == "markdown"
    assert offered["source"].startswith("<details><summary>The new cell, from edition 2.")
    assert "````python\nx = '```'\n````" in offered["source"]
    assert str(merged) == "1 cell kept as yours, with the new one folded below"


def test_a_new_cell_comes_behind_its_predecessor() -> None:
    """Before what the learner wrote there; at the top when it is the first."""
    mine = notebook(a="1", own="of my own", b="2", c="3")
    merged = merge(BASE, mine, notebook(top="0", a="1", new="1½", b="2", c="3"), "2")
    assert texts(merged.notebook) == ["0", "1", "1½", "of my own", "2", "3"]
    assert str(merged) == "2 cells added"


def test_a_deleted_cell_stays_deleted() -> None:
    """Also when the edition has another text for it."""
    assert texts(merge(BASE, notebook(a="1", c="3"), notebook(a="1", b="two", c="3"), "2").notebook) == [
        "1",
        "3",
    ]


def test_a_cell_that_the_edition_no_longer_has_goes_unless_it_was_touched() -> None:
    """What the learner wrote in it stays."""
    merged = merge(BASE, notebook(a="1", b="mine", c="3"), notebook(a="1"), "2")
    assert texts(merged.notebook) == ["1", "mine"]
    assert str(merged) == "1 cell removed"


def test_a_cell_that_the_edition_moved_is_moved() -> None:
    """With what the learner put behind it; not when they had moved cells themselves."""
    moved = notebook(c="3", a="1", b="2")
    assert texts(merge(BASE, notebook(a="1", b="2", c="3", own="!"), moved, "2").notebook) == [
        "3",
        "!",
        "1",
        "2",
    ]
    assert texts(merge(BASE, notebook(b="2", a="1", c="3"), moved, "2").notebook) == ["2", "1", "3"]


def test_what_a_learner_ran_keeps_its_outputs() -> None:
    """Unless the cell itself has changed."""
    output = {"output_type": "stream", "name": "stdout", "text": "ran"}
    mine = copy.deepcopy(BASE)
    for each in mine["cells"]:
        each["outputs"] = [output]
    merged = merge(BASE, mine, notebook(a="1", b="two", c="3"), "2").notebook
    assert [each["outputs"] for each in merged["cells"]] == [[output], [], [output]]


def test_a_correction_that_the_learner_made_too_is_nothing_new() -> None:
    """Both have the same text."""
    merged = merge(BASE, notebook(a="1", b="two", c="3"), notebook(a="1", b="two", c="3"), "2")
    assert (texts(merged.notebook), str(merged)) == (["1", "two", "3"], "")


def test_a_copied_cell_gets_an_id_of_its_own() -> None:
    """Some editors copy the id too."""
    mine = notebook(a="1", b="2", c="3")
    mine["cells"].append(cell("a", "copied"))
    made = merge(BASE, mine, BASE, "2").notebook
    assert texts(made) == ["1", "2", "3", "copied"]
    assert len({each["id"] for each in made["cells"]}) == 4


NAMES = st.sampled_from("abcdefgh")
SOURCES = st.sampled_from(["", "x", "y", "x\ny", "```", "</details>"])
OUTPUTS = st.sampled_from([[], [{"output_type": "stream", "name": "stdout", "text": "ran"}]])
CELLS = st.builds(
    lambda name, source, kind, outputs: (
        cell(name, source, kind) | ({"outputs": outputs} if kind == "code" else {})
    ),
    NAMES,
    SOURCES,
    st.sampled_from(["code", "markdown"]),
    OUTPUTS,
)


def of(cells: list[Cell]) -> Cell:
    return notebook() | {"cells": copy.deepcopy(cells)}


EDITIONS = st.lists(CELLS, max_size=8, unique_by=lambda each: each["id"]).map(of)


@st.composite
def edited(draw: st.DrawFn) -> tuple[Cell, Cell]:
    """A notebook, and what became of it: cells written, changed, deleted, moved and copied."""
    base = draw(EDITIONS)
    kept = [each for each in base["cells"] if draw(st.booleans())]
    changed = [each | {"source": each["source"] + draw(st.sampled_from(["", "", "mine"]))} for each in kept]
    own = draw(st.lists(CELLS, max_size=3))
    cells = draw(st.permutations(changed + own)) if draw(st.booleans()) else changed + own
    return base, of(cells)


@given(edited(), EDITIONS)
def test_no_character_of_a_learners_is_lost(notebooks: tuple[Cell, Cell], new: Cell) -> None:
    """Each text that they wrote is a cell's text afterwards, as often as before."""
    base, mine = notebooks
    after = texts(merge(base, mine, new, "2").notebook)
    given_out = {each["id"]: (each["cell_type"], each["source"]) for each in base["cells"]}
    for each in mine["cells"]:
        if given_out.get(each["id"]) != (each["cell_type"], each["source"]):
            after.remove(each["source"])


@given(edited(), EDITIONS)
def test_the_same_update_again_changes_nothing(notebooks: tuple[Cell, Cell], new: Cell) -> None:
    """Whether or not the first one had come to its end, which is to write down the new base."""
    base, mine = notebooks
    once = merge(base, mine, new, "2").notebook
    for known in (new, base):
        again = merge(known, once, new, "2")
        assert again.notebook == once
        assert str(again) == ""


@given(EDITIONS, EDITIONS)
def test_who_touched_nothing_gets_the_new_edition(base: Cell, new: Cell) -> None:
    """Cell by cell, in its order."""
    assert merge(base, copy.deepcopy(base), new, "2").notebook == new
    assert untouched(base, copy.deepcopy(base))
