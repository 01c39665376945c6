"""A projection by Quix Streams, in a process and a Python environment of its own.

`python quixstreams_view.py ADDRESS TOPIC EVENTS`: it reads so many events of the topic from the beginning,
keeps each customer's row in its state, and prints the last rows as JSON. An event says which version of its
stream it made, so one that comes twice is known.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

from quixstreams import Application, State


def _project(event: dict[str, Any], state: State) -> dict[str, Any]:
    row = state.get("row", {"version": 0, "charges": 0, "charged": 0})
    version = event["headers"]["stream-version"]
    if version > row["version"]:
        cents = event["body"]["cents"]
        row = {"version": version, "charges": row["charges"] + 1, "charged": row["charged"] + cents}
        state.set("row", row)
    return {"stream": event["key"], **row}


def main(address: str, topic: str, events: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        application = Application(
            address,
            consumer_group=f"{topic}-quixstreams",
            auto_offset_reset="earliest",
            state_dir=folder,
            loglevel="WARNING",
        )
        source = application.topic(topic, key_deserializer="str", value_deserializer="json")
        application.dataframe(source).apply(_project, stateful=True)
        rows = application.run(count=int(events), timeout=60)
    print(json.dumps({row.pop("stream"): row for row in rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
