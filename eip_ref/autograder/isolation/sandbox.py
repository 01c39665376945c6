"""The sandbox: answers run where they see no network, no other submission and nothing worth reading.

On Linux `bubblewrap` builds it, and each process of an answer gets namespaces of its own in it
(`process/cage.py`). Where one or both are not to be had, the answers still run in processes of their own with
limits, and the report says that this is weaker.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from ..process.cage import CAGE, NOBODY, SANDBOX, WORDS

__all__ = ["LIMITS", "PYTHON", "Isolation", "Limits", "best_isolation", "weak_isolation"]

MIB = 2**20
PACKAGE = Path(__file__).resolve().parents[2]
WEAKER = ": weaker, see docs/threat_model.md"
PYTHON = (sys.executable, "-P", "-s", "-S")  #: with nothing on its path but what `environment` names


AS_ROOT = (
    *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--cap-drop", "ALL"),
    *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_KILL"),
    *("--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_SYS_ADMIN"),
)  # no answer has them: it runs under an account of its own that owns nothing
AS_ANYBODY = ("--unshare-all", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL")


@dataclass(frozen=True)
class Limits:
    """The bounds of one run of an answer, beside those of `Budget` and `cage`. Generous."""

    wall: float = 40.0  #: seconds
    silence: float = 10.0  #: seconds that an answer may work without a word
    output: int = 16 * MIB  #: bytes that the answer may say


LIMITS = Limits()


@dataclass(frozen=True)
class Isolation:
    """A way to keep a process apart: the command to put before it, and the same in words."""

    words: str
    strong: bool
    before: tuple[str, ...] = ()
    spaces: bool | None = None  #: each process gets namespaces; None when it does not matter
    why: str = field(default="", compare=False)  #: the reason why there is none that is stronger


@cache
def best_isolation() -> Isolation:
    """`bubblewrap` and namespaces where both work, else what there is of them."""
    if not hasattr(os, "fork"):
        return Isolation("no grading on Windows: use WSL", strong=False)
    found = shutil.which("bwrap") if sys.platform == "linux" else None
    if found is None:
        weak = weak_isolation()
        return replace(weak, why="; ".join(filter(None, ("there is no bubblewrap", weak.why))))
    weaker: list[Isolation] = []
    whys = []
    for spaces in [AS_ROOT, AS_ANYBODY] if os.geteuid() == 0 else [AS_ANYBODY]:
        try:
            tried = _bubblewrap((found, *spaces, *_arguments()))
        except NotWorking as error:
            whys.append(f"bubblewrap does not work: {error}")
            continue
        if tried.strong:
            return tried
        weaker.append(tried)
    best = weaker[0] if weaker else weak_isolation()
    return replace(best, why="; ".join(filter(None, dict.fromkeys([*whys, best.why]))))


@cache
def weak_isolation() -> Isolation:
    """Without bubblewrap: namespaces for each process where the system lets us, else limits alone."""
    try:
        name, why = _cage(PYTHON)
    except NotWorking as error:
        name, why = "limits", str(error)
    words = f"without bubblewrap, {WORDS[name]}{WEAKER}"
    return Isolation(words, strong=False, spaces=name == "namespaces", why=why)


def _bubblewrap(before: tuple[str, ...]) -> Isolation:
    """bubblewrap with these words before the command. Raises `NotWorking`."""
    name, why = _cage((*before, *PYTHON))
    spaces = name == "namespaces"
    words = f"bubblewrap (no network, no files but those of Python and the course), {WORDS[name]}"
    return Isolation(words if spaces else words + WEAKER, spaces, before, spaces, why)


class NotWorking(Exception):
    """A command cannot be used here; the text says why."""


def _cage(python: tuple[str, ...]) -> tuple[str, str]:
    """The name of the cage that works with this command, and why no better one does. Raises `NotWorking`."""
    command = [*python, CAGE]
    try:
        ran = subprocess.run(command, env=environment("/tmp"), capture_output=True, timeout=20, check=True)
    except subprocess.CalledProcessError as error:
        raise NotWorking(error.stderr.decode(errors="replace").strip()[-200:] or error) from None
    except (OSError, subprocess.SubprocessError) as error:
        raise NotWorking(error) from None
    name, _, why = ran.stdout.decode().strip().partition(" ")
    return name, why


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
    yield from ("--setenv", SANDBOX, "1")


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
        "MALLOC_ARENA_MAX": "1",  # else each thread takes 64 MiB of the address space
    }
