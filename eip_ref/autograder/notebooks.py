"""Notebooks are stored as one run from top to bottom leaves them, byte for byte.

`python -m eip_ref.autograder.notebooks` runs each notebook in a fresh kernel and writes it back
normalised; with `--check` it runs nothing and only tells which files are not in that form.

What is stored must be equal in every run and readable without a kernel. So a stored output keeps
the static picture and the text of a widget, and leaves out the reference to its model, which lives
only as long as the kernel: JupyterLab would show an error in its place.

*Left out:* comparing outputs with a new run. The tests do that.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from . import course

__all__ = [
    "METADATA",
    "WidgetWithoutPicture",
    "check",
    "execute",
    "main",
    "normalise",
    "parsed",
    "read",
    "text",
    "whole",
    "write",
]

Notebook = dict[str, Any]

FOLDERS = ("notebooks", "solutions")
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "eip": {"edition": course.EDITION},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
CELL_ID = re.compile(r"[a-z][a-z0-9-]{2,63}")


class WidgetWithoutPicture(ValueError):
    """A widget was displayed that leaves nothing to see where there is no kernel."""


def read(path: Path) -> Notebook:
    """The notebook at `path`, as plain data in format 4.5."""
    return parsed(path.read_text(encoding="utf-8"))


def parsed(text: str) -> Notebook:
    """The notebook that a file's text holds, as plain data in format 4.5."""
    return _plain(_node(text))


def write(notebook: Notebook, path: Path) -> None:
    """Store `notebook` at `path`, with sorted keys and a newline at the end."""
    path.write_text(text(notebook), encoding="utf-8", newline="\n")


def execute(path: Path, *, timeout: float = 120, allow_errors: bool = False) -> Notebook:
    """Run the notebook at `path` from top to bottom in a fresh kernel and return it with its outputs.

    The kernel starts in the notebook's folder, with an empty `EIP_HOME`, so that no learner's
    progress shows in an output, and shows what is stored of real systems. Raises
    `CellExecutionError` for a cell that fails, unless `allow_errors`, and `CellTimeoutError` for
    one that runs longer than `timeout` seconds.
    """
    notebook = _node(path.read_text(encoding="utf-8"))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        allow_errors=allow_errors,
        store_widget_state=False,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with nobodys_progress():
        client.execute(env={**os.environ, "EIP_FIELD": "stored"})
    return _plain(notebook)


def _node(text: str) -> Any:
    return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]


def _plain(notebook: object) -> Notebook:
    plain: Notebook = json.loads(json.dumps(notebook))
    return plain


