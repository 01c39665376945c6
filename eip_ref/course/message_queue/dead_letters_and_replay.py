"""Exercise: put poison orders aside after some failures, and send them back when the cause is mended."""

from __future__ import annotations

from collections.abc import Iterator

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play, require
from ...autograder.forms import a_class
from ...lab.wording import plural
from ...trace import Event, Kind, Trace
from .dead_letter_day import ERROR, LETTERS, MENDED, RETURNED, a_day_with_poison
from .shop import before, effects, name_of, ranked, seen, story, when

__all__ = ["DEAD_LETTERS_AND_REPLAY"]

BUSINESS = 40.0  #: seconds: when all the good orders must be packed

FOR_EVER = Mistake(
    "retries-for-ever",
    "A poison order was never put aside",
    "It fails each time, and it will fail the next time. Somebody has to stop trying and to keep the order "
    "where people can look at it.",
)
WRONG_COUNT = Mistake(
    "wrong-count",
    "Put aside after the wrong number of failures",
    "`limit` is the number of attempts that may fail. `lease.failures` counts the failures before this "
    "lease.",
)
LOST = Mistake(
    "ack-before-put",
    "An order was lost on its way between two queues",
    "After the ack one queue has forgotten it, and before the put the other does not know it. In between it "
    "exists nowhere but in a process that may die.",
)
OTHER_LETTER = Mistake(
    "rewritten-letter",
    "The dead letter is no longer the message that it was",
    "People look it up by its id, and the replayed message must be the one that was sent: the same id, body "
    "and headers.",
)
NO_REASON = Mistake(
    "no-reason",
    "The dead letter does not say why it died",
    "Somebody will find it weeks later. Without the error nobody knows what to mend.",
)
STOPS_THE_REST = Mistake(
    "poison-stops-the-rest",
    "Good orders had to wait for the poison ones",
    "One order that cannot be packed must not stop those that can.",
)
NOT_REPLAYED = Mistake(
    "not-replayed",
    "A dead letter did not come back",
    "The address book is mended, and the order still lies with the dead letters, or nowhere.",
)
OUT_OF_ORDER = Mistake(
    "replayed-out-of-order",
    "The dead letters came back in another order",
    "The one that died first was sent first. Whoever waited longest comes first.",
)
HANGS = Mistake(
    "replay-never-returns",
    "`replay` does not come back",
    "It waits for dead letters that do not come. The operator wants to know when all are on their way.",
)
MISTAKES = (
    OTHER_LETTER,
    LOST,
    FOR_EVER,
    WRONG_COUNT,
    NO_REASON,
    STOPS_THE_REST,
    HANGS,
    OUT_OF_ORDER,
    NOT_REPLAYED,
)


def judge(trace: Trace) -> list[Diagnosis]:
    labels = {e.message: str(e.data["label"]) for e in trace.filter(Kind.SENT, who="shop")}
    poison = [m for m in labels if any(e.at < MENDED for e in trace.filter(Kind.FAILED, message=m))]
    found = [
        *_lost(trace),
        *_for_ever(trace, poison),
        *_wrong_count(trace, poison),
        *_letters(trace, labels),
        *_waited(trace, [m for m in labels if m not in poison]),
        *_replayed(trace, poison),
    ]
    if not found:
        require(trace, Kind.CRASHED, "not both processes died.", at_least=2)
    return ranked(found, MISTAKES)


def _lost(trace: Trace) -> Iterator[Diagnosis]:
    for ack in trace.filter(Kind.ACKED):
        other = "orders" if ack.where == "orders.dead" else "orders.dead"
        taken = [e for e in before(trace, ack, Kind.ACCEPTED) if e.where == other]
        if ack.where == "orders.dead":
            died = [e for e in before(trace, ack, Kind.ACCEPTED) if e.where == "orders.dead"]
            taken = [e for e in taken if died and e.at > died[0].at]
        if not taken and not before(trace, ack, Kind.EFFECT):
            order = name_of(trace, ack.message)
            words = f"{order} was acknowledged in {ack.where} at {when(ack)}, and {other} did not have it."
            yield seen(LOST, words, story(trace, ack.message))


def _for_ever(trace: Trace, poison: list[str]) -> Iterator[Diagnosis]:
    letters = [e.data["body"] for e in trace.filter(Kind.NOTE, where=LETTERS)]
    for message in poison:
        failures = trace.filter(Kind.FAILED, message=message)
        if name_of(trace, message).partition(" (")[0] not in letters:
            words = f"{name_of(trace, message)} failed {plural(len(failures), 'time')} in {MENDED:.0f} s, "
            yield seen(FOR_EVER, f"{words}and was never put aside.", story(trace, message)[:16])


def _wrong_count(trace: Trace, poison: list[str]) -> Iterator[Diagnosis]:
    limit = next(e.data["limit"] for e in trace.filter(Kind.NOTE, where="address book"))
    for message in poison:
        letter = next(iter(trace.filter(Kind.NOTE, where=LETTERS, message=message)), None)
        if letter is None:
            continue
        failures = len(before(trace, letter, Kind.FAILED))
        if failures != limit:
            words = f"{name_of(trace, message)} was put aside at {when(letter)} "
            words += f"after {plural(failures, 'failure')}, and the limit was {limit}."
            yield seen(WRONG_COUNT, words, story(trace, message)[:16])


