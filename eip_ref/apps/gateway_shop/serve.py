"""Start the shop behind its gateway, and say what to try."""

from __future__ import annotations

import anyio

from .shop import running

__all__ = ["serve"]

_TRY = """
Try, in another terminal:
  curl -i {0}/orders/17                                          nobody knows who asks: 401
  curl -i {0}/orders/17 -H 'Authorization: Bearer demo-ann'      one answer out of three
  curl -i {0}/orders/18 -H 'Authorization: Bearer demo-ann'      partial: the invoices take too long
  curl -i {0}/orders/19 -H 'Authorization: Bearer demo-ann'      somebody else's order: 403
  curl -i {0}/orders -H 'Authorization: Bearer demo-ann' -d '{{"items": ["tea"]}}'
Ctrl-C stops it.
"""


async def serve(port: int) -> None:
    """Start the services and the gateway, print where they are, and go on until cancelled."""
    async with running(port) as urls:
        for name, url in urls.items():
            print(f"{name:9} {url}")
        print(_TRY.format(urls["gateway"]), flush=True)
        await anyio.sleep_forever()
