"""The example in a docstring, as code."""

from __future__ import annotations

import inspect
import textwrap

__all__ = ["example"]


def example(documented: object) -> str:
    """All that is indented in the docstring, as far left as it goes."""
    lines = str(inspect.getdoc(documented)).splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ") or not line)).strip()
