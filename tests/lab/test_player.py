"""The player: what it claims about a trace, worked out in Python and checked without a browser."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Faults
from eip_ref.lab.player import Player, player
from eip_ref.lab.replay import Mark, State
from eip_ref.lab.scene import Box, beats, boxes, scene
from eip_ref.lab.wording import caption, describe
from eip_ref.message import Message
from eip_ref.message_queue import DeadLetterPolicy, MessageQueue, Worker, replay
from eip_ref.trace import Event, Kind, Trace, acting, record, whoami

JAVASCRIPT = str(Player._esm)


def event(at: float, kind: str, where: str, message: str = "", who: str = "", **data: Any) -> Event:
    return Event(at, kind, where, message, who, data)


def queue_trace(*, ack: str = "last", workers: int = 2, crash: bool = True, work: float = 1.0) -> Trace:
    """Twelve orders, of which one is poison; the first worker crashes and comes back."""

    async def handle(message: Message) -> None:
        await anyio.sleep(work)
        if message.body == "order 4":
            raise ValueError("no such item")
        record(Kind.EFFECT, whoami(), message.id, effect="charged card")

    async def scenario() -> None:
        faults, crashes = Faults(), (Crash(at=2.5, restart_after=2.0),) if crash else ()
        policy = DeadLetterPolicy(max_failures=2)
        async with (
            MessageQueue("orders", lease=3, policy=policy) as queue,
            anyio.create_task_group() as group,
        ):
            for number in range(1, workers + 1):
                run, dies = Worker(queue, handle, ack=ack).run, crashes if number == 1 else ()
                group.start_soon(faults.participant(f"worker-{number}", run, crashes=dies).run)
            with acting("shop"):
                for number in range(1, 13):
                    await queue.put(Message(f"order {number}"))
                    await anyio.sleep(0.4)
            await anyio.sleep(12)
            assert queue.dead_letters is not None
            await replay(queue.dead_letters, queue)
            queue.close()

    return simulate(scenario)


def moments(trace: Trace) -> Iterator[tuple[Event, list[tuple[str, str, State]]]]:
    """After each event: the message, home and state of each token, as the browser replays them."""
    shown = scene(trace)
    now: dict[int, State] = {}
    for index, happened in enumerate(trace):
        now |= {move[1]: State(move[3]) for move in shown["moves"] if move[0] == index}
        yield (
            happened,
            [
                (shown["messages"][message][0], shown["boxes"][home][0] if home >= 0 else "", now[token])
                for token, (message, home) in enumerate(shown["tokens"])
                if token in now
            ],
        )


def places(found: list[Box]) -> dict[str, tuple[int, int]]:
    return {box.name: (box.column, box.row) for box in found}


def test_senders_stand_left_receivers_right_and_dead_letters_below_their_channel() -> None:
    """The picture reads from left to right."""
    assert places(boxes(queue_trace())) == {
        "shop": (0, 0),
        "orders": (1, 0),
        "orders.dead": (1, 1),
        "worker-1": (2, 0),
        "worker-2": (2, 1),
    }


def test_twelve_receivers_each_have_a_place_of_their_own() -> None:
    """No two boxes lie on each other, and all receivers stand in one column."""
    found = places(boxes(queue_trace(workers=12)))
    assert len(set(found.values())) == len(found) == 15
    assert {found[f"worker-{n}"][0] for n in range(1, 13)} == {2}


def test_an_idle_receiver_stands_with_the_others() -> None:
    """Whoever has not received anything yet is expected to."""
    trace = Trace(
        [
            event(0, "opened", "idle", role="participant"),
            event(0, "sent", "orders", "m1", "shop"),
            event(0, "delivered", "orders", "m1", "worker"),
        ]
    )
    assert places(boxes(trace))["idle"][0] == places(boxes(trace))["worker"][0]


def test_a_reply_channel_stands_between_the_two_who_use_it() -> None:
    """What would close a circle goes back to the left, not to a column of its own on the right."""
    trace = Trace(
        [
            event(0, "sent", "requests", "m1", "shop"),
            event(1, "delivered", "requests", "m1", "billing"),
            event(2, "sent", "replies", "m2", "billing"),
            event(3, "delivered", "replies", "m2", "shop"),
        ]
    )
    found = places(boxes(trace))
    assert found["shop"][0] < found["requests"][0] == found["replies"][0] < found["billing"][0]


def test_a_link_stands_before_the_channel_that_it_leads_to() -> None:
    """A message that came over a link is handed to the channel by the link."""
    trace = Trace(
        [
            event(0, "sent", "net", "m1", "shop"),
            event(1, "arrived", "net", "m1"),
            event(1, "sent", "orders", "m1", "shop"),
            event(1, "delivered", "orders", "m1", "worker"),
        ]
    )
    assert [places(boxes(trace))[name][0] for name in ("shop", "net", "orders", "worker")] == [0, 1, 2, 3]


def test_columns_that_are_given_are_used() -> None:
    """Unknown names are passed over, forgotten boxes come last."""
    found = boxes(queue_trace(), [["worker-1", "nobody"], ["orders"], ["shop"]])
    assert places(found)["worker-1"] == (0, 0)
    assert places(found)["shop"] == (2, 0)
    assert places(found)["worker-2"][0] == 3


@pytest.mark.parametrize("ack", ["first", "last"])
def test_tokens_are_conserved_at_every_event(ack: str) -> None:
    """Each accepted message is one token of its queue: ready, in flight, acked, dead or dropped."""
    settled = {State.READY, State.DELAYED, State.IN_FLIGHT, State.ACKED, State.DEAD, State.DROPPED}
    accepted = taken_back = 0
    for happened, tokens in moments(queue_trace(ack=ack)):
        accepted += happened.kind == Kind.ACCEPTED and happened.where == "orders"
        taken_back += happened.kind == Kind.REPLAYED
        states = Counter(state for _, home, state in tokens if home == "orders")
        on_the_way = states[State.SENT]
        assert sum(states[s] for s in settled) + on_the_way >= accepted - taken_back
        assert not on_the_way or happened.kind in (Kind.SENT, Kind.REPLAYED)
    assert sum(states.values()) == 12


def test_in_flight_tokens_are_those_under_a_lease() -> None:
    """The picture agrees with a count of the trace at every event."""
    flying = 0
    for happened, tokens in moments(queue_trace()):
        if happened.where == "orders":
            flying += happened.kind == Kind.DELIVERED
            flying -= happened.kind in (Kind.ACKED, Kind.NACKED, Kind.EXPIRED)
        assert sum(state == State.IN_FLIGHT for _, _, state in tokens) == flying


def test_a_worker_whose_lease_is_over_is_seen_to_work_on() -> None:
    """The message is ready again, and a second picture of it stays where the work goes on."""
    late = [
        tokens
        for happened, tokens in moments(queue_trace(work=3.5, crash=False))
        if happened.kind == Kind.RETURNED and happened.message == "m1"
    ]
    assert ("m1", "orders", State.READY) in late[0]
    assert ("m1", "", State.GHOST) in late[0]


def test_a_crash_after_the_ack_shows_the_message_as_lost() -> None:
    """It was acknowledged, so nobody will try again: the picture and the caption say so."""
    trace = queue_trace(ack="first")
    crashed = next(i for i, e in enumerate(trace) if e.kind == Kind.CRASHED)
    lost = [message for message, _, state in list(moments(trace))[crashed][1] if state is State.LOST]
    assert f"{lost[-1]} is lost: nobody will try it again" in scene(trace)["say"][crashed]


def test_a_message_without_a_lease_stays_with_its_receiver_until_the_work_is_done() -> None:
    """One-way delivery: received and worked on, then done."""
    trace = Trace(
        [
            event(0, "sent", "invoices", "m1", "shop"),
            event(0, "accepted", "invoices", "m1", "shop"),
            event(1, "delivered", "invoices", "m1", "billing", lease=None),
            event(1, "started", "billing", "m1", "billing"),
            event(2, "finished", "billing", "m1", "billing"),
        ]
    )
    assert [tokens[0][2].name for _, tokens in moments(trace)] == [
        "SENT",
        "READY",
        "RECEIVED",
        "RECEIVED",
        "DONE",
    ]


def test_each_receiver_of_a_published_message_has_a_token_of_its_own() -> None:
    """Two received it, so two are seen and counted."""
    trace = Trace(
        [
            event(0, "sent", "news", "m1", "shop"),
            event(0, "accepted", "news", "m1", "shop"),
            event(1, "delivered", "news", "m1", "billing"),
            event(1, "delivered", "news", "m1", "stock"),
        ]
    )
    assert list(moments(trace))[-1][1] == [("m1", "news", State.DONE)] * 2


def test_an_empty_trace_is_a_scene_too() -> None:
    """Before anything has happened there is nothing to see, and no error."""
    assert scene(Trace(()))["boxes"] == []


def test_beats_never_go_back_and_end_within_45_seconds() -> None:
    """An hour in which nothing happens is not shown in full."""
    trace = Trace([event(t, "note", "", text="") for t in (0, 0, 1, 3601, 3602)])
    shown = beats(trace)
    assert shown == sorted(shown)
    assert 4 <= shown[-1] <= 45


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_event_has_a_caption(kind: Kind) -> None:
    """Whatever is recorded can be said in words, with whatever data is missing."""
    says = caption(event(1, kind, "orders", "m7", "worker-2"), "order 7")
    assert says or kind is Kind.NOTE
    assert "{" not in says


def test_a_caption_says_which_delivery_it_is() -> None:
    """A second delivery is worth saying, a first one is not."""
    first, second = (event(1, "delivered", "orders", "m7", "worker-2", deliveries=n) for n in (1, 2))
    assert caption(first) == "worker-2 takes m7 from orders"
    assert caption(second, "order 7") == "worker-2 takes order 7 (m7) from orders (delivery 2)"


def test_a_token_bears_the_label_of_its_message() -> None:
    """What the sender called it, or else its id."""
    trace = Trace(
        [event(0, "sent", "orders", "m1", "shop", label="order 17"), event(0, "sent", "orders", "m2", "shop")]
    )
    assert scene(trace)["messages"] == [["m1", "order 17"], ["m2", "m2"]]


def test_a_trace_is_described_in_words() -> None:
    """Who takes part and how it ended, for those who do not see the picture."""
    words = describe(queue_trace(crash=False))
    assert words.startswith("12 messages from shop through orders to worker-1 and worker-2 in ")
    assert "4 failed attempts" in words


def test_text_that_a_picture_cannot_hold_is_shown_on_one_line() -> None:
    """In names, labels and captions, and in the words for who does not see the picture."""
    nasty = "Dear Ann,\n\tyour tea\x00 is ready \ud800\u202e"
    trace = Trace(
        [
            event(0, "opened", nasty, "", nasty, role="channel"),
            event(0, "sent", nasty, nasty, nasty, label=nasty),
            event(0, "refused", nasty, nasty, nasty, reason=nasty),
            event(1, "note", "", text=nasty),
        ]
    )
    shown = json.dumps([scene(trace), describe(trace)], ensure_ascii=False)
    assert "Dear Ann, your tea� is ready ��" in shown
    assert shown.isprintable()


def test_equal_traces_give_the_same_bytes() -> None:
    """The scene is plain JSON, without anything of the machine or the moment."""
    assert json.dumps(scene(queue_trace())) == json.dumps(scene(queue_trace()))


def test_the_browser_has_the_same_states_and_marks() -> None:
    """They travel as numbers, so both sides must count alike."""
    states = re.search(r"const STATES = \[(.*?)\]", JAVASCRIPT, re.S)
    marks = re.search(r"const MARK = \{(.*?)\}", JAVASCRIPT)
    assert states
    assert marks
    assert re.findall(r"\w+", states[1]) == [state.name for state in State]
    assert re.findall(r"(\w+): (\d+)", marks[1]) == [(mark.name, str(int(mark))) for mark in Mark]


def test_a_receiver_that_is_away_is_marked_until_it_is_back() -> None:
    """On the receiver's own box, as the channel's facts say, and in words."""
    trace = Trace(
        (
            event(0, "delivered", "invoices", "m1", "billing"),
            event(1, "state", "invoices", who="billing", was="here", now="away"),
            event(3, "state", "invoices", who="billing", was="away", now="here"),
            event(4, "state", "breaker", was="closed", now="open"),
        )
    )
    made = scene(trace)
    billing = [box[0] for box in made["boxes"]].index("billing")
    assert made["marks"] == [[1, billing, Mark.AWAY], [2, billing, Mark.HERE]]
    assert made["say"][1:3] == ["billing goes away from invoices", "billing is back at invoices"]


def test_the_display_holds_the_widget_a_figure_and_a_sentence() -> None:
    """Where there is no kernel, the figure and the sentence remain; they are the same in every run."""
    (first, _), (second, _) = (player(queue_trace())._repr_mimebundle_() for _ in range(2))
    view = "application/vnd.jupyter.widget-view+json"
    assert {view, "text/html", "text/plain"} == set(first)
    assert {k: v for k, v in first.items() if k != view} == {k: v for k, v in second.items() if k != view}


def test_another_trace_plays_in_the_same_place() -> None:
    """The widget stays, with its model; only what it shows changes."""
    widget = player(queue_trace())
    model, before = widget.model_id, widget.scene
    widget.show(queue_trace(workers=3))
    assert widget.model_id == model
    assert widget.scene != before
    assert "worker-3" in widget.description


def test_a_speed_of_zero_is_refused() -> None:
    """With an error that says what to do."""
    with pytest.raises(ValueError, match="speed must be more than 0"):
        player(queue_trace(), speed=0)
