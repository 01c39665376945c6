"""The figures show what the trace says, in the same bytes everywhere, and say it in words too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eip_ref.lab import figures
from eip_ref.lab.figures import Figure, bars, counters, depth, grid, latency, lines, sequence, timeline
from eip_ref.lab.figures.canvas import Canvas, drawing
from eip_ref.lab.figures.over_time import waiting_times
from eip_ref.lab.figures.rows import by_number, read
from eip_ref.lab.figures.style import fit, width_of
from eip_ref.lab.wording import one_line, quantile
from eip_ref.trace import Event, Kind, Trace

OF_A_TRACE: list[Callable[..., Figure]] = [
    getattr(figures, name)
    for name in figures.__all__
    if name not in ("Figure", "bars", "grid", "lines", "outcomes")
]


def trace_of(*rows: tuple[float, str, str, str, str, dict[str, Any]]) -> Trace:
    """A trace from (time, kind, where, message, who, data)."""
    return Trace(Event(*row) for row in rows)


def sold(number: int, at: float, who: str = "worker-1", *, took: float = 0.5) -> list[Event]:
    """The journey of one order that is handled without trouble."""
    message, label = f"m{number}", f"order {number}"
    end = at + took
    return [
        Event(at, "sent", "orders", message, "shop", {"label": label}),
        Event(at, "accepted", "orders", message, "shop", {}),
        Event(at, "delivered", "orders", message, who, {"lease": number, "deliveries": 1, "until": at + 30}),
        Event(at, "started", who, message, who, {}),
        Event(end, "effect", who, message, who, {"effect": "charged card"}),
        Event(end, "finished", who, message, who, {}),
        Event(end, "acked", "orders", message, who, {"lease": number}),
    ]


CRASH = trace_of(
    (0.0, "sent", "orders", "m1", "shop", {"label": "order 17"}),
    (0.0, "accepted", "orders", "m1", "shop", {}),
    (1.0, "delivered", "orders", "m1", "worker-1", {"lease": 1, "deliveries": 1, "until": 31.0}),
    (1.0, "started", "worker-1", "m1", "worker-1", {}),
    (2.4, "crashed", "worker-1", "", "worker-1", {}),
    (31.0, "expired", "orders", "m1", "worker-1", {"lease": 1}),
    (31.0, "returned", "orders", "m1", "", {"reason": "the lease expired"}),
    (31.0, "delivered", "orders", "m1", "worker-2", {"lease": 2, "deliveries": 2, "until": 61.0}),
    (31.0, "started", "worker-2", "m1", "worker-2", {}),
    (31.5, "finished", "worker-2", "m1", "worker-2", {}),
    (31.5, "acked", "orders", "m1", "worker-2", {"lease": 2}),
    (32.5, "stale", "orders", "m1", "worker-1", {"lease": 1, "attempted": "ack"}),
)
DEAD = trace_of(
    (0.0, "sent", "orders", "m1", "shop", {"label": "order 17"}),
    (0.0, "accepted", "orders", "m1", "shop", {}),
    (0.0, "delivered", "orders", "m1", "worker-1", {"lease": 1, "deliveries": 1}),
    (0.2, "nacked", "orders", "m1", "worker-1", {"lease": 1, "reason": "no such product"}),
    (0.2, "sent", "orders.dead", "m1", "", {"label": "order 17"}),
    (0.2, "accepted", "orders.dead", "m1", "", {}),
    (0.2, "dead", "orders", "m1", "", {"reason": "1 failure", "to": "orders.dead"}),
    (9.0, "delivered", "orders.dead", "m1", "operator", {"lease": 1, "deliveries": 1}),
    (9.0, "replayed", "orders.dead", "m1", "operator", {"to": "orders"}),
    (9.0, "sent", "orders", "m1", "operator", {"label": "order 17"}),
    (9.0, "accepted", "orders", "m1", "operator", {}),
    (9.0, "acked", "orders.dead", "m1", "operator", {"lease": 1}),
)
LINK = trace_of(
    (0.0, "sent", "shop to orders", "m1", "shop", {"label": "order 1"}),
    (0.3, "arrived", "shop to orders", "m1", "", {}),
    (0.3, "sent", "orders", "m1", "shop", {"label": "order 1"}),
    (0.3, "accepted", "orders", "m1", "shop", {}),
    (1.0, "sent", "shop to orders", "m2", "shop", {"label": "order 2"}),
    (1.0, "lost", "shop to orders", "m2", "", {}),
)
STRANGE = 'Ünïcödé 東京 <b> & "quoted" $x_1$ %s \\alpha'
MANY = Trace(event for n in range(1, 144) for event in sold(n, n * 0.3, f"worker-{n % 4}", took=0.25))


@st.composite
def happenings(draw: st.DrawFn) -> Trace:
    """Any events of two participants and two channels, in order of time, most of them of work."""
    who, where = st.sampled_from(["ann", "bob"]), st.sampled_from(["orders", "stock", "ann", "bob"])
    often = 30 * [Kind.STARTED, Kind.FINISHED]
    kinds = st.sampled_from([*(kind for kind in Kind if kind != Kind.OPENED), *often])
    row = st.tuples(st.integers(0, 3), kinds, where, st.sampled_from(["m1", "m2", ""]), who)
    now, events = 0.0, []
    for gap, kind, place, message, name in draw(st.lists(row, max_size=9)):
        now += gap
        events.append(Event(now, str(kind), place, message, name, {"lease": 1, "to": "stock"}))
    return Trace(events)


def other() -> Trace:
    """What the other samples do not have: steps, states, readers, offsets, links between systems, a pool."""
    return trace_of(
        (0.0, "opened", "view", "", "view", {"store": "orders", "after": 0}),
        (0.0, "accepted", "orders", "m1", "shop", {"position": 1, "offset": 0}),
        (0.5, "delivered", "orders", "m1", "worker-1", {"offset": 0, "group": "billing", "reader": "stock"}),
        (
            0.6,
            "state",
            "orders",
            "",
            "worker-1",
            {"was": 0, "now": 1, "reason": "committed", "group": "billing"},
        ),
        (1.0, "state", "view", "", "view", {"was": 0, "now": 1, "reason": "checkpoint", "store": "orders"}),
        (1.0, "started", "worker-1", "o1/pay", "worker-1", {"step": "pay", "saga": "o1", "role": "action"}),
        (
            1.5,
            "state",
            "payments",
            "o1",
            "worker-1",
            {"was": "running", "now": "compensating", "reason": "no"},
        ),
        (2.0, "failed", "worker-1", "o1/pay", "worker-1", {"step": "pay", "saga": "o1", "error": "no money"}),
        (2.0, "refused", "payments", "m2", "shop", {"reason": "open"}),
        (2.5, "state", "pool", "", "pool", {"was": "1", "now": "3", "consumers": 3, "queue": "orders"}),
        (3.0, "closed", "shop → billing", "", "billing", {}),
        (3.0, "refused", "shop → billing", "m3", "shop", {"reason": "down"}),
        (3.5, "note", "", "", "", {"text": "the end"}),
    )


ALL = (CRASH, DEAD, LINK, MANY, other(), Trace([]))


def texts(figure: Figure) -> list[str]:
    """Everything that is written in the picture."""
    root = ElementTree.fromstring(figure.svg)
    return [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]


def every_figure() -> list[Figure]:
    """One of each figure for each sample, and the plain ones."""
    of_traces = [draw(trace) for draw in OF_A_TRACE for trace in ALL]
    plain = [
        bars({"worker-1": 3, "worker-2": 4.5}, unit="messages"),
        lines({"direct": [(2, 2), (3, 6)]}, mark=2.5),
        grid({"queue": {"lost": 0, "lag": 19.9}}, highlight=[("queue", "lag")], bold=["queue"]),
    ]
    return [*of_traces, *plain]


@cache
def drawn() -> list[Figure]:
    """The same, drawn once for all tests that only look."""
    return every_figure()


# Every figure


def test_every_figure_is_one_svg_element_with_title_words_and_role() -> None:
    """A picture can stand inside a page, and a screen reader finds its words."""
    for figure in drawn():
        root = ElementTree.fromstring(figure.svg)
        labels = str(root.get("aria-labelledby")).split()
        named = {node.get("id"): node.text for node in root if node.get("id")}
        assert figure.svg.startswith("<svg")
        assert root.get("role") == "img"
        assert named[labels[1]] == figure.alt
        assert not re.search("<style|<metadata|matplotlib|NaN|nan", figure.svg.replace(figure.alt, ""))


def test_a_figure_shows_itself_as_an_image_with_its_words() -> None:
    """A notebook shows the picture with its alternative text; a terminal shows the words."""
    figure = depth(CRASH)
    shown = figure._repr_mimebundle_()
    assert shown == {"text/html": figure.html, "text/plain": figure.alt}
    image = re.match(r'<img alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)"', figure.html)
    assert image is not None
    assert unescape(image[1]) == figure.alt
    assert b64decode(image[2]).decode() == figure.svg


def test_no_text_is_smaller_than_9_points() -> None:
    """The picture's user unit is a point, and every font size is given in it."""
    for figure in drawn():
        width, box = re.search(r'width="([\d.]+)pt".*?viewBox="0 0 ([\d.]+)', figure.svg, re.S).groups()  # type: ignore[union-attr]
        sizes = [float(size) for size in re.findall(r"font(?:-size)?:[^;\"]*?([\d.]+)px", figure.svg)]
        assert width == box
        assert len(sizes) == len(texts(figure))
        assert min(sizes) >= 9


