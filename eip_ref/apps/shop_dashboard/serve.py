"""Start the dashboard, and say where it is and where its data are."""

from __future__ import annotations

import tempfile

import anyio

from ...api_gateway.http_edge import serving
from .shop import ShopSystem
from .web import application

__all__ = ["serve"]


async def serve(port: int, folder: str | None = None, slow: float = 0.0) -> None:
    """Serve the dashboard until cancelled, from the files in `folder`, or from ones that do not stay.

    `slow` is the number of seconds for which the projector waits before each event.
    """
    with tempfile.TemporaryDirectory(prefix="eip-dashboard-") as temporary:
        async with (
            ShopSystem(folder or temporary, slow=slow) as shop,
            serving(application(shop), port) as url,
        ):
            print(f"The dashboard is at {url}/")
            print(f"Its data are in {folder}" if folder else "Its data are removed when it stops")
            print("Ctrl-C stops it.", flush=True)
            await anyio.sleep_forever()
