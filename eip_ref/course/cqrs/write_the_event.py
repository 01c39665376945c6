"""Write the event

Complete · easy · 2 points · 6 minutes

Answer: def event_text(row)
Called: Your `event_text(row)` on the rows of seven users, whose names are as people write them. A reader
    takes your text with `json.loads`.
Promised: The reader gets a dictionary with exactly `type`, `id` and `name`: "UserRegistered", and the
    user's own id and name, letter by letter.
Hint: Who writes the quotes around the name, and what if there is one in it?
Hint: A JSON writer knows how a quote, a backslash and a new line are written. What do you give it, so that
    it writes no more than was promised?
Hint: `json.dumps({"type": "UserRegistered", "id": row["id"], "name": row["name"]})`
Why: The writer of JSON writes every name so that a reader gets it back. The dictionary is made for the
    reader, so a new column in the table changes nothing for anybody.

not-json: This is no text in JSON. Its reader stops at it, and all events behind it wait.
another-user: The event is about somebody else. A name has become a part of the event, and changed who is
    meant.
says-more: The event says more than was promised. What a reader was given once, it will use, and so it can
    never be taken away again.
says-less: The event lacks something that was promised. A reader looks for it in vain, also when it is there
    under another name.
another-name: The reader gets another name. It is the user's own, with all its signs.
error-came-out (raised): The function raised an error. Each of the rows is that of a real user.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from ...autograder import kit
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "seven_users"]

NAMES = (
    "Ann Lee",
    "Seán O'Brien",
    'x","id":"ben',
    'Ann "the cat" Lee',
    'x","role":"admin',
    "Cem\\Dina",
    "Emil\nof the second floor",
)
PROMISED = {"type", "id", "name"}


def all_rows(seed: int) -> Iterator[dict[str, Any]]:
    chance = Random(seed)
    for number, name in enumerate(NAMES, 1):
        secret = f"scrypt${chance.getrandbits(40):x}"
        yield {
            "id": f"user-{chance.randint(100, 999)}{number}",
            "name": name,
            "password": secret,
            "logins": 0,
            **({"phone": f"0{number}"} if number > 4 else {}),
        }


async def seven_users(event_text: kit.Answer, row: dict[str, Any], seed: int) -> None:
    """Tell of one user, and let a reader read it."""
    text = event_text(dict(row))
    record(Kind.NOTE, "users", row["id"], who="users", text=f"the event: {text}")
    try:
        got = json.loads(text) if isinstance(text, str) else f"no text, but {text!r}"
    except ValueError as error:
        got = f"no JSON: {error}"
    kit.write_down(row=row, got=got)


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    row, got = facts["row"], facts["got"]
    words = f"of {row['id']}, whose name is {row['name']!r}, the reader got {got!r}."
    if not isinstance(got, dict):
        yield kit.seen("not-json", words, trace)
        return
    if got.get("id", row["id"]) != row["id"]:
        yield kit.seen("another-user", words, trace)
    missing, more = PROMISED - set(got), set(got) - PROMISED
    if more & set(row) or (more and not missing):  # else it is what is missing, under another name
        yield kit.seen("says-more", words, trace)
    if missing or got["type"] != "UserRegistered":
        yield kit.seen("says-less", words, trace)
    elif got["name"] != row["name"]:
        yield kit.seen("another-name", words, trace)


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(seven_users, all_rows, judge), judge)