def test_no_text_leaves_the_picture() -> None:
    """Long names and labels are cut, not drawn past the edge."""
    events = [event for n in range(1, 13) for event in sold(n, float(n), f"{STRANGE * 3}-{n}")]
    long = {"label": STRANGE * 4}
    moved = [e._replace(where=STRANGE * 4) if e.where == "orders" else e for e in events]
    trace = Trace(e._replace(data=long) if e.kind == "sent" else e for e in moved)
    for figure in [draw(each) for draw in OF_A_TRACE for each in (trace, nasty(other()))]:
        for tag, x, words in re.findall(r'(<text[^>]*? x="(-?[\d.]+)"[^>]*>)([^<]*)', figure.svg):
            part = 0.5 if "anchor: middle" in tag else 1.0 if "anchor: end" in tag else 0.0
            wide = width_of(words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
            if "rotate" not in tag:
                assert float(x) - part * wide > -1
                assert float(x) + (1 - part) * wide < 581


@pytest.mark.parametrize("draw", OF_A_TRACE)
def test_an_empty_trace_gives_a_picture_that_says_so(draw: Callable[[Trace], Figure]) -> None:
    """Nothing to draw is no error."""
    nothing = "without any event|Nobody|Nothing|0 systems|[Nn]o (channel|message|log|pool)"
    assert re.search(nothing, draw(Trace([])).alt)


@pytest.mark.parametrize("draw", OF_A_TRACE)
@pytest.mark.parametrize(
    "kind", ["sent", "accepted", "delivered", "dead", "crashed", "note", "lost", "stale"]
)
def test_a_single_event_of_any_kind_can_be_drawn(draw: Callable[[Trace], Figure], kind: str) -> None:
    """A trace may begin anywhere."""
    ElementTree.fromstring(draw(trace_of((0.0, kind, "orders", "m1", "shop", {}))).svg)


@pytest.mark.parametrize("draw", OF_A_TRACE)
def test_names_in_any_script_are_written_as_they_are(draw: Callable[..., Figure]) -> None:
    """No character is taken for markup, mathematics or a format."""
    trace = Trace(e._replace(where=STRANGE) if e.where == "orders" else e for e in sold(1, 0.0, STRANGE))
    figure = draw(trace)
    ElementTree.fromstring(figure.svg)
    assert " ".join(STRANGE.split()) in texts(draw(trace, title=STRANGE))
    if draw in (depth, sequence):
        assert STRANGE in figure.alt


NASTY = "Dear Ann,\n\tyour tea\x00 is\x1b[31m ready \ud800\u202e\uffff"
SHOWN = "Dear Ann, your tea� is�[31m ready ���"


def nasty(trace: Trace) -> Trace:
    """The same trace, told in words that no drawing can hold."""

    def said(value: Any) -> Any:
        return f"{value}{NASTY}" if isinstance(value, str) else value

    return Trace(
        e._replace(
            where=said(e.where),
            message=said(e.message),
            who=said(e.who),
            data={name: said(value) for name, value in e.data.items()},
        )
        for e in trace
    )


@pytest.mark.parametrize("draw", OF_A_TRACE)
def test_text_that_a_drawing_cannot_hold_is_shown_on_one_line(draw: Callable[..., Figure]) -> None:
    """Line breaks become spaces, control characters a sign of their own, in the picture and the words."""
    for trace in ALL:
        figure = draw(nasty(trace), title=NASTY)
        assert figure.alt.startswith(SHOWN)
        assert SHOWN in texts(figure)
        for words in [figure.alt, *texts(figure)]:
            assert words == one_line(words)


def test_names_and_units_of_plain_figures_are_shown_on_one_line() -> None:
    """Also those that a lesson gives."""
    for figure in (
        bars({NASTY: 3, "_b": 2}, unit=NASTY, title=NASTY, highlight=[NASTY]),
        lines({NASTY: [(2, 2), (3, 6)], "_b": [(2, 1)]}, x=NASTY, y=NASTY, title=NASTY, mark=2.5),
        grid({NASTY: {NASTY: NASTY, "_b": 1}, "_b": {NASTY: 2, "_b": 3}}, title=NASTY, notes=[NASTY]),
    ):
        assert SHOWN in texts(figure)
        assert "_b" in [words.strip() for words in texts(figure)]
        for words in [figure.alt, *texts(figure)]:
            assert words == one_line(words) or words == " _b"


@pytest.mark.parametrize("draw", [*OF_A_TRACE, lambda trace, title: bars({"a": 1}, title=title)])
def test_a_title_replaces_the_default_one(draw: Callable[..., Figure]) -> None:
    """It stands in the picture and begins the words."""
    figure = draw(CRASH, title="My title")
    assert "My title" in texts(figure)
    assert figure.alt.startswith("My title")


ROOT = Path(__file__).parents[2]
_DRAW = """
from tests.lab.test_figures import every_figure
from hashlib import sha256
print(sha256("".join(figure.svg for figure in every_figure()).encode()).hexdigest())
"""


def test_the_bytes_are_the_same_in_every_process() -> None:
    """The order of sets and dictionaries of strings, which differs between processes, does not show."""
    hashes = {
        subprocess.run(
            [sys.executable, "-c", _DRAW],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    assert len(hashes) == 1


def test_the_users_own_settings_do_not_matter() -> None:
    """A dark style or another font in the notebook changes nothing, and stays as it was."""
    mine: dict[Any, Any] = {
        "axes.edgecolor": "white",
        "axes.grid": True,
        "figure.dpi": 300,
        "font.family": ["serif"],
        "hatch.color": "red",
        "legend.shadow": True,
        "lines.marker": "x",
        "patch.force_edgecolor": True,
        "text.color": "white",
        "xtick.top": True,
    }
    before = [figure.svg for figure in drawn()]
    with matplotlib.rc_context(mine):
        assert [figure.svg for figure in every_figure()] == before
        assert matplotlib.rcParams["text.color"] == "white"


def test_figures_drawn_in_several_threads_are_the_same() -> None:
    """Matplotlib's settings are global; the figures take turns."""
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: sequence(CRASH).svg, range(12)))) == 1


