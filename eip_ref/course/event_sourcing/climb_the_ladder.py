"""Climb the ladder

Complete · medium · 3 points · 10 minutes

Answer: def upcast(body, version)
Called: Your `upcast(body, version)` on 300 stored bodies of sales, of the versions 1, 2 and 3.
Promised: You return the body as version 3 would have it, to the cent. The stored body stays as it is.
Hint: There are two steps, from 1 to 2 and from 2 to 3. Which bodies need which of them?
Hint: 19.99 times 100 is 1998.9999999999998 for a computer. And a body of version 2 may know its currency.
Hint: If `version` is 1: a new dictionary without `euros` and with `"cents": round(body["euros"] * 100)`.
    Then, if it was 1 or 2: `{"currency": "EUR", **body}`.
Why: Each step makes a new body from the one before, and they are put one behind the other, so a body of any
    version climbs from where it stands. What the old body says is kept; only what it could not say is added.

changes-the-stored: The body that was given is another one now. It is the stored one, and the next reader gets
    what you have left.
loses-a-cent: A price is a cent off. What looks like 19.99 is a little less than that in a computer, and to
    cut is not to round.
no-whole-cents: The cents are no whole number. `round(x)` gives one; `round(x, 0)` and a product with a
    price in euros give another kind of number, which other programs need not take.
overwrites-the-currency: A currency was replaced. Some bodies of version 2 know their own, and what a fact
    says is not for an upcaster to change.
stops-half-way: A body is not in the schema of version 3. Whoever is two steps below has to climb both.
loses-a-field: A field is gone that is the same in all versions. Nobody can bring it back.
no-body: What came back is no body. It has to be a dictionary, for each of the three versions.
stumbles (raised): An error came out. Each of the three versions is in the log, and will be for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "old_bodies"]

BODIES = 300
TEAS = ("Assam", "Darjeeling", "Sencha")
BEGIN = ((1, 19.99, ""), (1, 0.29, ""), (2, 12.5, ""), (2, 8.2, "CHF"), (3, 9.0, "CHF"))


def right(body: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The body in version 3."""
    cents = round(body["euros"] * 100) if version == 1 else body["cents"]
    return {"tea": body["tea"], "cents": cents, "currency": body.get("currency", "EUR")}


def a_body(version: int, euros: float, currency: str, tea: str) -> dict[str, Any]:
    """A body as the program of this version has written it."""
    price = {"euros": euros} if version == 1 else {"cents": round(euros * 100)}
    named = {"currency": currency or "EUR"} if currency or version == 3 else {}
    return {"tea": tea, **price, **named}


async def old_bodies(upcast: kit.Answer, seed: int) -> None:
    """Let it turn stored bodies into those of today, until one is wrong."""
    chance = Random(seed)
    for number in range(BODIES):
        version, euros, currency = (
            BEGIN[number]
            if number < len(BEGIN)
            else (chance.choice((1, 1, 2, 3)), chance.randint(1, 5_000) / 100, "")
        )
        body = a_body(version, euros, currency, chance.choice(TEAS))
        given = deepcopy(body)
        answer = upcast(given, version)
        said = dict(answer) if isinstance(answer, Mapping) else None
        whole = said is not None and type(said.get("cents")) is int
        if said != right(body, version) or not whole or given != body:
            facts: dict[str, Any] = {
                "version": version,
                "body": body,
                "said": None if said is None else _plain(said),
                "right": right(body, version),
            }
            text = f"version {version}, {body} → {answer}"
            record(Kind.NOTE, "upcast", text=text[:300], changed=given != body, **facts)
            if number >= len(BEGIN):
                break
    await anyio.sleep(1)
    kit.write_down(bodies=BODIES)


def _plain(said: Mapping[Any, Any]) -> dict[str, Any]:
    fine = (int, float, str)
    return {str(name): value if isinstance(value, fine) else repr(value) for name, value in said.items()}


def judge(trace: Trace) -> kit.Symptoms:
    kit.facts(trace)
    for note in trace.filter(Kind.NOTE, where="upcast"):
        said, really = note.data["said"], note.data["right"]
        words = f"a body of version {note.data['version']}, {note.data['body']}, became {said}."
        if note.data["changed"]:
            yield kit.seen("changes-the-stored", words, [note])
        elif said is None:
            words = f"for a body of version {note.data['version']} no dictionary came back."
            yield kit.seen("no-body", words, [note])
        elif said.get("tea") != really["tea"]:
            yield kit.seen("loses-a-field", words, [note])
        elif said.keys() != really.keys():
            yield kit.seen("stops-half-way", words, [note])
        elif said["currency"] != really["currency"]:
            yield kit.seen("overwrites-the-currency", words, [note])
        else:
            whole = type(said["cents"]) is int
            yield kit.seen("loses-a-cent" if whole else "no-whole-cents", words, [note])


EXERCISE = kit.exercise(__name__, __doc__, kit.play(old_bodies), judge)
