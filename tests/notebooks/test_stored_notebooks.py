"""What is true of every notebook as it is stored, without running it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder.notebooks import check, read

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
EXERCISES = sorted((ROOT / "exercises").glob("*.ipynb"))
ALL = LESSONS + SOLUTIONS + EXERCISES
WIDEST = 107  #: signs of code that JupyterLab shows on 1280 pixels, beside its list of files

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MERMAID = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARKDOWN_PICTURE = re.compile(r"!\[(.*?)\]\(")
HTML_PICTURE = re.compile(r"<img\b[^>]*>")
ALT = re.compile(r"\balt\s*=\s*([\"'])\s*\S.*?\1", re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|Users|work|tmp|private|opt|mnt)/\w|[A-Z]:\\\\?Users")

Cell = dict[str, Any]


def of(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def cells(path: Path, kind: str) -> list[Cell]:
    return [cell for cell in read(path)["cells"] if cell["cell_type"] == kind]


def prose(path: Path) -> str:
    return "\n\n".join(cell["source"] for cell in cells(path, "markdown"))


def outputs(path: Path) -> list[Cell]:
    return [output for cell in cells(path, "code") for output in cell["outputs"]]


@of(LESSONS + SOLUTIONS)
def test_a_notebook_is_stored_as_one_run_from_top_to_bottom_leaves_it(path: Path) -> None:
    """Counted from 1, with stable ids, no timings, no widget state."""
    assert check(path) is None


@of(ALL)
def test_no_stored_output_is_an_error_or_a_warning(path: Path) -> None:
    """What a reader sees first is a lesson that worked."""
    bad = [output for output in outputs(path) if "ename" in output or output.get("name") == "stderr"]
    assert bad == []


@of(ALL)
def test_a_notebook_begins_and_ends_with_prose(path: Path) -> None:
    """The problem comes before code, the recap after it."""
    kinds = [cell["cell_type"] for cell in read(path)["cells"]]
    assert {kinds[0], kinds[-1]} == {"markdown"}


@of(ALL)
def test_no_line_of_code_is_cut_on_a_small_screen(path: Path) -> None:
    """JupyterLab wraps no code: what is wider is seen by who scrolls."""
    lines = [line for cell in cells(path, "code") for line in cell["source"].splitlines()]
    assert [line for line in lines if len(line) > WIDEST] == []


@of(ALL)
def test_a_notebook_names_no_path_of_the_machine_it_was_written_on(path: Path) -> None:
    """Neither in what is written nor in an output."""
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if MACHINE_PATH.search(line)]
    assert found == []


@of(ALL)
def test_every_picture_in_prose_has_alt_text(path: Path) -> None:
    """Also for a diagram: Mermaid writes it as `accDescr: what the picture says`."""
    text = prose(path)
    assert "" not in [alt.strip() for alt in MARKDOWN_PICTURE.findall(FENCE.sub("", text))]
    assert [tag for tag in HTML_PICTURE.findall(text) if not ALT.search(tag)] == []
    assert [diagram for diagram in MERMAID.findall(text) if "accDescr" not in diagram] == []


@of(ALL)
def test_every_picture_in_an_output_has_alt_text_and_is_shown_before_any_cell_is_run(path: Path) -> None:
    """JupyterLab shows no bare SVG in a notebook from elsewhere, but it shows HTML, which has alt text."""
    data = [output["data"] for output in outputs(path) if "data" in output]
    html = ["".join(bundle.get("text/html", "")) for bundle in data]
    assert [tag[:200] for page in html for tag in HTML_PICTURE.findall(page) if not ALT.search(tag)] == []
    assert [set(bundle) for bundle in data if _has_picture(bundle) and "text/html" not in bundle] == []


def _has_picture(bundle: dict[str, Any]) -> bool:
    return any(kind.startswith("image/") for kind in bundle)


@of(ALL)
def test_every_link_to_a_file_of_the_course_leads_somewhere(path: Path) -> None:
    """To a file that is there, and to a heading that is in it."""
    links = [link for link in LINK.findall(FENCE.sub("", prose(path))) if "://" not in link]
    assert [link for link in links if not _resolves(link, path)] == []


def _resolves(link: str, path: Path) -> bool:
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", prose(path)), flags=re.MULTILINE)
    return {re.sub(r"[*`_]", "", heading).replace(" ", "-") for heading in headings}