@pytest.mark.parametrize("draw", OF_A_TRACE)
def test_a_thousand_events_are_drawn_well_within_a_slider_step(draw: Callable[[Trace], Figure]) -> None:
    """In less than four times what axes alone take, some 20 ms on a quiet machine.

    The two are timed in turns, since whatever else the machine does slows both.
    """

    def spent(draw: Callable[[], object]) -> float:
        begin = time.process_time()
        draw()
        return time.process_time() - begin

    @drawing()
    def axes_alone() -> Figure:
        canvas = Canvas("Axes", 100)
        canvas.axes(50, canvas.top, 500, 100)
        return canvas.picture("")

    assert len(MANY) > 1000
    draw(MANY)
    times = [(spent(lambda: draw(MANY)), spent(axes_alone)) for _ in range(5)]
    assert min(full for full, _ in times) < 4 * min(alone for _, alone in times)


def test_a_figure_saves_to_a_file(tmp_path: Any) -> None:
    """The file is the picture alone."""
    depth(CRASH).save(tmp_path / "depth.svg")
    assert ElementTree.parse(tmp_path / "depth.svg").getroot().get("role") == "img"


# The sequence diagram


def test_a_crash_is_told_step_by_step() -> None:
    """Crash, lease over, second delivery, ack and stale ack each have a label of their own."""
    written = texts(sequence(CRASH))
    for label in (
        "worker-1 crashed",
        "lease over: order 17, ready again",
        "order 17, delivery 2",
        "ack order 17",
        "stale ack order 17",
        "28.6 s pass",
    ):
        assert label in written
    assert sequence(CRASH).alt == (
        "Message by message. Message sequence diagram of shop, orders, worker-1 and worker-2, from 0.0 s to "
        "32.5 s: 1 sent, 2 delivered, 1 of these delivered again, 1 acknowledged, 1 taken back because the "
        "lease was over, 1 stale. worker-1 crashed at 2.4 s."
    )


