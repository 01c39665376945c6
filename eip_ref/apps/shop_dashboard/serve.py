"""Run the dashboard, and say where it is and where its data are."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from .. import CannotStart
from ..loopback import serving
from .shop import ShopSystem
from .web import application

__all__ = ["running"]


@asynccontextmanager
async def running(
    port: int = 0, folder: str | None = None, slow: float = 0.0
) -> AsyncIterator[tuple[str, str]]:
    """The dashboard at work; gives its URL and what to say. Its files are in `folder`, or do not stay.

    `slow` is the number of seconds for which the projector waits before each event. Raises
    `CannotStart` for a folder in which there is something else.
    """
    data = f"Its data are in {folder}." if folder else "Its data are removed when it stops."
    async with AsyncExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="eip-dashboard-"))
        try:
            shop = await stack.enter_async_context(ShopSystem(folder or temporary, slow=slow))
        except (OSError, ValueError, sqlite3.Error) as error:
            raise CannotStart(str(error)) from error
        url = await stack.enter_async_context(serving(application(shop, data=data), port))
        yield url, f"The dashboard is at {url}/\n{data}"