@contextmanager
def nobodys_progress() -> Iterator[None]:
    """Point `EIP_HOME` to an empty folder for a while."""
    before = os.environ.get("EIP_HOME")
    with tempfile.TemporaryDirectory(prefix="eip-") as folder:
        os.environ["EIP_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["EIP_HOME"]
            else:
                os.environ["EIP_HOME"] = before


def normalise(notebook: Notebook) -> Notebook:
    """`notebook` with all that may differ from run to run removed or counted. Idempotent.

    Raises `WidgetWithoutPicture` for a cell whose widget has no static picture.
    """
    notebook = copy.deepcopy(notebook)
    count = 0
    for cell, cell_id in zip(notebook["cells"], _cell_ids(notebook["cells"]), strict=True):
        cell["id"] = cell_id
        cell["metadata"] = {
            key: value for key, value in cell["metadata"].items() if key in ("nbgrader", "tags", "jupyter")
        }
        if cell["cell_type"] == "code":
            ran = bool(cell["source"].strip()) and cell["execution_count"] is not None
            count += ran
            _normalise_code(cell, count if ran else None)
    return notebook | whole(notebook["cells"])


def _normalise_code(cell: Notebook, count: int | None) -> None:
    cell["execution_count"] = count
    cell["outputs"] = list(_merged(_normalised(output, cell) for output in cell["outputs"]))
    for output in cell["outputs"]:
        if output["output_type"] == "execute_result":
            output["execution_count"] = count


def _normalised(output: Notebook, cell: Notebook) -> Notebook:
    if WIDGET not in output.get("data", {}):
        return output
    data = {kind: value for kind, value in output["data"].items() if kind != WIDGET}
    if not set(data) - {"text/plain"}:
        first_line = cell["source"].splitlines()[0]
        raise WidgetWithoutPicture(
            f"cell {cell['id']} ({first_line!r}) shows a widget that has no static picture: "
            "readers without a kernel would see nothing. Display it through eip_ref.lab."
        )
    return output | {"data": data}


def _merged(outputs: Iterable[Notebook]) -> Iterator[Notebook]:
    """Join what was printed to one stream: how it is cut into messages depends on timing."""
    last: Notebook | None = None
    for output in outputs:
        if (
            last is not None
            and output["output_type"] == last["output_type"] == "stream"
            and output["name"] == last["name"]
        ):
            last["text"] += output["text"]
            continue
        last = output
        yield output


def _cell_ids(cells: Sequence[Notebook]) -> Iterator[str]:
    """Keep each id that an author chose; make the others from the cell's text."""
    seen: set[str] = set()
    for cell in cells:
        cell_id = cell.get("id", "")
        if not CELL_ID.fullmatch(cell_id) or cell_id in seen or _is_random(cell_id):
            cell_id = _id_from(cell, seen)
        seen.add(cell_id)
        yield cell_id


def _is_random(cell_id: str) -> bool:
    """Editors give a new cell a hexadecimal id of 8 or more digits, perhaps with dashes."""
    return re.fullmatch(r"[0-9a-f]{8}[0-9a-f-]*", cell_id) is not None


def _id_from(cell: Notebook, seen: set[str]) -> str:
    digest = hashlib.sha256(f"{cell['cell_type']}\n{cell['source']}".encode()).hexdigest()[:10]
    choices = (f"c-{digest}", *(f"c-{digest}-{number}" for number in range(2, len(seen) + 3)))
    return next(choice for choice in choices if choice not in seen)


def text(notebook: Notebook) -> str:
    """The text of a notebook file: each list of lines as JupyterLab writes it, keys sorted."""
    node = nbformat.from_dict(notebook)  # type: ignore[no-untyped-call]
    written: str = nbformat.writes(node)  # type: ignore[no-untyped-call]
    return written.rstrip("\n") + "\n"


def whole(cells: list[Notebook]) -> Notebook:
    """The notebook of these cells."""
    return {"cells": cells, "metadata": copy.deepcopy(METADATA), "nbformat": 4, "nbformat_minor": 5}


def check(path: Path) -> str | None:
    """Say what is wrong with the stored form of the notebook at `path`, or None."""
    stored = read(path)
    try:
        normal = text(normalise(stored))
    except WidgetWithoutPicture as error:
        return f"{path}: {error}"
    if path.read_text(encoding="utf-8") != normal:
        return f"{path}: not normalised; run `make notebooks`"
    not_run = [
        cell
        for cell in stored["cells"]
        if cell["cell_type"] == "code" and cell["source"].strip() and cell["execution_count"] is None
    ]
    return f"{path}: not run: {len(not_run)} cells; run `make notebooks`" if not_run else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 when all is well, 1 when a notebook fails or is not normalised."""
    parser = argparse.ArgumentParser(
        prog="python -m eip_ref.autograder.notebooks",
        description="Run notebooks from top to bottom and store them normalised.",
    )
    parser.add_argument(
        "--check", action="store_true", help="run nothing and write nothing: tell which are in another form"
    )
    parser.add_argument("paths", nargs="*", type=Path, help=f"default: all in {' and '.join(FOLDERS)}")
    options = parser.parse_args(arguments)
    paths: list[Path] = options.paths or sorted(
        path for folder in FOLDERS for path in Path(folder).glob("*.ipynb")
    )
    problems = list(filter(None, map(check if options.check else _rewrite, paths)))
    print(*problems, sep="\n", file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


def _rewrite(path: Path) -> str | None:
    try:
        write(normalise(execute(path)), path)
    except (CellExecutionError, WidgetWithoutPicture) as error:
        return f"{path}: {error}"
    print(path)
    return None


if __name__ == "__main__":
    sys.exit(main())
