"""The trace: what is recorded, by whom, and how it is filtered, compared, printed and saved."""

from __future__ import annotations

import pytest

from eip_ref.trace import Event, Kind, Trace, TraceTooLong, acting, new_id, record, recording


def listen(*facts: tuple[str, str, str]) -> Trace:
    with recording(lambda: 0.0) as recorder:
        for fact in facts:
            record(*fact)
    return recorder.trace


SMALL = (("sent", "orders", "m1"), ("accepted", "orders", "m1"), ("sent", "orders", "m2"))


def test_nothing_is_kept_when_nobody_listens() -> None:
    """record() outside a recording does nothing and raises nothing."""
    record("no such kind", "orders")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """The vocabulary has one place."""
    with recording(lambda: 0.0), pytest.raises(ValueError, match="use one of accepted, acked"):
        record("acknowledged", "orders")


def test_the_acting_participant_is_noted_and_can_be_overruled() -> None:
    """`who` comes from the nearest `acting`, unless it is given."""
    with recording(lambda: 0.0) as recorder, acting("shop"):
        record(Kind.SENT, "orders", "m1")
        record(Kind.DELIVERED, "orders", "m1", who="billing")
    assert [event.who for event in recorder.trace] == ["shop", "billing"]


def test_times_count_from_the_start_of_the_recording() -> None:
    """A recording that starts late still starts at 0."""
    times = iter([100.0, 102.5])
    with recording(lambda: next(times)) as recorder:
        record(Kind.NOTE, "here")
    assert recorder.trace[0].at == 2.5


def test_ids_are_counted_while_somebody_records_and_random_otherwise() -> None:
    """Equal runs have equal ids; ids from outside a recording never clash."""
    with recording(lambda: 0.0):
        assert [new_id(), new_id(), new_id("order-")] == ["m1", "m2", "order-1"]
    assert new_id() != new_id()


def test_a_full_recording_says_so() -> None:
    """The bound on events is an error with the bound in its words."""
    with recording(lambda: 0.0, limit=1):
        record(Kind.NOTE, "here")
        with pytest.raises(TraceTooLong, match="more than 1 events"):
            record(Kind.NOTE, "here")


def test_filters_combine() -> None:
    """Everything given must match."""
    with recording(lambda: 0.0) as recorder:
        for who, where in (("shop", "orders"), ("shop", "invoices"), ("billing", "invoices")):
            with acting(who):
                record(Kind.SENT, where, f"m-{who}")
                record(Kind.ACCEPTED, where, f"m-{who}", who="")
    trace = recorder.trace
    assert [e.where for e in trace.filter("sent", test=lambda e: e.message != "m-shop")] == ["invoices"]
    assert [e.kind for e in trace.filter(message="m-billing")] == ["sent", "accepted"]
    assert (trace.count("sent", where="invoices"), trace.count("sent", who="shop")) == (2, 2)
    assert trace.count("sent", "accepted", where="invoices", who="shop") == 1
    assert trace.messages("sent", "accepted", where="orders") == ["m-shop", "m-shop"]


@pytest.mark.parametrize("name", ["where", "message", "who"])
def test_a_filter_by_several_names_is_refused(name: str) -> None:
    """It would match no event, and a table without lines looks like an answer."""
    with pytest.raises(TypeError, match="test=lambda"):
        Trace([]).filter(**{name: {"m1", "m2"}})  # type: ignore[arg-type]


def test_the_first_difference_is_found_and_shown() -> None:
    """Two traces differ at the first event that is not equal, or where one of them ends."""
    left, right = listen(*SMALL), listen(SMALL[0], SMALL[2])
    difference = left.first_difference(right)
    assert difference is not None
    assert (difference.place, difference.left, difference.right) == (1, left[1], right[1])
    ended = left.first_difference(left[:2])
    assert ended is not None
    assert ended.right is None
    assert "(ended)" in str(ended)
    assert left.first_difference(listen(*SMALL)) is None


def test_a_saved_trace_loads_as_an_equal_one() -> None:
    """JSON keeps times to the last bit."""
    trace = Trace([Event(0.1 + 0.2, "note", "here", "m1", "shop", {"text": "naïve", "n": [1, None]})], seed=7)
    loaded = Trace.from_json(trace.to_json())
    assert loaded == trace
    assert (loaded.seed, loaded.to_json()) == (7, trace.to_json())


@pytest.mark.parametrize("events", [0, 1, 20, 21, 45])
def test_a_trace_of_any_length_is_saved_whole(events: int) -> None:
    """Nothing is left out, and what is longer than it may be is an error."""
    trace = listen(*[("note", "here", f"m{n}") for n in range(events)])
    text = trace.to_json(limit=100 * events)
    assert Trace.from_json(text) == trace
    if events:
        with pytest.raises(TraceTooLong, match="too long"):
            trace.to_json(limit=10 * events)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 2, "events": []}', '{"version": 1, "events": [[1]]}']
)
def test_what_is_not_a_trace_is_refused(text: str) -> None:
    """A file that is no saved trace gives a clear ValueError."""
    with pytest.raises(ValueError, match="trace"):
        Trace.from_json(text)


def test_the_table_cuts_the_middle_of_a_long_trace() -> None:
    """A printed trace has a header, its beginning, its end and the number of events between."""
    table = listen(*[("note", "here", f"m{n}") for n in range(100)]).table(limit=10)
    assert len(table.splitlines()) == 12
    assert "90 more events" in table
    assert "m99" in table