def _letters(trace: Trace, labels: dict[str, str]) -> Iterator[Diagnosis]:
    for letter in trace.filter(Kind.NOTE, where=LETTERS):
        body, headers = letter.data["body"], letter.data["headers"]
        order = labels.get(letter.message)
        if order != body or not {"customer", "gift"} <= set(headers):
            lacks = "lacks headers" if order == body else "has another body" if order else "has a new id"
            words = f"The dead letter {letter.message} (“{body}”) of {when(letter)} {lacks}."
            yield seen(OTHER_LETTER, words, story(trace, letter.message)[:16])
        elif ERROR not in headers.get("reason", ""):
            said = headers.get("reason")
            words = f"The dead letter of {name_of(trace, letter.message)} has the reason {said!r}."
            yield seen(NO_REASON, words, story(trace, letter.message)[:16])


def _waited(trace: Trace, good: list[str]) -> Iterator[Diagnosis]:
    for message in good:
        if not any(e.at < BUSINESS for e in effects(trace, message)):
            words = f"{name_of(trace, message)} is a good order and was not packed by {BUSINESS:.0f} s."
            yield seen(STOPS_THE_REST, words, story(trace, message))


def _replayed(trace: Trace, poison: list[str]) -> Iterator[Diagnosis]:
    returns = trace.filter(Kind.NOTE, where=RETURNED)
    if len(returns) < 2:
        moved = trace.filter(Kind.DELIVERED, Kind.ACKED, who="operator")
        yield seen(HANGS, "`replay` had not returned 15 s after it was called.", moved)
    for message in poison:
        if not effects(trace, message):
            words = f"{name_of(trace, message)} was not packed by {trace.end:.0f} s."
            yield seen(NOT_REPLAYED, words, story(trace, message)[-16:])
    for call in returns:
        for message in _ready_letters(trace, call):
            words = (
                f"`replay` returned at {when(call)}, and {name_of(trace, message)} still lay in orders.dead."
            )
            yield seen(NOT_REPLAYED, words, story(trace, message)[-16:])
    yield from _out_of_order(trace)


def _ready_letters(trace: Trace, call: Event) -> list[str]:
    """The dead letters that nobody had in hand when `replay` returned."""
    last: dict[str, str] = {}
    for event in trace.filter(Kind.ACCEPTED, Kind.DELIVERED, Kind.ACKED, Kind.RETURNED, where="orders.dead"):
        if event.at <= call.at:
            last[event.message] = event.kind
    return [message for message, kind in last.items() if kind in (Kind.ACCEPTED, Kind.RETURNED)]


def _out_of_order(trace: Trace) -> Iterator[Diagnosis]:
    died = list(dict.fromkeys(trace.messages(Kind.NOTE, where=LETTERS)))
    again = trace.filter(Kind.ACCEPTED, where="orders", test=lambda event: event.at >= MENDED)
    came = list(dict.fromkeys(again.messages()))
    if sorted(died) == sorted(came) and died != came:
        first, *_ = [letter for letter, back in zip(died, came, strict=True) if letter != back]
        words = f"{name_of(trace, first)} died before {name_of(trace, came[died.index(first)])}, "
        yield seen(OUT_OF_ORDER, f"{words}and came back after it.", again)


DEAD_LETTERS_AND_REPLAY = Exercise(
    name="message_queue/dead_letters_and_replay",
    title="Dead letters, and the way back",
    points=4,
    minutes=14,
    difficulty=3,
    kind="complete",
    answer="Desk",
    form=a_class("orders", "dead", "limit", methods=("work", "replay")),
    called=(
        "`Desk(orders, dead, limit).work(pack)` in a process of its own, on four orders. Two of them have "
        "no address: `pack` raises an error, until the address book is mended at 60 s. Then `Desk(orders, "
        "dead, limit).replay()` in another process, and once more half a minute later. Each of the two "
        "processes dies once, between its two steps of moving one order from queue to queue, and starts "
        "again. The limit is 2 or 3."
    ),
    promised=(
        "After `limit` failures an order is moved to `dead`, with its id, body and headers, and with the "
        "text of the error in the header `reason`. The good orders are packed meanwhile. `replay` moves all "
        "dead letters back, oldest first, and returns. No order is ever lost; one that was in the hands of a "
        "process that died may be packed twice."
    ),
    hints=(
        "Moving a message takes two steps, and the process may die between them. After which of the two "
        "orders of the steps is the message in no queue, and after which is it in both?",
        "`lease.failures` says how often the order failed before this time. Put a copy into the other queue "
        "first, and acknowledge then; the same in `replay`. `dead.receive(timeout=0)` raises `Empty` when no "
        "letter is left.",
        "In `except Exception as error:` if `lease.failures + 1 < self.limit`, nack; else make "
        '`lease.message.copy(headers={**lease.message.headers, "reason": str(error)})`, put it into '
        "`dead`, ack. In `replay`: `while True:` receive with `timeout=0`, on `Empty` return; put, then ack.",
    ),
    explanation=(
        "Put first, ack then: a crash between the two leaves the order in both queues, which is a repeat "
        "and no loss. The letter is a copy with one header more, so the replayed order is the one that was "
        "sent."
    ),
    run=play(a_day_with_poison),
    judge=judge,
    endings={"NoAddress": STOPS_THE_REST},
)
