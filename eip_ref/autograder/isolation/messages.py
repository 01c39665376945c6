"""What the process of an answer tells the runner, through a pipe that the answer could find too.

A message is its length, its signature and JSON text. The signature is made with a key that only the two
know, of the text and of its place among all messages, so none can be forged, replayed or left out.
"""

from __future__ import annotations

import hmac
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["KEY", "Received", "Sender"]

KEY = 32  #: bytes of a key
STAMP, LENGTH = 32, 4  #: bytes of a message's signature and of its length
MIB = 2**20
ENCODE = json.JSONEncoder().encode  #: which an answer that changes `json` does not reach


class Sender:
    """Writes signed messages to a pipe."""

    def __init__(self, writes: int, key: bytes) -> None:
        self._writes, self._key, self._number = writes, key, 0

    def send(self, **message: Any) -> None:
        text = ENCODE(message).encode()
        data = len(text).to_bytes(LENGTH, "big") + _stamp(self._key, self._number, text) + text
        self._number += 1
        while data:
            data = data[os.write(self._writes, data) :]


class Received:
    """The messages from the pipe: one counts when its signature fits its place and its bytes.

    After a run that does not pass no other is waited for: it decides the mark, whoever judges it again.
    """

    def __init__(self, key: bytes, limit: int, passes: Callable[[Mapping[str, Any]], bool]) -> None:
        self.said: dict[str, Any] = {"runs": []}
        self.complete = False  #: whether it was said to its end
        self.problem = ""  #: or why no more of it is read
        self._key, self._limit, self._passes = key, limit, passes
        self._bytes = bytearray()
        self._number = 0
        self._total = 0

    def read(self, reads: int, until: float) -> bool:
        """Read until the end, a problem, or the time `until`; say whether it was in time."""
        while not (self.complete or self.problem):
            ready, _, _ = select.select([reads], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return False
            data = os.read(reads, MIB)
            if not data:
                return True
            self._total += len(data)
            if self._total > self._limit:
                self.problem = "too-much-output"
            self._bytes += data
            self._take()
        return True

    def _take(self) -> None:
        while len(self._bytes) >= LENGTH and not self.problem:
            length = int.from_bytes(self._bytes[:LENGTH], "big")
            if len(self._bytes) < LENGTH + STAMP + length:
                return
            stamp = bytes(self._bytes[LENGTH : LENGTH + STAMP])
            text = bytes(self._bytes[LENGTH + STAMP : LENGTH + STAMP + length])
            del self._bytes[: LENGTH + STAMP + length]
            if not hmac.compare_digest(stamp, _stamp(self._key, self._number, text)):
                self.problem = "forged"
                return
            self._number += 1
            self._understand(json.loads(text))

    def _understand(self, message: dict[str, Any]) -> None:
        if "trace" in message:
            self.said["runs"].append(message)
            if not self._passes(message):
                self.said.update(refused="", changed="")
                self.complete = True
        else:
            self.said.update(message)
            self.complete = "refused" in message


def _stamp(key: bytes, number: int, text: bytes) -> bytes:
    return hmac.digest(key, number.to_bytes(8, "big") + text, "sha256")
