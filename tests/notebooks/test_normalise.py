"""What is kept of a run, what is counted anew, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nbclient.exceptions import CellExecutionError

from eip_ref.autograder.notebooks import (
    WIDGET,
    WidgetWithoutPicture,
    check,
    execute,
    main,
    normalise,
    write,
)

Cell = dict[str, Any]
VIEW = {WIDGET: {"model_id": "5f0c", "version_major": 2, "version_minor": 0}}
PICTURE = {"text/html": '<img alt="a queue" src="queue.svg">', "text/plain": "a queue"}


def code(source: str, *outputs: Cell, count: int | None = 7, **rest: Any) -> Cell:
    cell = {"cell_type": "code", "id": "0f3a99c1", "metadata": {}, "source": source}
    return cell | {"outputs": list(outputs), "execution_count": count} | rest


def printed(text: str, name: str = "stdout") -> Cell:
    return {"output_type": "stream", "name": name, "text": text}


def shown(data: Cell) -> Cell:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def notebook(*cells: Cell) -> Cell:
    return {"cells": list(cells), "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5}


def test_normalising_twice_is_the_same_as_once() -> None:
    """So that a check can tell whether it was done."""
    once = normalise(notebook(code("1"), code("1"), code("display(w)", shown({**VIEW, **PICTURE}))))
    assert normalise(once) == once


def test_cells_are_counted_in_their_order() -> None:
    """An author runs them in any order, a reader from top to bottom."""
    cells = normalise(notebook(code("a", count=9), code("b", count=2)))["cells"]
    assert [cell["execution_count"] for cell in cells] == [1, 2]


def test_a_random_id_becomes_one_that_depends_on_the_text_alone() -> None:
    """Equal texts differ, and an id that an author chose is kept."""
    ids = [c["id"] for c in normalise(notebook(code("a"), code("a"), code("b", id="break-it")))["cells"]]
    other = [c["id"] for c in normalise(notebook(code("a", id="77aa01bc"), code("a"), code("b")))["cells"]]
    assert ids[:2] == other[:2]
    assert len(set(ids)) == 3
    assert ids[2] == "break-it"


def test_timings_and_the_state_of_widgets_are_left_out() -> None:
    """They differ in every run."""
    timed = code("a", metadata={"execution": {"iopub.status.busy": "now"}, "tags": ["setup"]})
    normal = normalise(notebook(timed))
    assert normal["cells"][0]["metadata"] == {"tags": ["setup"]}
    assert set(normal["metadata"]) == {"eip", "kernelspec", "language_info"}


def test_what_is_printed_is_one_output_however_it_was_cut() -> None:
    """The kernel cuts it by the clock."""
    outputs = printed("one\n"), printed("two\n"), printed("oh\n", "stderr")
    (cell,) = normalise(notebook(code("a", *outputs)))["cells"]
    assert [output["text"] for output in cell["outputs"]] == ["one\ntwo\n", "oh\n"]


def test_a_widget_leaves_its_static_picture() -> None:
    """The reference to its model would be an error on the page of the next reader."""
    (cell,) = normalise(notebook(code("display(w)", shown({**VIEW, **PICTURE}))))["cells"]
    assert cell["outputs"][0]["data"] == PICTURE


def test_a_widget_without_a_static_picture_is_refused() -> None:
    """With the line that shows it, since nobody sees such a gap while the kernel runs."""
    with pytest.raises(WidgetWithoutPicture, match=r"display\(w\)"):
        normalise(notebook(code("display(w)", shown({**VIEW, "text/plain": "VBox()"}))))


def test_a_notebook_that_was_changed_after_its_run_is_noticed(tmp_path: Path) -> None:
    """By its form, or by a cell that has not been run."""
    path = tmp_path / "lesson.ipynb"
    write(normalise(notebook(code("a"))), path)
    assert check(path) is None
    write(normalise(notebook(code("a", count=None))), path)
    assert "not run: 1 cells" in (check(path) or "")
    write(notebook(code("a")), path)
    assert "not normalised" in (check(path) or "")


def test_a_notebook_runs_with_nobodys_progress_and_is_stored_the_same_each_time(tmp_path: Path) -> None:
    """In its own folder, byte for byte."""
    path = tmp_path / "lesson.ipynb"
    source = "import os; print(os.listdir(os.environ['EIP_HOME']), os.path.basename(os.getcwd()))"
    write(notebook(code(source)), path)
    assert main([str(path)]) == 0
    first = path.read_bytes()
    assert main([str(path)]) == 0
    assert path.read_bytes() == first
    assert f"[] {tmp_path.name}".encode() in first


def test_a_cell_that_fails_is_an_error(tmp_path: Path) -> None:
    """A lesson is stored when all of it ran."""
    write(notebook(code("1 / 0")), tmp_path / "lesson.ipynb")
    with pytest.raises(CellExecutionError):
        execute(tmp_path / "lesson.ipynb")
