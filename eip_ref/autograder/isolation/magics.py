"""A cell as Python alone: what IPython makes of it, without the calls of its magics and shell lines.

IPython itself reads the cell. A magic that runs what stands below it (`%%time`, `%%capture`) or behind it
(`%time`) leaves that; any other call has the value None, so `files = !ls` is an assignment like others.
Lines stay where they are, so that an error names the line that the learner sees.

*Left out:* cells that IPython would read for minutes, since it reads all of a cell anew for each magic in it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from threading import Lock

__all__ = ["MOST_CHARACTERS", "UNREADABLE", "is_python", "parsed", "python_of", "tree_of"]

MAY_BE_MAGIC = frozenset("!%?")  #: one of these is in the line of each
SHELL = "get_ipython"  #: the function whose calls IPython makes of them; tools that export a notebook do too
RUN_THEIR_BODY = frozenset({"capture", "prun", "python", "python3", "time", "timeit"})
MOST_CHARACTERS = 20_000  #: that IPython reads
MOST_MAGICS = 30  #: lines of a cell that may be some
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, SystemError)
"""What reading a text as Python raises; the last is Python 3.11's word for too many things in each other."""


def python_of(source: str) -> str:
    """The source as Python, or as it is when IPython cannot read it either."""
    if is_python(source) or len(source) > MOST_CHARACTERS:
        return source
    made = source if SHELL in source and tree_of(source) else _transformed(source)
    tree = tree_of(made)
    if tree is None:
        return source
    match tree.body:
        case [ast.Expr(ast.Call() as call)] if _method(call) == "run_cell_magic":
            return _body(source, call)
    return _without_calls(made, tree)


def is_python(source: str) -> bool:
    """True when Python itself can read it, and nothing in it is IPython's."""
    return SHELL not in source and tree_of(source) is not None


def _transformed(source: str) -> str:
    """The source as IPython runs it, or as it is when IPython cannot read it."""
    if sum(not MAY_BE_MAGIC.isdisjoint(line) for line in source.splitlines()) > MOST_MAGICS:
        return source
    from IPython.core.inputtransformer2 import TransformerManager  # loaded for such cells only

    try:
        return str(TransformerManager().transform_cell(source))  # type: ignore[no-untyped-call]
    except UNREADABLE:
        return source


_one_at_a_time = Lock()


def parsed(source: str) -> ast.Module:
    """The syntax tree of a text, made by one thread at a time: Python 3.11 has one depth for those of all."""
    with _one_at_a_time:
        return ast.parse(source)


def tree_of(source: str) -> ast.Module | None:
    """The syntax tree of a text, or None for one that Python cannot read."""
    try:
        return parsed(source)
    except UNREADABLE:
        return None


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    """The outermost calls of `get_ipython().…(…)`, from the last to the first."""
    calls, waiting = list[ast.Call](), list[ast.AST]([tree])
    for node in waiting:  # grows while it is read
        if isinstance(node, ast.Call) and _method(node):
            calls.append(node)
        else:
            waiting += ast.iter_child_nodes(node)
    return iter(sorted(calls, key=lambda call: (call.lineno, call.col_offset), reverse=True))


def _method(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(value=ast.Call(func=ast.Name(id=name)), attr=method) if name == SHELL:
            return method
    return ""


def _texts(call: ast.Call) -> list[str]:
    return [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]


def _body(source: str, call: ast.Call) -> str:
    """The lines below a cell magic, at their places, if it runs them."""
    match _texts(call):
        case [name, _, body] if name in RUN_THEIR_BODY:
            above = source.rstrip("\n").count("\n") - body.rstrip("\n").count("\n")
            return "\n" * above + python_of(body)
    return ""


def _value(call: ast.Call, *, used: bool) -> str:
    """The text in the place of a call: what `%time` runs, where that gives names or is `used`; else None."""
    match _texts(call):
        case ["time", code] if _method(call) == "run_line_magic" and (tree := tree_of(code)) and tree.body:
            return code if used or not isinstance(tree.body[0], ast.Expr) else "None"
    return "None"


def _without_calls(made: str, tree: ast.Module) -> str:
    """The text with what is left of each call in its place."""
    lines = made.splitlines(keepends=True)
    alone = {part.value for part in ast.walk(tree) if isinstance(part, ast.Expr)}
    for call in _calls(tree):
        value = _value(call, used=call not in alone)
        row, last = call.lineno - 1, (call.end_lineno or call.lineno) - 1
        first, rest = lines[row].encode()[: call.col_offset], lines[last].encode()[call.end_col_offset :]
        lines[row : last + 1] = [(first + value.encode() + rest).decode(), *[""] * (last - row)]
    return "".join(lines)
