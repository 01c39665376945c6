"""Read back a torn file

Complete · medium · 2 points · 12 minutes

Answer: def read_back(text)
Called: Your `read_back(text)` on a file of five orders: whole, cut behind each of its characters, and with
    each of its characters changed, one at a time.
Promised: It returns the orders before the first damaged line, and the length of the text that they take.
    Nothing that was never written is returned, and no whole line before the damage is left out.
Hint: What does the last line look like when the power fails in the middle of it? How do you know a whole
    one?
Hint: A whole line ends in a newline, and its first eight characters are the checksum of the rest. At the
    first line for which one of the two is not so: stop.
Hint: `for line in text.splitlines(keepends=True)`: take `line[:8]` and `line[9:-1]`, and compare `line`
    with `sealed(line[9:-1])`. If they differ, stop. Else add the order, and `len(line)` to the length.
Why: A newline tells that a line is whole, the checksum that it is right. Behind the first damage nothing
    can be trusted, so the reader stops there; and whoever writes next cuts the file at that length first,
    or the new line is glued to the torn one.

never-written: It returned an order that was never written. Half a line, or a changed one, reads like an
    order. Billing would book it.
no-newline: It took a line that has no newline. That line is torn: the next order would be written into it,
    and then neither of the two can be read.
a-hole: It went on behind a damaged line. The orders after it came later than one that is missing now, and
    nobody knows that it is.
left-out: A whole order was left out. It was confirmed, and the line is whole and right.
wrong-length: The length is not the end of the last good line. The next order is written there: too early
    it destroys a good line, too late it is glued to a torn one.
stops-the-start (raised): A torn file ended the program. After a loss of power the file is torn, and the
    broker never starts again.
no-such-answer: That is no list of orders with a length. Return two things: the list, and a whole number.
"""

from __future__ import annotations

from random import Random
from textwrap import shorten
from zlib import crc32

import anyio.lowlevel

from ...autograder import kit
from ...trace import Trace

__all__ = ["EXERCISE", "every_damage", "sealed"]


def sealed(order: str) -> str:
    """The line for an order: its checksum in eight digits, a space, the order, and a newline."""
    return f"{crc32(order.encode()):08x} {order}\n"


async def every_damage(read_back: kit.Answer, seed: int) -> None:
    """Read the file after each damage, and write down the first answer of each kind that is wrong."""
    await anyio.lowlevel.checkpoint()
    random = Random(seed)
    orders = [f"order {n} pays {random.randrange(100, 2000)}" for n in range(1, 6)]
    lines = [sealed(order) for order in orders]
    text, wrong = "".join(lines), dict[str, str]()
    for damage, torn in _damages(text):
        good = _good(lines, torn)
        answer = read_back(torn)
        mistake = _mistake(orders, lines, good, torn, answer)
        wrong.setdefault(mistake, f"The file was {damage}. It returned {shorten(repr(answer), 200)}.")
    wrong.pop("", None)
    kit.write_down(wrong=wrong)


def _damages(text: str) -> list[tuple[str, str]]:
    cut = [(f"cut behind character {n} of {len(text)}", text[:n]) for n in range(len(text) + 1)]
    changed = [
        (
            f"changed at character {n} of {len(text)}",
            f"{text[:n]}{'7' if text[n] != '7' else '8'}{text[n + 1 :]}",
        )
        for n in range(len(text))
    ]
    return cut[::-1] + changed


def _good(lines: list[str], torn: str) -> int:
    """The number of lines before the first damaged one."""
    good = 0
    while good < len(lines) and torn.startswith("".join(lines[: good + 1])):
        good += 1
    return good


def _mistake(orders: list[str], lines: list[str], good: int, torn: str, answer: object) -> str:
    if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[0], tuple | list):
        return "no-such-answer"
    found, length = list(answer[0]), answer[1]
    if any(order not in orders for order in found):
        return "never-written"
    if found[:good] != orders[:good]:
        return "left-out"
    if len(found) > good:
        return "no-newline" if torn == "".join(lines[: good + 1])[:-1] else "a-hole"
    return "" if length == len("".join(lines[:good])) else "wrong-length"


def judge(trace: Trace) -> kit.Symptoms:
    for mistake, words in kit.facts(trace)["wrong"].items():
        yield kit.seen(mistake, words)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(every_damage), judge)
