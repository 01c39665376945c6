"""PostgreSQL, one server. It refuses to run as root, so there it runs as its own user."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .server import HOST, Server, ask, says, which

__all__ = ["PostgreSQL"]

USER = "postgres"
HELLO = b"user\0" + USER.encode() + b"\0\0"
STARTUP = struct.pack("!II", 8 + len(HELLO), 196_608) + HELLO  #: the first packet of protocol 3.0
AUTHENTICATION = b"R"  #: how a server answers that is ready; while it recovers, it answers with an error


class PostgreSQL(Server):
    """A database of its own, with the durability that it has by itself."""

    name = "PostgreSQL"
    install = "sudo apt-get install --yes --no-install-recommends postgresql"

    @classmethod
    def program(cls) -> str | None:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_number)
        found = which("postgres", *map(str, reversed(folders)))
        return found if found and (os.getuid() or shutil.which("setpriv")) else None

    @classmethod
    def version(cls) -> str:
        found = re.search(r"\d[\d.]*", says(cls.program() or "", "--version"))
        return found[0] if found else ""

    def prepare(self) -> None:
        program = Path(self.program() or "postgres")
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            shutil.chown(data, USER)
        init = [str(program.with_name("initdb")), "-D", str(data), "-A", "trust", "-U", USER, "-E", "UTF8"]
        subprocess.run([*_as_user(), *init, "--locale=C"], check=True, capture_output=True, cwd="/")

    def command(self) -> Sequence[str]:
        settings = ["-h", HOST, "-p", str(self.port), "-c", "unix_socket_directories="]
        return [*_as_user(), self.program() or "postgres", "-D", str(self.folder / "data"), *settings]

    def is_ready(self) -> bool:
        return ask(self.port, STARTUP).startswith(AUTHENTICATION)

    @property
    def own_url(self) -> str:
        return f"postgresql://{USER}@{HOST}:{self.port}/postgres"


def _number(folder: Path) -> float:
    return float(folder.parent.name)


def _as_user() -> list[str]:
    """The beginning of a command that root runs as the user of the database."""
    if os.getuid():
        return []
    user = pwd.getpwnam(USER)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
