"""Values: one statement of what a duration, a count, a rate, a share and a name may be.

Whoever takes a setting checks it where it is given, so that a mistake is told by the name of the
parameter and not by what goes wrong much later. NaN is none of these, and a bool is no number.

What may be a function is said here too: a slot that waits takes plain functions and `async def`s
alike, and one that cannot wait refuses an `async def` when it is handed over. And what may be
written to a disk or a wire: JSON values that come back equal, found out by looking at types, so that
what is kept in memory alone is held to the same rule at little cost.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Awaitable, Callable, Iterable
from copy import deepcopy
from functools import partial
from types import FunctionType, MethodType
from typing import Any, TypeGuard, TypeVar

__all__ = [
    "amount",
    "check_json",
    "copied",
    "count",
    "duration",
    "finished",
    "from_json",
    "is_json",
    "is_name",
    "is_plain",
    "is_text",
    "must_not_be_async",
    "name",
    "number",
    "rate",
    "share",
    "shown",
    "text",
    "to_json",
]

T = TypeVar("T")

_NUMBERS = (int, float)
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


# What a setting may be: each returns the value, or raises a ValueError that names the parameter


def number(parameter: str, value: float) -> float:
    """A number, infinity included."""
    if _is_number(value):
        return value
    raise _wrong(parameter, "a number", value)


def duration(parameter: str, value: float, *, zero: bool = True, infinite: bool = False) -> float:
    """A number of seconds: at least 0, or above it, and finite unless `infinite`."""
    if _is_number(value) and (value >= 0 if zero else value > 0) and (infinite or value < math.inf):
        return value
    least = "from 0 on" if zero else "above 0"
    raise _wrong(parameter, f"a {'' if infinite else 'finite '}number of seconds {least}", value)


def amount(parameter: str, value: float, *, unit: str = "") -> float:
    """A finite number above 0."""
    if _is_number(value) and 0 < value < math.inf:
        return value
    raise _wrong(parameter, f"a finite number{unit} above 0", value)


def rate(parameter: str, value: float) -> float:
    """A finite number per second above 0."""
    return amount(parameter, value, unit=" per second")


def share(parameter: str, value: float) -> float:
    """A number from 0 to 1."""
    if _is_number(value) and 0 <= value <= 1:
        return value
    raise _wrong(parameter, "a number from 0 to 1", value)


def count(parameter: str, value: int, *, minimum: int = 1) -> int:
    """A whole number, at least `minimum`, that a database can hold: below 2**63."""
    if isinstance(value, int) and not isinstance(value, bool) and minimum <= value < MAX_PLAIN:
        return value
    raise _wrong(parameter, f"a whole number from {minimum} on", value)


def name(parameter: str, value: str) -> str:
    """Text that every backend can hold: not empty, no NUL, no half of a character."""
    if is_name(value):
        return value
    raise _wrong(parameter, "text, not empty and without NUL", value)


def text(parameter: str, value: str) -> str:
    """Text, which may be empty."""
    if isinstance(value, str):
        return value
    raise _wrong(parameter, "text", value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and not math.isnan(value)


def _wrong(parameter: str, right: str, value: object) -> ValueError:
    return ValueError(f"{parameter} must be {right}, not {value!r}")


def is_name(value: object) -> TypeGuard[str]:
    """True for what `name` accepts."""
    return isinstance(value, str) and value != "" and "\0" not in value and is_text(value)


def is_text(text: str) -> bool:
    """True for text that can be written as UTF-8: it has no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """Its `repr`, with escapes for what nobody can write: the reason of a dead letter must reach it."""
    return repr(value).encode(errors="backslashreplace").decode()


# What a slot for a function takes


def must_not_be_async(parameter: str, function: Callable[..., Any] | None) -> None:
    """Raise TypeError for an `async def` in a slot that is called without waiting.

    There its coroutine would count as true, or never run.
    """
    if _is_async(function):
        raise TypeError(
            f"{parameter} is called without waiting: it must be a plain function, not an async def"
        )


