"""The clerk of a queue: watches the clock and carries away the dead, also while nobody calls."""

from __future__ import annotations

from ..message_queue import Queue
from ..storage import Database
from .rows import Row
from .upkeep import Upkeep

__all__ = ["clerk"]


async def clerk(file: Database, messages: Upkeep, dead_letters: Queue | None) -> None:
    """Do what is due, whenever something is, until cancelled. What sqlite3 raises ends the queue."""
    while True:
        with file.transaction():
            messages.catch_up()
        messages.let_go()
        while dead_letters is not None and (row := messages.rows.dying()) is not None:
            await _carry_away(file, messages, row, dead_letters)
        await messages.waiting.until(messages.next_due())


async def _carry_away(file: Database, messages: Upkeep, row: Row, dead_letters: Queue) -> None:
    """To dead letters elsewhere: put, then forget. A crash between the two repeats the letter."""
    try:
        await dead_letters.put(messages.letter(row))
    except Exception as error:  # whatever it is, the message goes on living here
        with file.transaction():
            messages.refused(row, error)
        return
    with file.transaction():
        messages.buried(row)
