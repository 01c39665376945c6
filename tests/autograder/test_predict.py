"""The learner chooses before the answer shows, and is told why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder import predict
from eip_ref.autograder.predict import Prediction, UnknownPrediction, _widget
from eip_ref.autograder.progress import so_far

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EIP_HOME", str(tmp_path))


def _prediction(**change: Any) -> Prediction:
    asked: dict[str, Any] = {
        "question": "The worker dies after `ack`. What becomes of the order?",
        "options": ("It is lost", "It is delivered again", "It waits"),
        "answer": "It is lost",
        "why": "After `ack` the queue keeps <nothing>.",
        "name": "message_queue/ack_then_die",
    }
    return Prediction(**(asked | change))


def test_a_choice_is_answered_with_right_or_wrong_and_why() -> None:
    """The words say which, and the answer when it was not chosen."""
    assert _prediction().outcome(0)["verdict"] == "✓ Right."
    assert _prediction().outcome(1)["verdict"] == "✗ Not so. The answer is: It is lost"
    assert "keeps &lt;nothing&gt;" in _prediction().outcome(1)["why"]


def test_a_choice_is_remembered_once() -> None:
    """The board counts the first choice for a prediction."""
    _prediction().chosen(1)
    _prediction().chosen(0)
    assert list(so_far().predictions.values()) == [False]


def test_a_choice_that_cannot_be_saved_is_answered_with_word_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the reason."""
    monkeypatch.setenv("EIP_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("a file where the folder should be")
    assert "keeps &lt;nothing&gt;.<br>Your progress was not saved" in _prediction().chosen(0)["why"]


def test_nothing_is_chosen_beforehand_and_the_answer_stays_in_the_kernel() -> None:
    """The browser is sent neither answer nor reason before a choice is made."""
    widget = _widget(_prediction())
    state = widget.get_state()
    assert state["choice"] == -1
    assert state["outcome"] == {}
    assert "keeps" not in str({name: value for name, value in state.items() if name != "_esm"})


def test_a_choice_in_the_browser_brings_the_outcome() -> None:
    """As soon as the kernel hears of it."""
    widget: Any = _widget(_prediction())
    widget.choice = 0
    assert widget.outcome["right"] is True


def test_the_static_form_folds_the_answer_away() -> None:
    """In HTML it is inside a closed details element, in plain text it is not told."""
    bundle = _prediction()._repr_mimebundle_()
    before, _, folded = bundle["text/html"].partition("<details>")
    assert "keeps" not in before
    assert "keeps" in folded
    assert "keeps" not in bundle["text/plain"]
    assert WIDGET in bundle


def test_the_static_form_is_the_same_each_time() -> None:
    """It is stored in notebooks and compared."""
    first, second = ({**_prediction()._repr_mimebundle_(), WIDGET: None} for _ in range(2))
    assert first == second


def test_a_prediction_is_found_by_its_name() -> None:
    """The notebook names it and does not hold the answer."""
    assert predict("point_to_point/silence").name == "point_to_point/silence"


@pytest.mark.parametrize(
    ("name", "words"),
    [("point_to_point/silense", "point_to_point has .*silence"), ("point/x", "there are .*point_to_point")],
)
def test_an_unknown_name_is_answered_with_the_known_ones(name: str, words: str) -> None:
    """A typing mistake is quickly mended."""
    with pytest.raises(UnknownPrediction, match=words):
        predict(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"answer": "It is sold"}, "must be one of the options"),
        ({"options": ("It is lost",)}, "needs two options or more"),
        ({"options": ("It is lost", "It is lost")}, "all different"),
    ],
)
def test_a_prediction_that_cannot_be_answered_is_refused(change: dict[str, Any], words: str) -> None:
    """An author learns it at once."""
    with pytest.raises(ValueError, match=words):
        _prediction(**change)
