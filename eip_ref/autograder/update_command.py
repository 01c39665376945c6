"""The commands `eip start` and `eip update`: the learner's copy is made, brought up to date, and opened."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import course
from .learner_copy import Update, edition_in, plan
from .notebooks import parsed
from .old_work import bring_over, changed_here

__all__ = ["start", "update"]

FIRST = "notebooks/00_start_here.ipynb"
LARGEST = 20 * 2**20  #: bytes of a notebook that is fetched


def update(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises `Refused` and `NoCourse`."""
    if options.source:
        return _correct(options.source, options.yes)
    if options.bring_over:
        print(*bring_over(options.bring_over), sep="\n")
    return _apply(_from_the_course())


def start(more: Sequence[str]) -> int:
    """Make or update the copy, then run JupyterLab on it until it ends. Raises as `update` does.

    Raises ModuleNotFoundError without JupyterLab, and makes nothing.
    """
    if find_spec("jupyterlab") is None:
        raise ModuleNotFoundError(name="jupyterlab")
    if not course.my().exists():
        for step in changed_here():
            print(step)
    if _apply(_from_the_course(), quiet=True):
        return 1
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    signal.signal(signal.SIGINT, lambda *_: None)  # JupyterLab asks what Ctrl-C means
    settings = Path(__file__).with_name("jupyter")
    known = os.environ.get("JUPYTER_CONFIG_PATH")
    return subprocess.call(
        [
            *(sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={course.my()}"),
            *(f"--LabApp.default_url=/lab/tree/{FIRST}", *as_root, *more),
        ],
        env={**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, (str(settings), known)))},
    )


def _from_the_course() -> Update:
    return plan(edition_in(course.root()), whole=True, source="the course")


def _apply(planned: Update, *, quiet: bool = False) -> int:
    opened = _opened(planned.changed)
    if opened:
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in opened)
        print(
            f"eip update: nothing was changed, because {names} may have changes that are not saved. Save in "
            "JupyterLab, then File, Close and Shut Down Notebook (or the panel Running Terminals and "
            "Kernels), and run the same command again.",
            file=sys.stderr,
        )
        return 1
    copied = not course.my().exists()
    planned.apply()
    if copied:
        print(f"Your copy of the course is in {course.my()}; nothing else is changed when you work.")
    elif planned.words or not quiet:
        print(*planned.words or ["Nothing is new."], sep="\n")
    return 0


def _correct(source: str, yes: bool) -> int:
    """Show a teacher's correction, and take it when the learner agrees."""
    planned = plan(dict(_fetched(source)), whole=False, source=source)
    if not planned.words:
        print(f"Nothing in {source} is new.")
        return 0
    print(*_shown(planned), sep="\n")
    if not yes:
        if not sys.stdin.isatty():
            print(f"To take it: eip update {source} --yes")
            return 0
        if input("Take it? [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    return _apply(planned)


def _shown(planned: Update) -> Iterator[str]:
    """The lines that a correction changes in the edition, cell by cell."""
    for name, (_, coming) in planned.writes.items():
        path = course.base() / name
        known = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
        before = {cell["id"]: "".join(cell["source"]) for cell in known}
        for cell in coming["cells"]:
            was, now = before.get(cell["id"], ""), cell["source"]
            if was != now:
                yield f"{name}, cell {cell['id']}:"
                yield from list(unified_diff(was.split("\n"), now.split("\n"), lineterm="", n=1))[2:]
    yield from planned.words


def _fetched(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The notebooks in a folder or at an address; there, those of the course are asked for by name.

    Raises FileNotFoundError when there are none.
    """
    if not source.startswith(("http://", "https://")):
        found = edition_in(Path(source))
    else:
        found = {
            name: notebook for name in edition_in(course.root()) if (notebook := _get(f"{source}/{name}"))
        }
    if not found:
        raise FileNotFoundError(
            f"there is no notebook of the course in {source}; it must have notebooks/ or exercises/ in it"
        )
    yield from found.items()


def _get(address: str) -> dict[str, Any] | None:
    """The notebook at an address; None where there is none."""
    try:
        with urllib.request.urlopen(address, timeout=20) as answer:
            told = answer.read(LARGEST).decode("utf-8")
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise course.Refused(f"{address} answers {error.code} {error.reason}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise course.Refused(f"{address} cannot be fetched: {error}") from error
    return parsed(told)


def _opened(paths: Sequence[Path]) -> list[Path]:
    """Those of the notebooks that a Jupyter server of this user has open."""
    if not paths:
        return []
    try:
        from jupyter_server.serverapp import list_running_servers
    except ImportError:
        return []
    found = {path.resolve() for server in list_running_servers() for path in _sessions(server)}
    return [path for path in paths if path.resolve() in found]


def _sessions(server: dict[str, Any]) -> Iterator[Path]:
    request = urllib.request.Request(
        f"{server['url']}api/sessions", headers={"Authorization": f"token {server['token']}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            for session in json.load(answer):
                yield Path(server["root_dir"]) / session["path"]
    except (OSError, ValueError):  # it has ended, or answers to nobody
        return
