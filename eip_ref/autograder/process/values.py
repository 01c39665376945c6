"""Values on their way between the two processes: JSON, with a tag for what JSON has not.

A tagged value is a dictionary with one key that begins with `$`. Tuples, sets, bytes, infinity, enums and
records (messages, and the other frozen records of `eip_ref`) are copied. All else stays where it is and
crosses as a number, or does not cross: the `refer` of the sender decides, the `resolve` of the receiver looks
it up.

*Left out:* NaN, which is equal to nothing, and cycles.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any

__all__ = ["MAX_DEPTH", "Uncrossable", "class_named", "fields_of", "name_of", "pack", "pack_inside", "unpack"]

MAX_DEPTH = 60  #: of lists and dictionaries in each other
MAX_BITS = 10_000  #: of a whole number

Share = Callable[[Any], Any] | None
Refer = Callable[[object], Any]
Resolve = Callable[[str, Any], Any]


class Uncrossable(TypeError):
    """The value cannot cross, or what came is no value. The text says why."""


def name_of(kind: type) -> list[str]:
    """The module and the qualified name of a class."""
    return [kind.__module__, kind.__qualname__]


def class_named(module: object, name: object) -> type | None:
    """The class with that name in a module that is loaded already, or None."""
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split(".") if isinstance(name, str) else [""]:
        found = getattr(found, part, None) if found is not None else None
    return found if isinstance(found, type) else None


@cache
def fields_of(kind: type) -> tuple[str, ...] | None:
    """The fields of a named tuple or frozen dataclass of `eip_ref` that are all public, else None."""
    if not kind.__module__.startswith("eip_ref."):
        return None
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    if not (is_dataclass(kind) and kind.__dataclass_params__.frozen):  # type: ignore[attr-defined]
        return None
    names = tuple(each.name for each in fields(kind))
    return None if any(name.startswith("_") for name in names) else names


def pack(value: Any, refer: Refer, share: Share = None, depth: int = 0) -> Any:
    """The value as JSON. Raises `Uncrossable`, and what `refer` raises.

    `share` packs lists and dictionaries that are shared and not copied.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind in (str, int, float):
        return _plain(value)
    if depth > MAX_DEPTH:
        raise Uncrossable(f"it is more than {MAX_DEPTH} lists and dictionaries deep")
    if share is not None and kind in (list, dict):
        return share(value)
    return pack_inside(value, refer, share, depth)


def pack_inside(value: Any, refer: Refer, share: Share, depth: int = 0) -> Any:
    """The content of a list or dictionary that is shared itself, or any other thing that has parts."""

    def inside(part: Any) -> Any:
        return pack(part, refer, share, depth + 1)

    if isinstance(value, list) and type(value).__module__ == "builtins":
        return [*map(inside, value)]
    if not isinstance(value, dict | MappingProxyType):
        return _pack_tagged(value, inside, refer)
    if all(type(key) is str and key[:1] != "$" for key in value):
        return {key: inside(each) for key, each in value.items()}
    return {"$dict": [[inside(key), inside(each)] for key, each in value.items()]}


def _pack_tagged(value: Any, inside: Callable[[Any], Any], refer: Refer) -> Any:
    kind: type = type(value)
    if isinstance(value, Enum) and kind.__module__.startswith("eip_ref."):
        return {"$enum": [*name_of(kind), value.name]}
    if isinstance(value, str | int | float) and not isinstance(value, Enum):
        return _plain(next(base for base in (str, int, float) if isinstance(value, base))(value))
    if kind is tuple:
        return {"$tuple": [*map(inside, value)]}
    if kind in (set, frozenset):
        return {f"${kind.__name__}": sorted(map(inside, value), key=repr)}
    if kind in (bytes, bytearray):
        return {"$bytes": value.hex()}
    if (names := fields_of(kind)) is not None:
        return {"$record": [*name_of(kind), {name: inside(getattr(value, name)) for name in names}]}
    return refer(value)


def _plain(value: Any) -> Any:
    if type(value) is float:
        if math.isnan(value):
            raise Uncrossable("NaN is no value that can be handed over")
        return {"$float": "inf" if value > 0 else "-inf"} if math.isinf(value) else value
    if type(value) is int and value.bit_length() > MAX_BITS:
        raise Uncrossable("a whole number is too large")
    if type(value) is str and not value.isascii():
        _must_be_text(value)
    return value


def _must_be_text(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as why:
        raise Uncrossable("a text holds half of a surrogate") from why


def unpack(data: Any, resolve: Resolve, depth: int = 0) -> Any:
    """The value that `pack` made the data from. Raises `Uncrossable`, and what `resolve` raises."""
    if depth > 3 * MAX_DEPTH:
        raise Uncrossable("it is too deep")
    if isinstance(data, list):
        return [unpack(each, resolve, depth + 1) for each in data]
    if isinstance(data, float) and not math.isfinite(data):
        raise Uncrossable(f"{data} is no value")
    if type(data) is int:
        return _plain(data)
    if not isinstance(data, dict):
        return data
    tag, content = next(iter(data.items())) if len(data) == 1 else ("", None)
    if tag[:1] != "$":
        return {key: unpack(each, resolve, depth + 1) for key, each in data.items()}
    return _unpack_tagged(tag, content, resolve, depth + 1)


def _unpack_tagged(tag: str, content: Any, resolve: Resolve, depth: int) -> Any:
    def inside(data: Any) -> Any:
        return unpack(data, resolve, depth)

    try:
        match tag, content:
            case "$float", "inf" | "-inf":
                return float(content)
            case "$tuple", list():
                return tuple(inside(content))
            case "$set", list():
                return set(inside(content))
            case "$frozenset", list():
                return frozenset(inside(content))
            case "$bytes", str():
                return bytes.fromhex(content)
            case "$dict", list():
                return {inside(key): inside(value) for key, value in content}
            case "$enum", [module, name, str(member)]:
                return _class(module, name, Enum)[member]  # type: ignore[index]
            case "$record", [module, name, dict(held)]:
                return _record(module, name)(**{key: inside(each) for key, each in held.items()})
    except (ValueError, KeyError, TypeError) as error:
        raise Uncrossable(f"{tag}: {error}") from error
    return resolve(tag, content)


def _class(module: object, name: object, base: type) -> type:
    found = class_named(module, name)
    if found is None or not str(module).startswith("eip_ref.") or not issubclass(found, base):
        raise Uncrossable(f"{name!r} is no {base.__name__.lower()} that is known here")
    return found


def _record(module: object, name: object) -> type:
    kind = _class(module, name, object)
    if fields_of(kind) is None:
        raise Uncrossable(f"{kind.__name__} is no record")
    return kind
