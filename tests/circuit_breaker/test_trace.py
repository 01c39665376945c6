"""What the laboratory makes of breakers: the invariant on traces by hand, and the state strip."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from eip_ref.lab.figures import Figure, states
from eip_ref.lab.invariants.breaker import breaker_legality
from eip_ref.trace import Event, Trace


class Story:
    """The trace of a breaker, written by hand: `at` moves the clock, the rest adds an event."""

    def __init__(self, name: str = "payments") -> None:
        self.name = name
        self.events: list[Event] = []
        self.now = 0.0

    def at(self, now: float) -> Story:
        self.now = now
        return self

    def add(self, kind: str, call: str = "", **data: Any) -> Story:
        self.events.append(Event(self.now, kind, self.name, call, "shop", data))
        return self

    def go(self, was: str, now: str, **data: Any) -> Story:
        return self.add("state", was=was, now=now, reason="", **data)

    @property
    def trace(self) -> Trace:
        return Trace(self.events)

    def words(self, **given: Any) -> list[str]:
        return [finding.words for finding in breaker_legality(self.trace, **given)]


def opened(**data: Any) -> Story:
    """Three calls fail, the last at 1.0 s, and the breaker opens."""
    story = Story()
    for call in ("c1", "c2", "c3"):
        story.at(0).add("started", call)
    for call in ("c1", "c2", "c3"):
        story.at(1).add("failed", call)
    return story.go("closed", "open", by="c3", **data)


def recovered() -> Story:
    """Opened, refused once, tried again at 7.0 s, and closed by the probe."""
    story = opened(open_for=5).at(3).add("refused", "c4")
    story.at(7).go("open", "half-open", limit=1, by="").add("started", "c5")
    return story.at(8).add("finished", "c5").go("half-open", "closed", by="c5")


# The invariant


@pytest.mark.parametrize("story", [Story, opened, recovered])
def test_a_sound_trace_has_no_finding(story: Any) -> None:
    """Neither an empty one, nor an outage, nor a recovery."""
    assert story().words() == []


@pytest.mark.parametrize(
    ("was", "now", "manual", "legal"),
    [
        ("closed", "open", False, True),
        ("open", "half-open", False, True),
        ("half-open", "closed", False, True),
        ("half-open", "open", False, True),
        ("closed", "half-open", False, False),
        ("open", "closed", False, False),
        ("open", "open", False, False),
        ("closed", "half-open", True, False),
        ("open", "closed", True, True),
        ("open", "forced open", True, True),
        ("forced open", "closed", True, True),
        ("half-open", "disabled", True, True),
        ("observing", "open", False, False),
        ("disabled", "half-open", False, False),
    ],
)
def test_only_legal_transitions_pass(was: str, now: str, manual: bool, legal: bool) -> None:
    """Three states that it moves between by itself, and what an operator may set."""
    words = Story().at(2).go(was, now, manual=manual).words()
    assert words == ([] if legal else [f"payments went from {was} to {now} at 2.0 s, which no breaker may"])


def test_a_transition_from_a_state_that_it_was_not_in_is_found() -> None:
    """Each change starts where the last one ended."""
    (words,) = opened().at(9).go("half-open", "closed").words()
    assert words == "payments went from half-open to closed at 9.0 s, but it was open"


@pytest.mark.parametrize("state", ["open", "forced open"])
def test_a_call_that_is_let_in_while_open_is_found(state: str) -> None:
    """The finding names the call, and proves it with the change and the start."""
    story = Story().at(1).go("closed", state, manual=True).at(2).add("started", "c9")
    (finding,) = breaker_legality(story.trace)
    assert finding.words == f"payments let in call c9 at 2.0 s, while it was {state}"
    assert [event.kind for event in finding.events] == ["state", "started"]


def test_a_probe_too_many_is_found() -> None:
    """One more than the limit, whether the trace or the caller says what that is."""
    story = opened().at(7).go("open", "half-open", limit=2)
    for call in ("c5", "c6", "c7"):
        story.add("started", call)
    (words,) = story.words()
    assert words == (
        "payments let in call c7 at 7.0 s, while it was half-open with 2 unsettled calls (c5 and c6); "
        "the limit is 2"
    )
    assert len(story.words(limit=1)) == 2
    assert story.words(limit=3) == []


@pytest.mark.parametrize("end", ["finished", "failed", "cancelled"])
def test_a_settled_probe_makes_room(end: str) -> None:
    """The limit is on those that are unsettled, and each half-open starts with none."""
    story = opened().at(7).go("open", "half-open", limit=1).add("started", "c5").at(8).add(end, "c5")
    story.add("started", "c6").at(9).go("half-open", "open").at(20).go("open", "half-open", limit=1)
    assert story.add("started", "c7").words() == []


def test_a_late_result_of_an_earlier_call_does_not_make_room() -> None:
    """Only a probe that settles gives a slot back."""
    story = Story().add("started", "c0").go("closed", "open").at(7).go("open", "half-open", limit=1)
    story.add("started", "c5").add("finished", "c0").add("started", "c6")
    assert len(story.words()) == 1


@pytest.mark.parametrize("says", [{"by": "c0"}, {}])
def test_a_change_by_a_stale_result_is_found(says: dict[str, str]) -> None:
    """Whether the breaker says what moved it, or it can be seen from what happened right before."""
    story = (
        Story().add("started", "c0").at(1).go("closed", "open", by="").at(7).go("open", "half-open", by="")
    )
    story.at(8).add("finished", "c0").go("half-open", "closed", **says)
    (words,) = story.words()
    assert words == (
        "payments went from half-open to closed at 8.0 s by the result of call c0, let in at 0.0 s, "
        "before the change to half-open: that result was stale"
    )


def test_a_stale_result_that_moves_nothing_is_as_it_should_be() -> None:
    """The change right after it was that of a timer, or of a fresh call."""
    story = Story().add("started", "c0").at(1).go("closed", "open", by="")
    story.at(7).add("failed", "c0").go("open", "half-open", by="")
    assert story.words() == []
    other = Story().add("started", "c0").at(1).go("closed", "open").at(7).add("failed", "c0")
    assert other.at(8).go("open", "half-open").words() == []


def test_half_open_before_the_open_time_is_over_is_found() -> None:
    """Where the breaker says how long it would be open."""
    (words,) = opened(open_for=5).at(5).go("open", "half-open").words()
    assert words == "payments went from open to half-open at 5.0 s, before the open time was over at 6.0 s"


def test_one_breaker_does_not_answer_for_another() -> None:
    """Breakers are told apart by their name; other state machines and other places are not looked at."""
    stock = Story("stock").at(2).add("started", "c1").go("closed", "half-open")
    saga = Story("order 1").go("running", "running")
    trace = Trace([*recovered().events, *stock.events, *saga.events])
    assert len(breaker_legality(trace)) == len(breaker_legality(trace, where="stock")) == 1
    assert breaker_legality(trace, where="payments") == []


# The figure


def texts(figure: Figure) -> list[str]:
    root = ElementTree.fromstring(figure.svg)
    return [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_the_state_strip_says_the_states_and_the_calls() -> None:
    """In the picture and in words: each state, since when, how long, and how the calls ended."""
    figure = states(recovered().at(10).add("cancelled", "c6").trace)
    assert {"payments", "closed", "open", "half-open", "finished", "failed", "refused"} <= set(texts(figure))
    assert texts(figure).count("open") == 2  # in the strip and in the key
    assert figure.alt == (
        "In which state, when. payments: closed from 0.0 s, open from 1.0 s, half-open from 7.0 s and "
        "closed from 8.0 s; 3 changes, and of the time closed 30 %, open 60 % and half-open 10 %; "
        "calls: 1 finished, 3 failed, 1 cancelled and 1 refused."
    )


def test_the_state_strip_knows_any_state_machine() -> None:
    """States that it has not heard of are drawn and named too."""
    saga = Story("order 1").at(4).go("charging", "reserving").at(9).go("reserving", "done")
    figure = states(saga.trace, title="The saga")
    assert {"order 1", "charging", "reserving", "done", "The saga"} <= set(texts(figure))
    assert "order 1: charging from 0.0 s, reserving from 4.0 s and done from 9.0 s" in figure.alt


def test_states_without_a_colour_differ_in_their_pattern() -> None:
    """Closed, open and half-open are told apart in black and white."""
    svg = states(recovered().trace).svg
    assert svg.count("<pattern") == 2
    assert svg.count("fill: url(#") == 4  # the strips, and the key


def test_states_that_nobody_has_heard_of_differ_in_their_pattern_too() -> None:
    """Colour alone tells no two of six states apart: one has no pattern, and five have one each."""
    story = Story("order 1")
    for number in range(5):
        story.at(number + 1).go(f"state {number}", f"state {number + 1}")
    assert states(story.trace).svg.count("<pattern") == 5


def test_many_machines_are_cut_and_the_note_says_so() -> None:
    """Twenty rows; the others are named."""
    machines = [Story(f"service-{n}").at(1).go("closed", "open").events for n in range(22)]
    figure = states(Trace(event for events in machines for event in events))
    assert "Not shown: service-20 and service-21." in figure.alt
    assert {"service-0", "service-19"} <= set(texts(figure))
    assert "service-20" not in texts(figure)


def test_a_trace_without_states_is_an_empty_strip() -> None:
    """It says so, and does not fail."""
    assert states(Trace([])).alt == "In which state, when. Nothing changed its state."
    assert states(Story().go("closed", "open").trace).alt.startswith("In which state, when. payments: open")


def test_the_same_trace_gives_the_same_bytes() -> None:
    """And nothing hangs on what was drawn before."""
    first = states(recovered().trace).svg
    states(opened().trace)
    assert states(recovered().trace).svg == first