def test_messages_with_the_same_label_are_told_apart_by_id() -> None:
    """Two orders named "order" would be one to the reader."""
    sends = [(float(n), "sent", "orders", f"m{n}", "shop", {"label": "order"}) for n in (1, 2)]
    assert {"order m1", "order m2"} <= set(texts(sequence(trace_of(*sends))))


def test_a_dead_letter_and_its_replay_are_one_arrow_each() -> None:
    """What the dead-letter channel records about the same move is not drawn twice."""
    written = texts(sequence(DEAD))
    assert written.count("dead: order 17 (1 failure)") == 1
    assert written.count("replay of order 17") == 1
    assert written.count("order 17") == 3  # sent, delivered, and delivered to the operator


def test_a_link_is_an_arrow_and_a_loss_is_labelled() -> None:
    """The link has no lifeline; its messages go from the sender to the channel."""
    written = texts(sequence(LINK))
    assert "shop to orders" not in written
    assert "lost: order 2" in written
    assert "1 lost on the way" in sequence(LINK).alt


def test_a_long_trace_is_cut_and_says_so() -> None:
    """The note counts what is shown and how far it goes, in the picture and in the words."""
    figure = sequence(MANY, max_events=10)
    (note,) = re.findall(r"Cut here: \d+ of 1,001 events shown, until [\d.]+ s of 43\.15 s\.", figure.alt)
    assert note in texts(figure)


