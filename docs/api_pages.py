"""The API pages, made by pdoc from the docstrings: `make docs` writes them into build/docs.

There is a page for the face of each room, which is what others use, and for each module that is on a face,
or that a face tells of and does not load, since it needs more libraries. A warning of pdoc is an error.

*Left out:* what is inside a room. It is read in its files, and "Read X first" says in which order.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
import typing
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pdoc import doc, doc_ast, render

import eip_ref

__all__ = ["main", "modules", "with_comments", "write"]

ROOT = Path(__file__).parents[1]
THEME = Path(__file__).with_name("api_theme")


def main() -> None:
    """Write all pages."""
    names = modules()
    folder = ROOT / "build" / "docs"
    write(names, folder)
    print(f"{len(names)} pages, from {folder / 'index.html'} on")


def modules() -> list[str]:
    """The names of all modules that have a page, the package itself first."""
    rooms = pkgutil.iter_modules(eip_ref.__path__, "eip_ref.")
    faces = [importlib.import_module(room.name) for room in rooms]
    loaded = set(sys.modules)
    return ["eip_ref", *(name for face in faces for name in (face.__name__, *_beside(face, loaded)))]


def _beside(face: ModuleType, loaded: set[str]) -> Iterator[str]:
    """The modules of a room that are on its face, or that it tells of and has not loaded."""
    for each in pkgutil.iter_modules(getattr(face, "__path__", ())):
        name = f"{face.__name__}.{each.name}"
        on_it = each.name in getattr(face, "__all__", ()) and inspect.ismodule(getattr(face, each.name))
        told_of = name not in loaded and re.search(rf"\b{each.name}(\.\w|/)", face.__doc__ or "")
        if on_it or told_of:
            yield name


def write(names: Sequence[str], folder: Path) -> None:
    """Write a page for each module, an index, and what its search needs. Raises for what pdoc warns of."""
    render.configure(docformat="markdown", template_directory=THEME)
    doc_ast._parse = _parse
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # what pdoc warns with
        pages = {name: doc.Module(_with_types(importlib.import_module(name))) for name in names}
        for name, page in pages.items():
            path = folder / f"{name.replace('.', '/')}.html"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render.html_module(page, pages), encoding="utf-8")
        (folder / "index.html").write_text(render.html_index(pages), encoding="utf-8")
        (folder / "search.js").write_text(render.search_index(pages), encoding="utf-8")


def _with_types(module: ModuleType) -> ModuleType:
    """The module, in which annotations are types where pdoc cannot tell where their names come from.

    So it is with a named tuple, and with a dataclass that inherits fields from another module.
    """
    for _, found in inspect.getmembers(module, _is_named_tuple):
        found.__new__.__annotations__ = typing.get_type_hints(found)
    for _, found in inspect.getmembers(module, _inherits_fields):
        types = typing.get_type_hints(found)
        found.__init__.__annotations__ = {**found.__init__.__annotations__, **types}
    return module


def _is_named_tuple(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, tuple) and hasattr(found, "_fields")


def _inherits_fields(found: Any) -> bool:
    homes = {base.__module__ for base in getattr(found, "__mro__", ()) if dataclasses.is_dataclass(base)}
    return len(homes) > 1


def with_comments(source: str) -> str:
    """The source, with what a comment `#: …` says of an attribute in a docstring below it, for pdoc."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.end_lineno and node.end_col_offset:
            rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
            if rest.startswith("#:"):
                found.append((node.end_lineno, f"{' ' * node.col_offset}{rest[2:].strip()!r}"))
    for below, docstring in sorted(found, reverse=True):
        lines.insert(below, docstring)
    return "\n".join(lines)


_parse_as_it_is = doc_ast._parse


def _parse(source: str) -> Any:
    return _parse_as_it_is(with_comments(textwrap.dedent(source)))


if __name__ == "__main__":
    main()
