"""Share the call

Complete · hard · 5 points · 20 minutes

Answer: class Door() with async call
Called: A new `Door()` on each of six days, and `await door.call(user, path, read)` by the tabs of Ann and
    Ben, many at a time. On one day a call fails, and on one the tab that asked first is closed while it
    waits.
Promised: Whoever asks for the same as another tab of the same user that still waits shares its call.
    Everybody gets what `read` of that user returned, or its error. When the first tab is closed, the others
    have their answer within the time of another call. Nothing is kept: whoever asks after the end gets a new
    answer.
Hint: What must two tabs have in common, so that one answer is right for both?
Hint: Write down for the followers how the leader's call ended: with an answer, with an error, or not at
    all, because the leader was closed. What do they do in the third case?
Hint: Keep a dictionary from (user, path) to an `anyio.Event` and a box. The leader fills the box with the
    answer or the `Exception`, and in a `finally` takes the entry out and sets the event. A follower that
    finds the box empty goes back to the beginning: in a loop, it looks for an entry again, or becomes the
    leader.
Why: The `finally` runs however the leader ends, so nobody waits for an event that nobody sets. An empty box
    says that there is no answer and no error, and one of the followers becomes the new leader.

no-answer: A tab got something that no call returned. Whoever shares a call gets its answer.
anothers-answer: A tab shows what was read for somebody else. It was quick, and there was no error.
no-sharing: Each tab made a call of its own. A hundred tabs are a hundred calls in the same instant.
waits-for-ever: Tabs wait for ever. The one that was to tell them has left.
closed-with-the-leader: Tabs that are open lost their answer when another one was closed. That it was first
    is their bad luck.
error-lost: An error did not reach everybody who shared the call. A tab that gets nothing, or something
    else, does not know that it may try again.
kept: An old answer was given again. Whoever asks after the end wants to know how it is now.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, working

__all__ = ["EXERCISE", "six_days", "tabs"]

TAKES, PATIENCE = 1.0, 20.0
EMPTY = "/orders"  #: where there is nothing to see


class Down(Exception):
    """The service behind the door fails."""


class Tab(NamedTuple):
    """A tab that asks at a time, and is closed after so many seconds."""

    user: str
    at: float = 0.0
    path: str = "/basket"
    closes: float = PATIENCE


class Day(NamedTuple):
    """The tabs of a day, and how many calls it may take at least and at most."""

    name: str
    tabs: tuple[Tab, ...]
    calls: tuple[int, int]
    fails: bool = False


def six_days(seed: int) -> list[Day]:
    """The days that the check plays."""
    chance = Random(seed)
    late = round(chance.uniform(0.2, 0.8), 2)
    many = chance.randrange(4, 9)
    return [
        Day("many tabs of Ann", (Tab("Ann"),) * many + (Tab("Ann", late),), (1, 1)),
        Day("Ann and Ben", (Tab("Ann"), Tab("Ben"), Tab("Ann", late), Tab("Ben", late)), (2, 2)),
        Day("two paths", (Tab("Ann"), Tab("Ann", path=EMPTY), Tab("Ann", late, EMPTY)), (2, 2)),
        Day("once more, later", (Tab("Ann"), Tab("Ann", late), Tab("Ann", 3.0), Tab("Ann", 3.0)), (2, 2)),
        Day("the call fails", (*(Tab("Ann"),) * 3, Tab("Ben"), Tab("Ann", 5.0)), (3, 3), fails=True),
        Day("the first tab is closed", (Tab("Ann", closes=late), *(Tab("Ann", 0.1),) * many), (1, 2)),
    ]


async def tabs(door_class: kit.Answer, day: Day, seed: int) -> None:
    """Play one day: each tab asks, and what it got is written down."""
    door, calls, got = door_class(), list[Any](), list[Any]()

    async def ask(number: int, tab: Tab) -> None:
        async def read() -> str | None:
            calls.append([tab.user, tab.path])
            answer = f"{tab.path} of {tab.user}, call {len(calls)}"
            with working("service", f"call {len(calls)}", branch=f"call {len(calls)} for {tab.user}"):
                await anyio.sleep(TAKES)
                if day.fails:
                    raise Down(answer)
            return None if tab.path == EMPTY else answer

        await anyio.sleep_until(tab.at)
        outcome = ["waits", ""]
        with anyio.CancelScope(deadline=tab.at + tab.closes):
            try:
                outcome = ["answer", await door.call(tab.user, tab.path, read)]
            except Down as error:
                outcome = ["error", str(error)]
            except NotImplementedError:
                raise  # the answer is not begun
            except Exception as error:
                outcome = ["other error", type(error).__name__]
        got.append([number, anyio.current_time(), outcome[0], str(outcome[1])])

    async with anyio.create_task_group() as group:
        for number, tab in enumerate(day.tabs):
            group.start_soon(ask, number, tab)
    kit.write_down(day=list(day), calls=calls, got=sorted(got))


def judge(trace: Trace) -> kit.Symptoms:
    for note in trace.filter(Kind.NOTE):
        facts = dict(note.data)
        day = Day(*facts["day"])
        for mistake, words in _faults(day, facts):
            yield kit.seen(mistake, f"On the day “{day.name}” {words}.", trace)


def _own(tab: Tab, day: Day) -> str:
    """The beginning of what the tab must get."""
    return "None" if tab.path == EMPTY and not day.fails else f"{tab.path} of {tab.user},"


def _faults(day: Day, facts: dict[str, Any]) -> list[tuple[str, str]]:
    found, calls, got = [], facts["calls"], {number: rest for number, *rest in facts["got"]}
    least, most = day.calls
    for number, tab in enumerate(Tab(*tab) for tab in day.tabs):
        at, how, value = got.get(number, (PATIENCE, "closed", ""))  # a cancellation leaves no word
        if tab.closes < PATIENCE:
            continue
        told = f"tab {number + 1}, of {tab.user},"
        expected = "error" if day.fails else "answer"
        if how == "waits":
            found.append(("waits-for-ever", f"{told} still waited after {PATIENCE:g} s"))
        elif how == "closed":
            found.append(("closed-with-the-leader", f"{told} was cancelled with another one"))
        elif how != expected:
            mistake = "error-lost" if day.fails else "closed-with-the-leader"
            found.append((mistake, f"{told} got {how} {value!r}"))
        elif not value.startswith(_own(tab, day)):
            mistake = "anothers-answer" if value.startswith("/") else "no-answer"
            if mistake == "no-answer" and any(Tab(*each).closes < PATIENCE for each in day.tabs):
                mistake = "closed-with-the-leader"
            found.append((mistake, f"{told} asked for {tab.path} and got “{value}”"))
        elif at < tab.at + TAKES / 2 and tab.at > 2:
            found.append(("kept", f"{told} asked at {tab.at:g} s and got “{value}” of before"))
        elif at > tab.at + 2.5 * TAKES:
            found.append(
                ("no-sharing", f"{told} had its answer after {at - tab.at:.1f} s: one after the other")
            )
    if len(calls) > most:
        found.append(("no-sharing", f"there were {len(calls)} calls, and {most} are enough"))
    if len(calls) < least:
        found.append(("kept", f"there was {len(calls)} call, and {least} were asked for"))
    return found


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(tabs, six_days, judge), judge)
