"""Read a cell before it runs: does its text reach into the insides of Python or of others?

An answer is asked to use what it is given. One that reads frames, namespaces or the private parts of
the things that it meets does something else, and is refused with the line and the reason.

*Left out:* text that hides what it does. `guard` looks at what is done; this looks at what is written.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType

__all__ = ["IN_NOTEBOOKS", "OURS", "may_be_imported", "reaches_in", "screen", "without_banned_imports"]

INSIDES = frozenset({
    "Formatter", "ForwardRef", "ag_code", "ag_frame", "cell_contents", "cr_await", "cr_code", "cr_frame",
    "current_seed", "currentframe", "f_back", "f_builtins", "f_code", "f_globals", "f_locals", "get_field",
    "get_stack", "get_type_hints", "gi_code", "gi_frame", "gi_yieldfrom", "meta_path", "setprofile",
    "settrace", "tb_frame", "tb_next", "walk_stack", "walk_tb",
    "chroot", "getattr_static", "memfd_create", "mkfifo", "mknod", "set_authorizer",
})  # fmt: skip
"""Names that lead from a thing to what made it, or to everything else, or past the guard."""
ATTRIBUTES = frozenset({
    "autograder", "builtins", "contextvars", "copyreg", "course", "ctypes", "gc", "importlib", "inspect",
    "marshal", "modules", "monitoring", "mro", "pickle", "pydoc", "subprocess",
})  # fmt: skip
"""The same, where they are parts of something that is not one's own."""
HARMLESS = frozenset({
    "__aenter__", "__aexit__", "__aiter__", "__anext__", "__annotations__", "__await__", "__call__",
    "__contains__", "__doc__", "__enter__", "__eq__", "__exit__", "__file__", "__getitem__", "__hash__",
    "__init__", "__init_subclass__", "__iter__", "__len__", "__module__", "__name__", "__next__",
    "__notes__", "__post_init__", "__qualname__", "__repr__", "__setitem__", "__str__", "__version__",
})  # fmt: skip
"""Names between double underscores that lead nowhere."""
CALLS = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "globals", "locals", "vars"})
BY_NAME = frozenset({"attrgetter", "delattr", "getattr", "hasattr", "methodcaller", "setattr"})
READS = re.compile(r"\{[^{}]*[.\[]\s*_")  #: a format that reads a private part: "{0.__self__}"
OTHER_FILES = re.compile(
    r"(?i)^\s*(attach\s+(database\b|['\"?:])|vacuum\b.*\binto\b)"
)  #: statements of SQLite
BANNED = frozenset({
    "_thread", "antigravity", "bdb", "builtins", "cProfile", "code", "codeop", "contextvars", "copyreg",
    "ctypes", "dbm", "dis", "doctest", "faulthandler", "gc", "idlelib", "importlib", "inspect",
    "lib2to3", "marshal", "modulefinder", "multiprocessing", "pdb", "pickle", "pickletools", "pkgutil",
    "profile", "pty", "pydoc", "runpy", "shelve", "signal", "site", "socket", "subprocess", "symtable",
    "timeit", "trace", "tracemalloc", "types", "unittest", "wsgiref", "xmlrpc", "zipimport",
})  # fmt: skip
"""Modules of Python that reach into Python or the machine, or that run text as code."""
BANNED_PARTS = ("anyio._", "anyio.pytest_plugin", "concurrent.futures.process", "logging.config")
OTHERS = frozenset({"anyio", "eip_ref", "sniffio"})  #: what an answer may import besides Python's own
OURS = "eip_ref.autograder"
COURSE = "eip_ref.course"  #: where each lesson hands out what its `__all__` names, and nothing else
BEHIND = ("eip_ref.lab.clock", "eip_ref.lab.crash")  #: parts of the laboratory that drive a run
IN_NOTEBOOKS = ("board", "check", "doctor", "hint", "predict", "reset", "solution")  #: of it, in cells