def test_messages_and_a_time_window_can_be_chosen() -> None:
    """Only the chosen messages are drawn, and only events inside the window."""
    chosen = sequence(MANY, messages=["m3"])
    assert "order 3" in texts(chosen)
    assert "order 4" not in texts(chosen)
    assert "from 30.0 s to 30.55 s" in sequence(MANY, start=30.0, end=30.6, messages=["m100", "m101"]).alt


def test_more_participants_than_there_is_room_for_are_named_in_a_note() -> None:
    """Nobody disappears without a word."""
    trace = Trace(event for n in range(1, 15) for event in sold(n, float(n), f"worker-{n}"))
    assert "No room for worker-8, worker-9" in sequence(trace).alt


def test_rows_are_in_the_order_of_the_trace() -> None:
    """Work that ended earlier is drawn earlier, whatever begins before its end is drawn."""
    at = trace_of(
        *((time, kind, "worker", f"m{message}", "worker", {}) for time, kind, message in [
            (0.0, "started", 1), (1.0, "finished", 1), (4.0, "started", 2), (5.0, "finished", 2),
        ])
    )  # fmt: skip
    times = [words for words in texts(sequence(at)) if re.fullmatch(r"[\d.]+ s", words)]
    assert times == ["0.0 s", "1.0 s", "4.0 s", "5.0 s"]


@given(happenings())
def test_time_never_runs_backwards(trace: Trace) -> None:
    """In no trace, whoever works, crashes, sends and receives at the same time."""
    rows = read(trace, max_rows=100).rows
    assert [row.at for row in rows] == sorted(row.at for row in rows)


def test_those_who_do_most_come_first_when_there_is_no_room() -> None:
    """The orchestrator that speaks to all stays, even if it appears last."""
    calls = [
        event
        for n in range(1, 13)
        for event in (
            Event(0.0, "opened", f"service-{n}", "", f"service-{n}", {"role": "participant"}),
            Event(float(n), "effect", f"service-{n}", f"m{n}", f"service-{n}", {"effect": "done"}),
        )
    ]
    asks = [Event(20.0 + n, "sent", "commands", f"m{n}", "orchestrator", {}) for n in range(3)]
    figure = sequence(Trace([*calls, *asks]))
    assert "service-7, orchestrator and commands, from" in figure.alt
    assert "No room for service-8, service-9, service-10, service-11 and service-12." in figure.alt


