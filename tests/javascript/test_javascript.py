"""The linter of the JavaScript: it sees what a browser would, and says where that stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import lint

PAGE = """<title>A page</title>
<script>
const there = document.body; notThere.append(there);
</script>
"""


def test_parts_of_a_widget_see_each_other(tmp_path: Path) -> None:
    """What one part declares and another uses is neither unused nor undefined."""
    (tmp_path / "film.js").write_text("export default { render: () => new Scene() };\n")
    (tmp_path / "film_scene.js").write_text("class Scene {}\n")
    assert lint(tmp_path) == []


def test_a_finding_tells_its_place_in_the_part(tmp_path: Path) -> None:
    """The second part is at fault, in its own second line."""
    (tmp_path / "film.js").write_text("export default { render: () => new Scene() };\n")
    part = tmp_path / "film_scene.js"
    part.write_text("class Scene {}\nlet never = 1;\n")
    assert any(found.startswith(f"{part}:2:5: ") and "never" in found for found in lint(tmp_path))


def test_a_finding_in_a_page_tells_its_line_and_column(tmp_path: Path) -> None:
    """The script of a page is linted where it stands."""
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    assert any(found.startswith(f"{page}:3:30: ") and "notThere" in found for found in lint(tmp_path))


@pytest.mark.parametrize("broken", ["const a = ;", "if (window.a == 1) alert(1);", "var b = 1; alert(b);"])
def test_broken_and_doubtful_code_is_found(tmp_path: Path, broken: str) -> None:
    """A syntax error, a comparison that converts, a variable without a block."""
    (tmp_path / "broken.js").write_text(broken)
    assert lint(tmp_path)
