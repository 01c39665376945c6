"""Text and names that strangers chose, made safe to show, to store and to name files with.

*Left out:* escaping for a format. Whoever writes HTML, XML or CSV does that as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256

__all__ = ["file_names", "shown", "shown_name", "shown_names"]

LONGEST_TEXT = 4_000  #: characters of a text that are shown
LONGEST_NAME = 60  #: characters of a name that go into a file's name

_TURNS_TEXT = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # would show a name in another order
_HIDDEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_TURNS_TEXT}\ud800-\udfff\ufffe\uffff]")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def shown(text: str) -> str:
    """The text with what cannot be seen, or stored in UTF-8 and XML, written as an escape; cut if long."""
    text = text.replace("\r\n", "\n")
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text) - LONGEST_TEXT} more characters)"
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)


def shown_name(name: str) -> str:
    """A file's or learner's name on one line, as `shown`."""
    return shown(name).replace("\n", r"\n").replace("\t", r"\t")


def shown_names(names: Mapping[str, str]) -> dict[str, str]:
    """By key, each name as `shown_name`, with a mark where two different names would be shown alike."""
    made = {key: shown_name(name) for key, name in names.items()}
    meant: dict[str, set[str]] = defaultdict(set)
    for key, words in made.items():
        meant[words].add(names[key])
    return {
        key: words if len(meant[words]) == 1 else f"{words} {_mark(names[key])}"
        for key, words in made.items()
    }


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A name for a file for each name: harmless on every system, and unique where case does not count."""
    made = {name: _harmless(name) for name in names}
    taken = Counter(map(_folded, made.values()))
    return {
        name: safe if safe and safe == name and taken[_folded(safe)] == 1 else f"{safe or 'x'}-{_mark(name)}"
        for name, safe in made.items()
    }


def _harmless(name: str) -> str:
    safe = re.sub(r"[^\w .@+-]", "-", unicodedata.normalize("NFC", name))[:LONGEST_NAME].strip(".- ")
    return f"x-{safe}" if _RESERVED.fullmatch(safe) else safe


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _mark(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