def test_lifelines_can_be_chosen() -> None:
    """They are drawn in the order given; a note names the others, and unknown names are passed over."""
    trace = Trace(event for n in range(1, 15) for event in sold(n, float(n), f"worker-{n}"))
    figure = sequence(trace, lifelines=["worker-14", "orders", "nobody", "shop"])
    heads = [words for words in texts(figure) if words in ("shop", "orders") or words.startswith("worker")]
    assert heads == ["worker-14", "orders", "shop"]
    assert "order 14" in texts(figure)
    assert "Not chosen: worker-1, worker-2, worker-3, worker-4 and 9 more." in figure.alt


# The others


def test_the_timeline_says_work_and_down_time() -> None:
    """The words give the seconds of work and when somebody was down."""
    again = Event(40.0, "restarted", "worker-1", "", "worker-1", {})
    later = Event(50.0, "note", "", "", "", {"text": "the end"})
    figure = timeline(Trace([*CRASH, again, later]))
    said = "worked on 1 message for 1.4 s (3 % of the time), 1 stale attempt, down from 2.4 s to 40.0 s"
    assert f"worker-1: {said}." in figure.alt
    assert "is down" in texts(figure)


def test_the_depth_says_the_highest_number_the_capacity_and_the_rest() -> None:
    """The high-water mark is marked and said, with its time."""
    opened = Event(0.0, "opened", "orders", "", "", {"role": "channel", "capacity": 5})
    puts = [Event(n / 2, "accepted", "orders", f"m{n}", "shop", {}) for n in range(1, 4)]
    taken = Event(2.0, "delivered", "orders", "m1", "worker-1", {"lease": 1})
    figure = depth(Trace([opened, *puts, taken]))
    said = "orders: at most 3 ready at 1.5 s, 1 in flight, capacity 5, 2 left at the end"
    assert said in figure.alt
    assert said in texts(figure)


def test_a_depth_of_many_changes_is_a_small_picture_with_its_highest_point() -> None:
    """What the eye cannot tell apart is left out; a peak of one instant is not."""

    def change(number: int, kind: str) -> Event:
        return Event(number / 100, kind, "orders", f"m{number // 2}", "", {"lease": None})

    calm = [change(number, "delivered" if number % 2 else "accepted") for number in range(40_000)]
    peak = [Event(200.0, "accepted", "orders", f"p{n}", "", {}) for n in range(500)]
    gone = [Event(200.001, "delivered", "orders", f"p{n}", "", {"lease": None}) for n in range(500)]
    figure = depth(Trace(sorted([*calm, *peak, *gone], key=lambda event: event.at)))
    assert len(figure.svg) < 80_000
    heights = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+) *\n", max(_paths(figure), key=len))]
    assert min(heights) < max(heights) - 80  # the peak is drawn, over a buffer that is nearly empty


def _paths(figure: Figure) -> list[str]:
    return re.findall(r'<path d="([^"]+)"', figure.svg)


def test_a_resting_message_still_waits() -> None:
    """Handed back with a delay: in flight no more, and still to be done."""
    resting = Trace(e for e in DEAD if e.at < 0.1 or e.kind == "nacked")
    ready = Trace([*resting, Event(2.0, "returned", "orders", "m1", "", {})])
    assert "1 left at the end" in depth(resting).alt
    assert "at most 1 ready at 0.0 s, 1 in flight, 1 left at the end" in depth(ready).alt


def test_the_depth_of_chosen_channels_leaves_out_the_others() -> None:
    """`where` is a name or several."""
    assert "orders.dead" in depth(DEAD).alt
    assert "orders.dead" not in depth(DEAD, where="orders").alt


def test_counters_count_and_leave_the_dead_letters_apart() -> None:
    """A message in the dead letters is not accepted twice."""
    assert counters(DEAD).alt == "Counted so far. By 9.0 s: 2 accepted, 1 delivered and 1 dead."
    assert "1 lost" in counters(LINK).alt