def _is_async(function: Any) -> bool:
    while type(function) in (partial, MethodType):
        function = function.func if type(function) is partial else function.__func__
    if type(function) is FunctionType:  # most are, and this is seen at a glance
        return bool(function.__code__.co_flags & _ASYNC)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


async def finished(outcome: Awaitable[T] | T) -> T:
    """The outcome of a function that may be plain or `async`: what it returned, or what that came to."""
    return await outcome if inspect.isawaitable(outcome) else outcome


# What nobody shares

UNCHANGEABLE = (str, bytes, int, float, bool, type(None))  #: nobody can change what is of these types


def copied(value: T) -> T:
    """A deep copy, or the value itself when nobody can change it. Raises TypeError for what has no copy."""
    if isinstance(value, UNCHANGEABLE):
        return value
    try:
        return deepcopy(value)
    except Exception as error:  # of the value's own code, or of a file, a lock, a task
        raise TypeError(f"{value!r:.80} cannot be copied, so others would share it: {error}") from error


# What can be written and comes back equal

MAX_DEPTH = 200  #: of lists and dictionaries in each other; a JSON reader fails somewhere beyond
MAX_PLAIN = 2**63  #: whole numbers smaller than this are right in any case
MAX_BITS = 14_000  #: of a whole number; Python reads no decimal text of more than 4,300 digits


def _make_encode() -> Callable[[object], str]:
    """`JSONEncoder.encode` makes an encoder in C at each call, which takes longer than a small document."""
    encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    try:
        facts = encoder.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False
        parts = make(None, *facts)
    except TypeError:  # a Python without it, or with another
        return encoder.encode
    return lambda value: "".join(parts(value, 0))


encode = _make_encode()


def to_json(what: str, value: object) -> str:
    """The value as JSON text from which an equal one is read. Raises TypeError as `check_json` does."""
    check_json(what, value)
    return encode(value)


def from_json(what: str, text: str | bytes) -> Any:
    """The value of JSON text that came from outside. Raises ValueError for all that `to_json` never writes.

    So NaN, half of a character and a thousand brackets in each other come no further than here. The
    length of the text is for its reader to bound.
    """
    try:
        value = json.loads(text)
        check_json(what, value)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{what} cannot be read as JSON: {error}") from error
    return value


def check_json(what: str, value: object, error: type[Exception] = TypeError) -> None:
    """Raise the error, which names `what`, unless the value would come back equal from JSON text."""
    if not is_plain(value) and (fault := _json_fault(value, 0)) is not None:
        raise error(f"{what} cannot be written as JSON and read back equal: {fault}")


def is_json(value: object) -> bool:
    """True for what `check_json` accepts."""
    return is_plain(value) or _json_fault(value, 0) is None


def is_plain(value: Any) -> bool:
    """True at a glance for most of what is written as JSON; what is false may be right too."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if value is None:
        return True
    if kind is int:
        return bool(-MAX_PLAIN < value < MAX_PLAIN)
    return kind is bool or (kind is float and math.isfinite(value))


def _json_fault(value: object, depth: int) -> str | None:
    """The reason why the value would not come back equal, in words, or None."""
    if isinstance(value, dict | list):
        return _fault_inside(value, depth)
    if isinstance(value, str):
        return None if is_text(value) else f"{value!r} has half of a character"
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if value.bit_length() <= MAX_BITS else "a whole number is too large"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"JSON has no {value!r}"
    advice = "; use a list" if isinstance(value, tuple | set | frozenset) else ""
    return f"JSON has no {type(value).__name__}{advice}"


def _fault_inside(value: dict[Any, Any] | list[Any], depth: int) -> str | None:
    if depth >= MAX_DEPTH:
        return f"it is more than {MAX_DEPTH} lists and dictionaries deep"
    parts: Iterable[Any] = value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"the key {key!r} is no text"
            if not key.isascii() and (fault := _json_fault(key, depth)) is not None:
                return fault
        parts = value.values()
    for each in parts:
        if not is_plain(each) and (fault := _json_fault(each, depth + 1)) is not None:
            return fault
    return None
