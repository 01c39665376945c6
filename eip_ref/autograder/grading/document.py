"""Pages that are complete in themselves, of what strangers wrote: as text, and with nothing hidden in it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .. import page
from .untrusted import shown

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["document"]


def document(template: str, **values: Any) -> str:
    """A whole page from a template of this package."""
    return _environment().get_template(template).render(**values) + "\n"


@lru_cache
def _environment() -> Environment:
    made = page.environment().overlay(finalize=_as_shown)
    made.filters = {**made.filters, "prose": lambda text: page.prose(shown(text))}
    return made


def _as_shown(value: object) -> object:
    """Text as it may be shown; markup was made here and stays."""
    return shown(value) if type(value) is str else value
