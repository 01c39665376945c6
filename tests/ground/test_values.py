"""What a setting may be: said once, told by the name of the parameter."""

from __future__ import annotations

import functools
import json
import math
from collections import OrderedDict
from typing import Any

import pytest

from eip_ref import values
from eip_ref.bounded import LastN

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("wrong", [NAN, INF, -INF, -0.1, "1", None, True])
def test_a_duration_is_a_finite_number_of_seconds_from_0_on(wrong: Any) -> None:
    """The error names the parameter."""
    with pytest.raises(ValueError, match="lease must be a finite number of seconds from 0 on"):
        values.duration("lease", wrong)
    assert values.duration("lease", 0) == 0


def test_a_duration_may_be_infinite_or_not_zero_where_that_is_said() -> None:
    """Both are choices of whoever asks."""
    assert values.duration("timeout", INF, infinite=True) == INF
    with pytest.raises(ValueError, match="interval must be a finite number of seconds above 0, not 0"):
        values.duration("interval", 0, zero=False)
    with pytest.raises(ValueError, match="timeout must be a number of seconds from 0 on, not nan"):
        values.duration("timeout", NAN, infinite=True)


@pytest.mark.parametrize("wrong", [0, -1, NAN, INF, "fast", True])
def test_a_rate_is_finite_and_above_0(wrong: Any) -> None:
    """Nothing else can be kept."""
    with pytest.raises(ValueError, match="refill must be a finite number per second above 0"):
        values.rate("refill", wrong)
    assert values.rate("refill", 0.5) == 0.5


@pytest.mark.parametrize("wrong", [0, -1, NAN, INF, "much", True])
def test_an_amount_is_finite_and_above_0(wrong: Any) -> None:
    """Of whatever it is: less than nothing cannot be taken."""
    with pytest.raises(ValueError, match="burst must be a finite number above 0"):
        values.amount("burst", wrong)
    assert values.amount("burst", 0.5) == 0.5


@pytest.mark.parametrize("wrong", [-0.1, 1.1, NAN, "half", True])
def test_a_share_lies_between_0_and_1(wrong: Any) -> None:
    """Both ends included."""
    with pytest.raises(ValueError, match="threshold must be a number from 0 to 1"):
        values.share("threshold", wrong)
    assert (values.share("threshold", 0), values.share("threshold", 1)) == (0, 1)


@pytest.mark.parametrize("wrong", [0, 1.5, 2.0, NAN, INF, "3", True])
def test_a_count_is_a_whole_number(wrong: Any) -> None:
    """From 1 on, or from what is said."""
    with pytest.raises(ValueError, match="capacity must be a whole number from 1 on"):
        values.count("capacity", wrong)
    assert values.count("capacity", 0, minimum=0) == 0


@pytest.mark.parametrize("wrong", ["", "a\0b", "\ud800", 7, None])
def test_a_name_is_text_that_every_backend_can_hold(wrong: Any) -> None:
    """SQLite ends a text at NUL in some places, and nobody can write half of a character."""
    with pytest.raises(ValueError, match="key must be text"):
        values.name("key", wrong)
    assert values.name("key", "Zürich 🫖") == "Zürich 🫖"


class _Callable:
    async def __call__(self) -> None: ...


async def _waits() -> None: ...


@pytest.mark.parametrize("function", [_waits, functools.partial(_waits), _Callable(), _Callable().__call__])
def test_a_slot_that_cannot_wait_refuses_an_async_def_when_it_is_handed_over(function: Any) -> None:
    """Later its coroutine would count as true, or never run."""
    with pytest.raises(TypeError, match="on_change is called without waiting"):
        values.must_not_be_async("on_change", function)
    values.must_not_be_async("on_change", print)
    values.must_not_be_async("on_change", None)


async def test_a_slot_that_can_wait_takes_both_kinds() -> None:
    """The outcome is what the function returned, or what that came to."""

    async def later() -> int:
        return 2

    outcomes: list[int] = [await values.finished(1), await values.finished(later())]
    assert outcomes == [1, 2]


# JSON that comes back equal


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ((1, 2), "tuple; use a list"),
        ({1, 2}, "set; use a list"),
        ({1: "one"}, "key 1 is no text"),
        ({"a": [{None: 1}]}, "key None is no text"),
        (NAN, "nan"),
        ([INF], "inf"),
        (b"bytes", "bytes"),
        (object(), "object"),
        ("\udfff", "half of a character"),
        ({"\ud800": 1}, "half of a character"),
        pytest.param(10**5000, "too large", id="a huge number"),
        (nested(201), "200 lists and dictionaries deep"),
        pytest.param(nested(60_000), "200 lists and dictionaries deep", id="60,000 deep"),
    ],
)
def test_what_would_come_back_changed_is_refused_by_looking_at_types(wrong: Any, why: str) -> None:
    """With its name and the reason, before anything is written."""
    with pytest.raises(TypeError, match=f"order 7 cannot be written .*{why}"):
        values.check_json("order 7", wrong)


@pytest.mark.parametrize(
    "right", [None, True, 0, -1, 10**4000, 1.5, "", "ü\n", [], [1, [2]], {"a": {"b": None}}, OrderedDict(a=1)]
)
def test_what_comes_back_equal_is_written(right: Any) -> None:
    """As short text that any JSON reader can read."""
    assert json.loads(values.to_json("it", right)) == right


def test_200_levels_are_written_and_read() -> None:
    """The bound itself is allowed."""
    assert json.loads(values.to_json("it", nested(200))) == nested(200)


# Bounded memory


def test_the_last_n_evict_the_oldest() -> None:
    """An entry that is written again keeps its place, unless it is moved."""
    last = LastN[str, int](2)
    last["a"], last["b"] = 1, 2
    last["a"] = 3
    last["c"] = 4
    assert dict(last) == {"b": 2, "c": 4}
    last.move_to_end("b")
    last["d"] = 5
    assert list(last) == ["b", "d"]


def test_a_memory_of_0_remembers_nothing_and_a_wrong_one_is_refused() -> None:
    """Both are said where it is made."""
    last = LastN[str, None](0)
    last["a"] = None
    assert not last
    with pytest.raises(ValueError, match="capacity must be a whole number from 0 on"):
        LastN[str, None](-1)


NEVER_WRITTEN = (
    *("NaN", "-Infinity", "1e999", "1" * 5_000, "?", b"\xff", '"\\ud800"', '{"\\ud800": 1}'),
    *("[" * 60_000, "[" * 201 + "]" * 201),
)


@pytest.mark.parametrize("text", NEVER_WRITTEN, ids=range(len(NEVER_WRITTEN)))
def test_text_that_no_value_is_written_as_is_refused(text: str | bytes) -> None:
    """One error, ValueError, whatever is wrong with what came from outside."""
    with pytest.raises(ValueError, match="a body cannot be read as JSON"):
        values.from_json("a body", text)


def test_what_was_written_is_read() -> None:
    """As text and as bytes."""
    assert values.from_json("a body", b'{"a":[1.5,null]}') == values.from_json("", '{"a":[1.5,null]}')