def screen(source: str) -> str:
    """The fault in the text of a cell, in one sentence with its line, or "". Raises SyntaxError."""
    tree = ast.parse(source)
    own = _own_names(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        for problem in _problems(node, own, id(node) in called):
            return f"line {getattr(node, 'lineno', 1)}: {problem}"
    return ""


def without_banned_imports(source: str) -> str:
    """The same cell without the imports that `screen` refuses, line for line. Raises SyntaxError."""
    lines = source.splitlines()
    for part in ast.parse(source).body:
        if isinstance(part, ast.Import | ast.ImportFrom) and screen(ast.unparse(part)):
            lines[part.lineno - 1 : part.end_lineno] = [""] * (
                (part.end_lineno or part.lineno) - part.lineno + 1
            )
    return "\n".join(lines)


def may_be_imported(tree: ast.Module) -> Iterator[str]:
    """The modules of Python's own that a cell imports and may import."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            if name.partition(".")[0] in sys.stdlib_module_names and not any(_import(name)):
                yield name


def reaches_in(code: CodeType) -> bool:
    """True when code made of text, and so never screened, holds a name that screening refuses."""
    names = (*code.co_names, *(text for text in code.co_consts if isinstance(text, str)))
    inner = (part for part in code.co_consts if isinstance(part, CodeType))
    return any(_inside(name) or name in CALLS | BY_NAME for name in names) or any(map(reaches_in, inner))


def _own_names(tree: ast.Module) -> frozenset[str]:
    """The names of attributes that the cell itself gives to its own objects."""
    return frozenset(_defined(tree))


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                yield name
            case ast.ClassDef(body=body):
                for part in body:
                    match part:
                        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                            yield name
                        case (
                            ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name))
                        ):
                            yield name


def _problems(node: ast.AST, own: frozenset[str], is_called: bool) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield from _import(alias.name)
        case ast.ImportFrom(level=level) if level:
            yield "an import that begins with a dot leads nowhere in a notebook"
        case ast.ImportFrom(module=str(module), names=names):
            for alias in names:
                yield from _import_from(module, alias.name)
        case ast.Name(id=name) if name in CALLS or _inside(name, ()):
            yield f"`{name}` reaches into Python itself"
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in BY_NAME and not is_called:
            yield f"`{name}` is handed on, so that nobody can read what it takes"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in BY_NAME:
            for each in args if name in ("attrgetter", "methodcaller") else args[1:2]:
                yield from _named(each, own)
        case ast.Attribute(value=value, attr=name):
            whose = value.id if isinstance(value, ast.Name) else ""
            yield from _attribute(name, whose, own)
        case ast.MatchClass(kwd_attrs=names):
            for name in names:
                yield from _attribute(name, "", own)
        case ast.Constant(value=str(text)) if READS.search(text):
            yield "a format that reads private parts"
        case ast.Constant(value=str(text)) if OTHER_FILES.search(text):
            yield "a statement that has SQLite open another file"


def _inside(name: str, attributes: frozenset[str] | tuple[()] = ATTRIBUTES) -> bool:
    dunder = name.startswith("__") and name.endswith("__") and len(name) > 4
    return (dunder and name not in HARMLESS) or name in INSIDES or name in attributes


def _attribute(name: str, whose: str, own: frozenset[str]) -> Iterator[str]:
    if _inside(name) and not (name == "__class__" and whose == "self"):
        if name not in own & ATTRIBUTES:
            yield f"`.{name}` reaches into the insides of a thing"
    elif _private(name) and whose not in ("self", "cls") and name not in own - _private_parts():
        yield f"`.{name}` is a private part of something that is not yours"


@cache
def _private_parts() -> frozenset[str]:
    """The names of private parts in the library and in asyncio, which an answer's own do not excuse."""
    modules = [each for name, each in sys.modules.items() if name.partition(".")[0] in ("asyncio", "eip_ref")]
    things = [thing for module in modules for thing in vars(module).values()]
    methods = [each for thing in things if isinstance(thing, type) for each in vars(thing).values()]
    codes = [each.__code__ for each in (*things, *methods) if isinstance(each, FunctionType)]
    return frozenset(name for code in codes for name in code.co_names if _private(name))


def _private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def _named(argument: ast.expr, own: frozenset[str]) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(name)):
            for part in name.split("."):
                yield from _attribute(part, "", own)
        case ast.Constant():
            pass
        case _:
            yield "an attribute is taken by a name that is made while the code runs"


def _import(module: str) -> Iterator[str]:
    top = module.partition(".")[0]
    if _within(module, (OURS, COURSE)):
        yield f"`{module}` is not for answers; use the imports of the first cell"
    elif top in BANNED or _within(module, BEHIND) or module.startswith(BANNED_PARTS):
        yield f"the module `{module}` is not for answers: it reaches into Python or the machine"
    elif top not in sys.stdlib_module_names | OTHERS:
        yield f"the module `{module}` is no part of Python or of this course"


def _import_from(module: str, name: str) -> Iterator[str]:
    lesson = module.removeprefix(f"{COURSE}.")
    if _private(name) or _inside(name) or name in CALLS:
        if (module, name) != ("__future__", "annotations"):
            yield f"`{name}` is a private part of `{module}`"
    elif name in BY_NAME:
        yield f"use `{name}` as a part of `operator`, so that one can read what it takes"
    elif module == OURS:
        if name not in IN_NOTEBOOKS:
            yield f"`{module}.{name}` is not for answers"
    elif _within(module, (COURSE,)) and "." not in lesson:
        if not _handed_out(module, name):
            yield f"`{name}` is not what `{module}` hands out to answers"
    else:
        yield from _import(module)
        if (
            name in BANNED
            or _within(f"{module}.{name}", (*BEHIND, OURS, COURSE))
            or _is_banned_part(module, name)
        ):
            yield f"`{name}` of `{module}` is not for answers"


def _is_banned_part(module: str, name: str) -> bool:
    return f"{module}.{name}".startswith(BANNED_PARTS)


def _within(module: str, others: tuple[str, ...]) -> bool:
    return any(module == other or module.startswith(other + ".") for other in others)


def _handed_out(module: str, name: str) -> bool:
    # The lesson is loaded where cells run; elsewhere nothing is handed out.
    lesson = sys.modules.get(module)
    listed = name != "EXERCISES" and name in getattr(lesson, "__all__", ())
    return listed or isinstance(getattr(lesson, name, None), type)
