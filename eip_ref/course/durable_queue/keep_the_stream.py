"""Choose what to keep

Choose · easy · 1 point · 6 minutes

Answer: def keep(stream)
Called: Your `keep(stream)` for each of six streams, and then forty days of that stream, kept as you chose.
    On the last day somebody comes who reads it from the beginning, as its text says.
Promised: Whoever reads on the last day finds what the stream's text says, and no effect happens a second
    time.
Hint: Two questions for each stream: does anybody read it again? And what of the past does that reader
    need?
Hint: Work that is done is not read again: a queue. Of levels the last one per key is enough, of changes it
    is not. An age limit is right when nobody needs what is older.
Hint: Only the audit and the changes of stock need all of it. Prices and addresses are levels. Clicks are
    read for a week. E-mails are work.
Why: A queue forgets what is done, so nothing is sent again. A log of changes or of facts keeps all. A log
    of levels may be compacted. What is only read for a week may be kept for a week.

sent-again: E-mails were sent a second time. Whoever reads the log from the beginning does all its work again.
nothing-to-read: The late reader found nothing. A queue has forgotten what others have acked.
sum-is-wrong: The changes do not add up. The last change of a key is not the sum of all its changes.
past-is-gone: What was asked for was dropped. It was older than the log keeps, or a later message of its key
    has replaced it; and nobody is told.
needless-past: Everything is kept, and nobody needs it. The file grows each day with what is never read.
no-such-choice: That is no choice here. Return "queue", "all", "week" or "last per key".
"""

from __future__ import annotations

import anyio.lowlevel

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "one_stream"]

DAYS = 40
WEEK = 7
CHOICES = ("queue", "all", "week", "last per key")

Entry = tuple[int, str, int]  #: the day, the key, the value
Entries = list[Entry]


def _all(entries: Entries) -> object:
    return entries


def _of_the_week(entries: Entries) -> object:
    return [entry for entry in entries if entry[0] > DAYS - WEEK]


def _last(entries: Entries) -> object:
    return {key: value for _, key, value in entries}


def _sum(entries: Entries) -> object:
    return {key: sum(value for _, other, value in entries if other == key) for _, key, _ in entries}


STREAMS = {  # what the late reader makes of it, and the mistakes of keeping too little, too much
    "e-mails to send": None,
    "clicks of the last week": _of_the_week,
    "the audit": _all,
    "changes of stock": _sum,
    "prices": _last,
    "addresses of customers": _last,
}


def _kept(entries: Entries, choice: str) -> Entries:
    """The entries that are still there on the last day. A queue has been read and acked."""
    if choice == "queue":
        return []
    if choice == "week":
        return [entry for entry in entries if entry[0] > DAYS - WEEK]
    if choice == "last per key":
        return list({entry[1]: entry for entry in entries}.values())
    return entries


def _mistake(stream: str, choice: str) -> str:
    entries = [(day, ("tea", "cake", "milk")[day % 3], day % 5 - 3) for day in range(1, DAYS - 2)]
    entries += [(day, "tea", day % 5 - 3) for day in range(DAYS - 2, DAYS + 1)]
    entries.insert(0, (1, "honey", 4))  # and never again
    kept, read = _kept(entries, choice), STREAMS[stream]
    if read is None:
        return "sent-again" if kept else ""
    if not kept:
        return "nothing-to-read"
    if read(kept) != read(entries):
        return "sum-is-wrong" if choice == "last per key" and read is _sum else "past-is-gone"
    return "needless-past" if choice == "all" and read in (_last, _of_the_week) else ""


async def one_stream(keep: kit.Answer, stream: str, seed: int) -> None:
    """Keep one stream for forty days as it was chosen, and let somebody read it then."""
    await anyio.lowlevel.checkpoint()
    choice = keep(stream)
    mistake = _mistake(stream, choice) if choice in CHOICES else "no-such-choice"
    record(Kind.NOTE, stream, text=f"{stream}: {choice}", chosen=str(choice), mistake=mistake)


def judge(trace: Trace) -> kit.Symptoms:
    for stream in STREAMS:
        for note in trace.filter(Kind.NOTE, where=stream):
            if note.data["mistake"]:
                words = f"For “{stream}” you chose {note.data['chosen']!r}."
                yield kit.seen(note.data["mistake"], words, [note])


EXERCISE = kit.exercise(
    __name__, __doc__, kit.cases(one_stream, lambda seed: STREAMS, judge), judge, seeds=(1,)
)
