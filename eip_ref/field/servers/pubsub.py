"""The emulator of Google Pub/Sub, by its maker: it has the interface, and keeps all in its memory.

What it shows of the interface holds for the service as far as its documents say the same; what it shows
of speed, of order and of crashes says nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .server import HOST, Server, ask, which

__all__ = ["PubSub"]

JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"  #: in the folder of Google's SDK
JAVA = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class PubSub(Server):
    """One process of Java. It takes a second port on loopback by itself, which nobody here uses."""

    name = "Google's emulator of Pub/Sub"
    install = "gcloud components install pubsub-emulator"

    @classmethod
    def _jar(cls) -> Path | None:
        """Beside gcloud, wherever that is."""
        gcloud = which("gcloud")
        return None if gcloud is None else next(Path(gcloud).resolve().parents[1].glob(JAR), None)

    @classmethod
    def program(cls) -> str | None:
        return which("java") if cls._jar() else None

    @classmethod
    def missing(cls) -> str:
        needed = "" if which("java") else "; it needs Java: sudo apt-get install --yes default-jre-headless"
        return super().missing() and super().missing() + needed

    @classmethod
    def version(cls) -> str:
        return str(cls._jar()).split("-")[-2]

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        place = f"--host={HOST}", f"--port={self.port}"
        return [self.program() or "java", *JAVA, "-jar", str(self._jar()), *place]

    def is_ready(self) -> bool:
        return ask(self.port, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")
