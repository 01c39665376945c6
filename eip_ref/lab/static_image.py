"""Static images: a picture as HTML, the same bytes in every run, for displays without a kernel."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["filled", "image", "static_image"]

_IMAGE = (
    '<img alt="{{ alt }}" src="data:image/svg+xml;base64,{{ data }}" '
    'style="max-width:100%;height:auto;background:#ffffff;border-radius:4px">'
)


def filled(html: str, **values: object) -> str:
    """A template with its values, escaped: what a scenario says is text, never markup."""
    return _template(html).render(**values)


@lru_cache
def _template(html: str) -> Template:
    from jinja2 import Environment  # not before: the `eip` command also runs where only anyio is installed

    return Environment(autoescape=True).from_string(html)


def image(svg: str, alt: str) -> str:
    """SVG text as an HTML image with its alternative text.

    Notebooks show pictures so, since JupyterLab draws bare SVG without alternative text, and not at
    all in a notebook that it does not trust yet, such as one from a fresh clone.
    """
    return filled(_IMAGE, alt=alt, data=b64encode(svg.encode()).decode())


def static_image(svg: str, alt: str) -> dict[str, str]:
    """The display of a widget beside itself: a picture as an image, and the same in words."""
    return {"text/html": image(svg, alt), "text/plain": alt}
