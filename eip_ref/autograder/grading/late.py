"""The time of a hand-in, and the words for one after the deadline.

The time is that at which the file was changed last. In nbgrader's folder `submitted` it is what nbgrader
wrote into `timestamp.txt` beside the notebook; there alone, since anybody can hand in such a file.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from ...lab.wording import plural
from .safe_files import NotRead, read

__all__ = ["deadline", "lateness"]

LARGEST = 200  #: bytes of nbgrader's timestamp
EXAMPLE = "2026-11-30T18:00+01:00"


def deadline(text: str) -> datetime:
    """The time that is written so. Raises ValueError, also for one that does not tell its offset."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write it such as {EXAMPLE}") from None
    if time.tzinfo is None:
        raise ValueError(f"{text!r} does not tell its offset from UTC; write it such as {EXAMPLE}")
    return time


def lateness(path: Path, deadline: datetime | None, *, nbgrader: bool = False) -> str:
    """The words for a notebook handed in after the deadline, such as "late by 2 hours"; "" for one in time.

    `nbgrader` says that it lies in nbgrader's folder.
    """
    told = _timestamp(path.with_name("timestamp.txt")) if nbgrader else None
    time = told or datetime.fromtimestamp(path.stat().st_mtime, UTC)
    if deadline is None or time <= deadline:
        return ""
    seconds = (time - deadline) // timedelta(seconds=1)
    sizes = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    size = next((each for each, length in sizes.items() if seconds >= length), "second")
    return f"late by {plural(max(1, seconds // sizes[size]), size)}"


def _timestamp(path: Path) -> datetime | None:
    """nbgrader's time, such as "2026-11-30 17:00:01.123456 UTC"; None when there is none that can be read."""
    try:
        text = read(path, LARGEST).decode("ascii").strip()
        time = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(\S*)", text)
        if time is None:
            return None
        if re.fullmatch(r"[+-]\d\d:?\d\d", time[2]):
            return datetime.fromisoformat(time[1] + time[2])
        return datetime.fromisoformat(time[1]).replace(tzinfo=ZoneInfo(time[2] or "UTC"))
    except (NotRead, ValueError, LookupError, OSError):
        return None
