"""Where answers run: a process that sees no network, no other submission and nothing worth reading.

On Linux `bubblewrap` builds it. Where that is not to be had, the answers still run in processes of
their own with limits, and the report says that this is weaker.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["LIMITS", "PYTHON", "Isolation", "Limits", "best_isolation", "weak_isolation"]

MIB = 2**20
PACKAGE = Path(__file__).resolve().parents[2]
PYTHON = (sys.executable, "-P", "-s", "-S")  #: with nothing on its path but what `environment` names


AS_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--cap-drop", "ALL"),
    *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"),
    *("--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_CHOWN"),
)  # the runner gives up all rights for each answer, and afterwards ends and removes what it left
AS_ANYBODY = ("--unshare-all", "--cap-drop", "ALL")


@dataclass(frozen=True)
class Limits:
    """The bounds of one run of an answer. Generous: an honest answer needs a hundredth."""

    cpu: int = 10  #: seconds
    wall: float = 20.0  #: seconds
    memory: int = 1024 * MIB  #: bytes of address space
    output: int = 16 * MIB  #: bytes that the answer may say
    file: int = 1 * MIB  #: bytes of a file
    processes: int = 64  #: processes and threads


LIMITS = Limits()


@dataclass(frozen=True)
class Isolation:
    """A way to keep a process apart: the command to put before it, and the same in words."""

    words: str
    strong: bool
    before: tuple[str, ...] = ()


def best_isolation() -> Isolation:
    """`bubblewrap` where it works, else the weaker mode."""
    return _bubblewrap() or weak_isolation()


def weak_isolation() -> Isolation:
    """Processes with limits, and nothing more."""
    return Isolation(
        "processes with limits, without bubblewrap: weaker, see docs/threat_model.md", strong=False
    )


@cache
def _bubblewrap() -> Isolation | None:
    found = shutil.which("bwrap")
    if not found or not sys.platform.startswith("linux"):
        return None
    for spaces in (AS_ROOT, AS_ANYBODY) if os.geteuid() == 0 else (AS_ANYBODY,):
        before = (found, *spaces, *_arguments())
        if _works(before):
            words = "bubblewrap: no network, a read-only file system, a temporary folder of its own"
            return Isolation(words, strong=True, before=before)
    return None


def _works(before: tuple[str, ...]) -> bool:
    command = [*before, *PYTHON, "-c", "import eip_ref.lab"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _arguments() -> Iterator[str]:
    yield from ("--die-with-parent", "--new-session", "--clearenv")
    # First of all, since the course may be in /tmp itself.
    yield from ("--proc", "/proc", "--dev", "/dev", "--size", str(16 * MIB), "--tmpfs", "/tmp")
    for path in ("/usr", "/lib", "/lib64", "/bin", "/etc/alternatives", "/etc/ld.so.cache"):
        yield from ("--ro-bind-try", path, path)
    for path in _python():
        for parent in reversed(Path(path).parents):
            yield from ("--dir", str(parent))  # bwrap would make it for its own user alone
        yield from ("--ro-bind", path, path)
    yield from ("--chdir", "/tmp")
    for name, value in environment("/tmp").items():
        yield from ("--setenv", name, value)
    yield from ("--setenv", "EIP_OWN_PROCESSES", "1")


def _python() -> Iterator[str]:
    """The folders that Python and `eip_ref` are read from, but not the course around it."""
    paths = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()]
    folders = {Path(path) for path in paths if Path(path).is_dir()}
    outer = {path for path in folders if not any(other in path.parents for other in folders)}
    yield from map(str, sorted({*outer, PACKAGE} - {Path("/usr")}))


def environment(folder: str) -> dict[str, str]:
    """The whole environment of a runner."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *site.getsitepackages()]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "agg",
    }
