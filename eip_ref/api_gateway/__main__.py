"""`python -m eip_ref.api_gateway [port]`: the demo shop and its gateway on loopback, until Ctrl-C."""

from __future__ import annotations

import sys
from contextlib import suppress

import anyio

_TRY = """
Try, in another terminal:
  curl -i {0}/orders/17                                          nobody knows who asks: 401
  curl -i {0}/orders/17 -H 'Authorization: Bearer demo-ann'      one answer out of three
  curl -i {0}/orders/18 -H 'Authorization: Bearer demo-ann'      partial: the invoices take too long
  curl -i {0}/orders/19 -H 'Authorization: Bearer demo-ann'      somebody else's order: 403
  curl -i {0}/orders -H 'Authorization: Bearer demo-ann' -d '{{"items": ["tea"]}}'
Ctrl-C stops it.
"""


async def main(port: int) -> None:
    """Start all, print where, and serve until told to stop."""
    try:
        from .demo import running
    except ImportError as error:
        sys.exit(f"{error}. The demo needs the extra `course`: pip install 'eip-ref[course]'")
    async with running(port) as urls:
        for name, url in urls.items():
            print(f"{name:9} {url}")
        print(_TRY.format(urls["gateway"]), flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print("stopped")
