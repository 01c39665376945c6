"""The dashboard's application beside a notebook, of lesson 08c: opened, asked and closed from cells.

It runs for real, in real time, on this machine only. What is stored in the lesson is what every run repeats:
answers and counts, and never seconds. Where the application cannot run, each answer says why.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...apps import CannotStart, Opened
from ...lab.static_image import filled

__all__ = ["NotRun", "RunningShop", "open_the_shop"]

PATIENCE = 20.0  #: seconds
PICTURE = Path(__file__).with_name("dashboard.png")
ALT = (
    "The page of the dashboard: forms for commands on the left and buttons that break things on the right; "
    "between them a gauge of the lag, the way of an event from outbox to view with 3 not on the view yet, "
    "and the customers."
)
_FRAME = '<iframe src="{{ url }}" title="The dashboard" width="100%" height="520" style="border:0"></iframe>'
_PICTURE = '<img alt="{{ alt }}" src="data:image/png;base64,{{ data }}" style="max-width:100%">'


class NotRun:
    """The answer where nothing can run: the reason, whatever is asked of it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __repr__(self) -> str:
        return f"not run here: {self._reason}"

    def __getattr__(self, name: str) -> NotRun:
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> NotRun:
        return self

    def __getitem__(self, _: object) -> NotRun:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __enter__(self) -> NotRun:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Answer:
    """The answer of a door: a status, a body, and the place where to ask on."""

    def __init__(self, status: int, body: Any, location: str) -> None:
        self.status, self.body, self.location = status, body, location

    def __repr__(self) -> str:
        where = f"  Location: {self.location}" if self.location else ""
        return f"{self.status} {json.dumps(self.body)}{where}"


class Socket:
    """One end of a WebSocket. Texts are JSON."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def say(self, **message: Any) -> None:
        """Send a message."""
        self._connection.send(json.dumps(message))

    def hear(self) -> dict[str, Any]:
        """The next message. Raises TimeoutError when there is none for long."""
        heard: dict[str, Any] = json.loads(self._connection.recv(timeout=PATIENCE))
        return heard

    def hear_until(self, kind: str) -> list[dict[str, Any]]:
        """The messages before the next one of this kind."""
        heard = [self.hear()]
        while heard[-1]["kind"] != kind:
            heard.append(self.hear())
        return heard[:-1]


class RunningShop:
    """The application while it runs, as its clients see it."""

    def __init__(self, **settings: Any) -> None:
        import httpx

        self._shop = Opened("dashboard", **settings)
        self._client = httpx.Client(base_url=self._shop.url, timeout=PATIENCE)

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Answer:
        """POST. A header `Prefer` is written `prefer=`."""
        return self._ask("POST", path, body, headers)

    def put(self, path: str, body: dict[str, Any]) -> Answer:
        """PUT: sets something, such as whether a part runs."""
        return self._ask("PUT", path, body, {})

    def patch(self, path: str, body: dict[str, Any]) -> Answer:
        """PATCH: changes something that is there."""
        return self._ask("PATCH", path, body, {})

    def get(self, path: str) -> Answer:
        """GET: reads."""
        return self._ask("GET", path, None, {})

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        said = self._client.request(method, path, json=body, headers=headers)
        return Answer(said.status_code, said.json(), said.headers.get("location", ""))

    def graphql(self, query: str) -> Any:
        """The data of a query."""
        return self.post("/graphql", {"query": query}).body["data"]

    @contextmanager
    def socket(self, path: str, protocol: str | None = None) -> Iterator[Socket]:
        """A WebSocket; leaving the block closes it."""
        from websockets.sync.client import connect

        protocols: Any = [protocol] if protocol else None
        with connect(self._shop.url.replace("http", "ws", 1) + path, subprotocols=protocols) as connection:
            yield Socket(connection)

    def until(self, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The places where everything is, as soon as this is so. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            standing: dict[str, Any] = self.get("/standing").body
            if is_so(standing):
                return standing
            time.sleep(0.02)
        raise TimeoutError(f"this did not become so within {PATIENCE:g} s")

    def quiet(self) -> dict[str, Any]:
        """The places where everything is, as soon as no event is on its way."""
        return self.until(lambda now: not now["outbox"] and not now["behind"])

    def page(self) -> Page:
        """The page in the notebook."""
        return Page(self._shop.url)

    def close(self) -> None:
        """Stop it; its files are removed."""
        self._client.close()
        self._shop.close()


class Page:
    """The page in a frame, and beside it a picture where no kernel runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        import ipywidgets

        frame = ipywidgets.HTML(filled(_FRAME, url=self._url))
        data = b64encode(PICTURE.read_bytes()).decode()
        shown = {"text/html": filled(_PICTURE, alt=ALT, data=data), "text/plain": ALT}
        return {**frame._repr_mimebundle_(**options), **shown}


def open_the_shop(**settings: Any) -> RunningShop | NotRun:
    """Start the application; where that cannot be, an object whose every answer is the reason."""
    try:
        return RunningShop(**settings)
    except (ImportError, OSError, RuntimeError, CannotStart) as error:
        return NotRun(str(error) or type(error).__name__)
