"""Two implementations of one protocol are asked the same, operation by operation, and answer the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

ODD = [None, 7, "", "a\0b", "\ud800", 1.5, float("nan"), b"a", True]
"""What is no key and no name, wherever one is asked for."""

KEYS = st.sampled_from(["a", "b", "é", "\U0001f600", "x" * 5_000])
KEYS_AND_ODD = st.one_of(KEYS, KEYS, KEYS, st.sampled_from(ODD))
DOCUMENTS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(1, "é", None, True, [1, {"a": None}], 2**70, -0.0, {"": []}),
        *(float("nan"), float("inf"), (1, 2), {1: 2}, {"a": {3}}, "\ud800", b"a", object),
    ]
)
NUMBERS = st.sampled_from([0, 1, 2, 3, -1, 1.5, float("nan"), float("inf"), None, True, 2**63, 2**70, "1"])

few = settings(max_examples=40, stateful_step_count=25)


class Alike(RuleBasedStateMachine):
    """Asks two of them, in memory and on SQLite. What one answers or raises, the other does too."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "file.db"

    def teardown(self) -> None:
        self.folder.cleanup()

    def same(self, asks: Callable[[Any], Any], *pair: Any) -> Any:
        """The answer of both to one question."""
        first, second = (self._outcome(asks, each) for each in pair)
        assert first == second, f"in memory {first!r}, on SQLite {second!r}"
        return first

    def _outcome(self, asks: Callable[[Any], Any], one: Any) -> Any:
        try:
            return asks(one)
        except Exception as error:  # whatever it is, the other must say it in the same words
            return type(error).__name__, str(error).replace(f"{self.path}: ", "")
