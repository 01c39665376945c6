"""The API pages: what is on them, and that pdoc has nothing to warn of on one with all that it finds hard."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import eip_ref
from docs.api_pages import modules, with_comments, write


def test_every_room_has_a_page() -> None:
    """What lies beside the patterns has one too."""
    rooms = {f"eip_ref.{room.name}" for room in pkgutil.iter_modules(eip_ref.__path__)}
    assert rooms <= set(modules())


def test_a_comment_beside_an_attribute_becomes_its_docstring() -> None:
    """Also where the value takes several lines; other comments stay what they are."""
    source = "class Scene:\n    at: float = (\n        1.0\n    )  #: seconds\n    n = 2  # two\n"
    assert with_comments(source).splitlines() == [
        "class Scene:",
        "    at: float = (",
        "        1.0",
        "    )  #: seconds",
        "    'seconds'",
        "    n = 2  # two",
    ]


def test_a_page_shows_docstrings_comments_and_types_of_named_tuples(tmp_path: Path) -> None:
    """`trace` has all three; the overview says a line about it."""
    write(["eip_ref", "eip_ref.trace"], tmp_path)
    page = (tmp_path / "eip_ref" / "trace.html").read_text(encoding="utf-8")
    assert "a sender hands a message over" in page
    assert "ForwardRef" not in page
    overview = (tmp_path / "eip_ref.html").read_text(encoding="utf-8")
    assert "eip_ref/trace.html" in overview
    assert (tmp_path / "search.js").stat().st_size > 0


def test_a_dataclass_that_inherits_its_fields_from_another_module_has_a_page(tmp_path: Path) -> None:
    """`TopicMessage` is a `Message`, whose types its own module does not import."""
    write(["eip_ref.publish_subscribe"], tmp_path)
    page = (tmp_path / "eip_ref" / "publish_subscribe.html").read_text(encoding="utf-8")
    assert 'id="TopicMessage"' in page
