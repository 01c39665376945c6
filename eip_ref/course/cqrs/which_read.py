"""Which read

Choose · easy · 2 points · 7 minutes

Answer: def which_read(page)
Called: Your `which_read(page)` for six pages. Then each is read as you chose, on a busy day: the view is a
    second behind, and the write side bears ten reads a second.
Promised: Nobody sees her own change missing. What is decided is decided by what is so. And no page waits,
    or asks the write side, when it need not.
Hint: Ask of each page: who has written what it shows, and what happens if it is a second old?
Hint: A version says how far your own change is. It says nothing about what others have done since.
Hint: Two pages follow a change of their reader: "version". Two decide something: "write side". What is left
    may be a second old: "as it is".
Why: A view that is a second old harms nobody who only looks. Whoever has just changed something knows
    the version to wait for. And a decision needs the truth, which only the write side has.

no-such-read (ValueError): There is no such read. It is one of the three texts in the table.
own-change-missing: Somebody does not see what she has just done. She will do it again, or call.
decides-by-the-view: Something is decided by what was so. What others have done since is not in it.
write-side-asked-in-vain: The write side is asked by a page that only looks. It has to bear all its readers,
    which is what the view was made for.
waits-in-vain: A page waits, and its reader has changed nothing. There is no version to wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import anyio

from ...autograder import kit
from ...lab.wording import plural
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "a_busy_day"]

WRITE_SIDE, VERSION, AS_IT_IS = "write side", "version", "as it is"
READS = (WRITE_SIDE, VERSION, AS_IT_IS)
LAG = 1.0


class Page(NamedTuple):
    """A page, whether its reader has just written, and whether something is decided by it."""

    name: str
    wrote: bool = False
    decides: bool = False


PAGES = (
    Page("my name, after I changed it", wrote=True),
    Page("the dashboard on the wall"),
    Page("may Ben buy for 400 cents more?", decides=True),
    Page("thank you, you owe 0 cents", wrote=True),
    Page("all teas, for a visitor"),
    Page("sell the last cup", decides=True),
)


def pages(seed: int) -> Iterator[Page]:
    yield from PAGES


async def a_busy_day(which_read: kit.Answer, page: Page, seed: int) -> None:
    """Read the page as chosen. Its reader and somebody else have written just before."""
    chosen = which_read(page.name)
    if chosen not in READS:
        raise ValueError(f"{chosen!r} is none of {', '.join(map(repr, READS))}")
    truth = {"mine": int(page.wrote), "others": 1}
    too = ", and so has the reader" if page.wrote else ""
    record(Kind.NOTE, "write side", text=f"somebody else has changed something{too}")
    if chosen == VERSION:
        await anyio.sleep(LAG)  # until the view has what the reader wrote; others go on meanwhile
        truth["others"] += 1
    seen = (
        dict(truth) if chosen == WRITE_SIDE else {"mine": int(chosen == VERSION and page.wrote), "others": 0}
    )
    record(Kind.EFFECT, "page", page.name, effect=f"read: {chosen}", seen=seen, truth=truth)
    kit.write_down(page=page._asdict(), chosen=chosen, seen=seen, truth=truth, waited=anyio.current_time())


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    page, seen, truth = facts["page"], facts["seen"], facts["truth"]
    words = f"“{page['name']}”, read {facts['chosen']!r}"
    if seen["mine"] < truth["mine"]:
        yield kit.seen("own-change-missing", f"{words}: the reader's own change was not on it.", trace)
    if page["decides"] and seen != truth:
        missed = plural(truth["others"] - seen["others"], "change")
        yield kit.seen("decides-by-the-view", f"{words}: it lacked {missed} of others.", trace)
    if not page["decides"] and facts["chosen"] == WRITE_SIDE:
        yield kit.seen("write-side-asked-in-vain", f"{words}: one more read for the write side.", trace)
    if not page["decides"] and not page["wrote"] and facts["waited"]:
        yield kit.seen("waits-in-vain", f"{words}: it came {facts['waited']:g} s later.", trace)


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(a_busy_day, pages, judge), judge, seeds=(1,))