def test_waiting_times_run_from_accepted_to_first_delivered() -> None:
    """A redelivery is no second wait; a replay is a wait of its own."""
    assert waiting_times(CRASH) == [1.0]
    assert "Of 1 message, half waited at most 1.0 s" in latency(CRASH).alt


@pytest.mark.parametrize(("share", "value"), [(0.5, 10.0), (0.95, 19.0), (1.0, 20.0), (0.01, 1.0)])
def test_a_quantile_is_a_value_that_occurred(share: float, value: float) -> None:
    """The smallest value that the share does not exceed."""
    assert quantile([float(n) for n in range(1, 21)], share) == value


def test_bars_write_each_value_and_refuse_what_is_no_length() -> None:
    """A negative bar would point the wrong way."""
    figure = bars(
        {"worker-1": 1200, "worker-2": 0.5}, unit="messages", title="Handled", highlight=["worker-2"]
    )
    assert figure.alt == "Handled: worker-1 1,200 messages and worker-2 0.5 messages."
    with pytest.raises(ValueError, match="'worker-2' has -1"):
        bars({"worker-2": -1})


@pytest.mark.parametrize(("unit", "one"), [("orders", "1 order"), ("packed", "1 packed"), ("ms", "1 ms")])
def test_one_of_a_bars_unit_is_singular(unit: str, one: str) -> None:
    """A symbol stays as it is."""
    assert f"a {one} and b 2 {unit}" in bars({"a": 1, "b": 2}, unit=unit).alt


def test_the_name_of_a_bar_that_stands_out_is_in_the_picture() -> None:
    """It is bold, and bold letters are wider."""
    name = "version 3: FutureVersion"
    svg = bars({"version 1: read": 4, name: 4}, highlight=[name]).svg
    (x,) = re.findall(rf'<text[^>]*? x="([\d.]+)"[^>]*>{name}<', svg)
    assert float(x) >= width_of(name, bold=True)


def test_lines_say_their_ends_and_the_marked_values() -> None:
    """Between two points the marked value lies on the line."""
    figure = lines(
        {"direct": [(2, 2), (20, 380)], "hub": [(2, 4), (20, 40)]}, x="systems", y="links", mark=11
    )
    assert "direct goes from 2 to 380 and hub goes from 4 to 40, for systems from 2 to 20" in figure.alt
    assert "At 11 systems: direct 191, hub 22." in figure.alt
    with pytest.raises(ValueError, match="at most 6 lines"):
        lines({str(n): [(0, 0)] for n in range(7)})


def test_a_grid_says_its_rows_and_what_stands_out() -> None:
    """A reader who sees no colours learns the same."""
    figure = grid(
        {"queue": {"lost": 0, "lag": 19.9}, "topic": {"lost": 20, "lag": "-"}},
        title="Ways",
        highlight=[("topic", "lost")],
    )
    assert figure.alt.strip() == "Ways. queue: lost 0, lag 19.9; topic: lost 20 (marked), lag -."
    with pytest.raises(ValueError, match="at least one row"):
        grid({})


def test_text_is_cut_to_its_room() -> None:
    """At the end, or in the middle for names that end in a number."""
    assert fit("short", 100) == "short"
    assert fit("a very long name indeed", 60).endswith("…")
    assert fit("warehouse-worker-12", 60, middle=True).endswith("12")
    assert width_of(fit("a very long name indeed", 60)) <= 60


def test_numbered_names_are_sorted_by_number_within_their_places() -> None:
    """Others stay where they first appeared."""
    assert by_number(["shop", "worker-10", "orders", "worker-2"]) == [
        "shop",
        "worker-2",
        "orders",
        "worker-10",
    ]


def test_outcomes_say_how_each_run_of_each_row_ended() -> None:
    """In words too, and an ending that has no sign is refused."""
    figure = figures.outcomes({"one": ["right", "lost"], "two": ["right"]}, {"right": "·", "lost": "✗"})
    assert figure.alt == "How each run ended. one: right 1 and lost 1; two: right 1."
    assert figure.svg.count("✗") == 2  # in the key and in the row
    with pytest.raises(ValueError, match="lost"):
        figures.outcomes({"one": ["lost"]}, {"right": "·"})
