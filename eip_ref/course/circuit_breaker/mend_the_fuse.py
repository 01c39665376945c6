"""Mend the fuse

Repair · hard · 5 points · 15 minutes

Answer: class Fuse(threshold, open_time) with ask, done
Called: Twelve scripts, each with a new `Fuse(threshold, open_time)`. A script asks for calls, and says
    later how they ended, in an order of its own.
Promised: Each `ask` gives a token or None as the five rules say.
Hint: Three things are missing: what happens between “open” and “closed”, what `done` must know of the call
    that it hears of, and a third verdict.
Hint: After the open time change to half-open, and let in one call. Number the changes of state, and give the
    number as the token. What has an old number changes nothing.
Hint: In `done`: an old token ends it; then, half-open: a success closes, a failure opens, and a neutral probe
    only makes its place free. Closed: a success sets the row to 0, a failure adds 1, a neutral call nothing.
Why: The token names the generation, so old news are known as such. Half-open holds one place, and each of
    the three verdicts makes it free in its own way: close, open, or next probe.

opens-too-late: Lets a call in that must be refused. At the threshold-th failure in a row it opens, and it
    stays open until the open time is over.
not-in-a-row: Opens although a success came in between. In a row means that a success begins anew.
counts-kept: Opens too early after it has closed. Closing begins with nothing counted.
never-tries-again: Does not try again after the open time. Nobody else will tell it that the service is
    well.
asking-prolongs: Whoever asks while it is open makes it stay open longer. With many customers it would never
    try again.
all-let-in: Lets in a second call while the probe is under way. Its result is not known yet, and the service
    may still be sick.
stays-half-open: Refuses after a good probe. One good probe closes, and then every call passes.
failed-probe-passes: Lets a call in right after a failed probe. It opens anew, for the whole open time.
stale-counts: Counts the result of a call from before. Such a token was given before the last change of state,
    and tells of another time.
neutral-counts: Takes a neutral call for a failure or for a success. It says nothing about the service, and
    leaves the row as it is.
neutral-probe: Takes a neutral probe for an answer. It neither opens nor closes; its place is free, for one
    call more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "a_script"]

GOOD, BAD, NEUTRAL = "success", "failure", "neutral"


class _Stop(Exception):
    """The fuse did something else than promised: the rest of the script would say nothing."""


class _Script:
    """A fuse that is played with, and what it must say."""

    def __init__(self, fuse: Any, threshold: int, open_time: float) -> None:
        self.threshold, self.open_time = threshold, open_time
        self._fuse, self._calls, self._notes = fuse, 0, 0
        self.step = 0.01  #: seconds from one step of the script to the next

    async def wait(self, share: float) -> None:
        """Let a share of the open time pass."""
        await anyio.sleep(share * self.open_time)

    async def ask(self, let_in: bool, mistake: str) -> tuple[int, Any]:
        """Ask for a call, which must be let in or not; otherwise it is this mistake."""
        await anyio.sleep(self.step)
        self._calls += 1
        token = self._fuse.ask(anyio.current_time())
        said = "let in" if token is not None else "refused"
        right = (token is not None) == let_in
        self._note(f"call {self._calls} asks: {said}", "" if right else mistake)
        if not right:
            raise _Stop
        return self._calls, token

    async def done(self, call: tuple[int, Any], verdict: str) -> None:
        await anyio.sleep(self.step)
        self._note(f"call {call[0]} is done: {verdict}", "")
        self._fuse.done(call[1], verdict, anyio.current_time())

    def _note(self, text: str, mistake: str) -> None:
        self._notes += 1
        told = f"{anyio.current_time():.2f} s: {text}"
        record(Kind.NOTE, "fuse", f"step {self._notes}", who="", text=told, mistake=mistake)

    async def calls(self, verdict: str, count: int, mistake: str) -> None:
        """Make calls one after the other. All must be let in."""
        for _ in range(count):
            await self.done(await self.ask(True, mistake), verdict)

    async def open(self) -> None:
        await self.calls(BAD, self.threshold, "not-in-a-row")

    async def probe(self) -> tuple[int, Any]:
        """Open it, let the open time pass, and ask for the probe."""
        await self.open()
        await self.wait(1.05)
        return await self.ask(True, "never-tries-again")


async def _in_a_row(it: _Script) -> None:
    await it.calls(BAD, it.threshold - 1, "not-in-a-row")
    await it.calls(GOOD, 1, "not-in-a-row")
    await it.calls(BAD, it.threshold - 1, "not-in-a-row")
    await it.calls(BAD, 1, "not-in-a-row")
    await it.ask(False, "opens-too-late")
    await it.wait(0.9)
    await it.ask(False, "opens-too-late")


async def _tries_again(it: _Script) -> None:
    await it.done(await it.probe(), GOOD)
    for _ in range(3):
        await it.ask(True, "stays-half-open")


async def _many_ask(it: _Script) -> None:
    await it.open()
    for _ in range(4):
        await it.wait(0.2)
        await it.ask(False, "opens-too-late")
    await it.wait(0.25)
    await it.ask(True, "asking-prolongs")


async def _one_probe(it: _Script) -> None:
    await it.probe()
    await it.ask(False, "all-let-in")
    await it.wait(0.3)
    await it.ask(False, "all-let-in")


async def _probe_fails(it: _Script) -> None:
    await it.done(await it.probe(), BAD)
    await it.ask(False, "failed-probe-passes")
    await it.wait(0.9)
    await it.ask(False, "failed-probe-passes")
    await it.wait(0.15)
    await it.ask(True, "never-tries-again")
    await it.ask(False, "all-let-in")


async def _nothing_counted(it: _Script) -> None:
    await it.done(await it.probe(), GOOD)
    await it.calls(BAD, it.threshold - 1, "counts-kept")
    await it.ask(True, "counts-kept")


async def _old_failures(it: _Script) -> None:
    slow = [await it.ask(True, "not-in-a-row") for _ in range(it.threshold)]
    await it.done(await it.probe(), GOOD)
    for call in slow:
        await it.done(call, BAD)
    await it.ask(True, "stale-counts")


async def _at_one_moment(it: _Script) -> None:
    it.step = 0.0
    slow = [await it.ask(True, "not-in-a-row") for _ in range(it.threshold)]
    await it.open()
    await it.wait(0.5)
    for call in slow:
        await it.done(call, BAD)
    await it.wait(0.55)
    await it.ask(True, "stale-counts")


async def _old_failure_while_half_open(it: _Script) -> None:
    slow = await it.ask(True, "not-in-a-row")
    probe = await it.probe()
    await it.done(slow, BAD)
    await it.done(probe, GOOD)
    await it.ask(True, "stale-counts")


async def _old_successes(it: _Script) -> None:
    first, second = [await it.ask(True, "not-in-a-row") for _ in range(2)]
    await it.open()
    await it.done(first, GOOD)
    await it.ask(False, "stale-counts")
    await it.wait(1.05)
    await it.ask(True, "never-tries-again")
    await it.done(second, GOOD)
    await it.ask(False, "stale-counts")


async def _neutral_calls(it: _Script) -> None:
    await it.calls(NEUTRAL, it.threshold + 1, "neutral-counts")
    await it.calls(BAD, it.threshold - 1, "neutral-counts")
    await it.calls(NEUTRAL, 2, "neutral-counts")
    await it.calls(BAD, 1, "neutral-counts")
    await it.ask(False, "neutral-counts")


async def _neutral_probe(it: _Script) -> None:
    await it.done(await it.probe(), NEUTRAL)
    second = await it.ask(True, "neutral-probe")
    await it.ask(False, "neutral-probe")
    await it.done(second, GOOD)
    await it.ask(True, "stays-half-open")


SCRIPTS: dict[str, Callable[[_Script], Any]] = {
    "failures in a row": _in_a_row,
    "a good probe": _tries_again,
    "many ask": _many_ask,
    "one probe": _one_probe,
    "a failed probe": _probe_fails,
    "closed again": _nothing_counted,
    "old failures": _old_failures,
    "all at one moment": _at_one_moment,
    "an old failure while half-open": _old_failure_while_half_open,
    "old successes": _old_successes,
    "neutral calls": _neutral_calls,
    "a neutral probe": _neutral_probe,
}


async def a_script(fuse_class: kit.Answer, script: str, seed: int) -> None:
    """Play one script with a new fuse."""
    chance = Random(seed)
    threshold, open_time = chance.randint(2, 4), float(chance.randint(5, 20))
    with contextlib.suppress(_Stop):
        await SCRIPTS[script](_Script(fuse_class(threshold, open_time), threshold, open_time))
    kit.write_down(script=script, threshold=threshold, open_time=open_time)


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    notes = trace.filter(Kind.NOTE, where="fuse")
    for note in notes:
        if note.data["mistake"]:
            words = (
                f"{facts['script']}, threshold {facts['threshold']}, open time {facts['open_time']:g} s. At "
            )
            yield kit.seen(note.data["mistake"], f"{words}{note.data['text']}.", notes)


EXERCISE = kit.exercise(
    __name__, __doc__, kit.cases(a_script, lambda seed: SCRIPTS, judge), judge, seeds=(1, 5)
)
