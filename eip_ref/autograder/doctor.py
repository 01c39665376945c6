"""Is my machine ready: each thing that the course needs, and how to mend what is missing.

What is needed is read from the installed package's own metadata, so it is stated once, in
`pyproject.toml`.

*Left out:* mending anything. It tells the command and leaves it to you.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from . import course, page

__all__ = ["Diagnostics", "Line", "doctor", "examine"]

PACKAGE = "eip-ref"
INSTALL = 'python -m pip install -e ".[course]"'


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `found` differs between machines; the other texts do not."""

    what: str
    needs: str
    ready: bool
    fix: str = ""
    found: str = ""
    needed: bool = True  #: False for what only teachers or contributors need

    @property
    def state(self) -> str:
        return "ready" if self.ready else "problem" if self.needed else "not there"

    @property
    def advice(self) -> str:
        """The fix in words, a command as code."""
        return f"`{self.fix}`" if self.fix.startswith("python ") else self.fix


@dataclass(frozen=True)
class Diagnostics:
    """The findings of `doctor`. Where all is well it is equal on every machine."""

    lines: tuple[Line, ...]

    @property
    def well(self) -> bool:
        """True when nothing that is needed is missing."""
        return all(line.ready or not line.needed for line in self.lines)

    @property
    def problems(self) -> list[Line]:
        return [line for line in self.lines if line.needed and not line.ready]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()}

    def __str__(self) -> str:
        return "\n".join([*(_as_text(line) for line in self.lines), self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """One sentence that says whether to go on."""
        if self.well:
            return "Your machine is ready."
        count = len(self.problems)
        return f"{count} problem{'' if count == 1 else 's'}. Mend the first one, then ask again."

    def _html(self) -> str:
        return page.render("doctor.html", found=self)


def _as_text(line: Line) -> str:
    found = f", found {line.found}" if line.found and not line.ready else ""
    fix = f"\n    to mend it: {line.fix}" if not line.ready else ""
    return f"{line.what}: {line.state} (needs {line.needs}{found}){fix}"


def doctor() -> Diagnostics:
    """Look at what a learner needs. To be the last line of a notebook cell."""
    return Diagnostics(tuple(_learner()))


def examine() -> Diagnostics:
    """Look at what learners, teachers and the tests need. For the command line."""
    return Diagnostics((*_learner(), _sandbox(), *_contributor()))


def _learner() -> Iterator[Line]:
    yield _python()
    yield from _packages("course")
    yield _widgets()
    yield _drawing()
    yield _writing()


def _sandbox() -> Line:
    """The sandbox that keeps the answers of others away from this machine when they are graded."""
    try:
        from .isolation.sandbox import best_isolation

        strong, found = best_isolation().strong, best_isolation().words
    except ImportError:  # Windows has no limits for processes
        strong, found = False, "no limits for processes"
    fix = (
        "on Debian or Ubuntu `sudo apt install bubblewrap`; where it is there and does not work, allow user "
        "namespaces, also inside each other; without it `eip grade` works and protects this machine less"
    )
    return Line("bubblewrap (for grading)", "a sandbox on Linux that works", strong, fix, found, needed=False)


def _contributor() -> Iterator[Line]:
    for line in _packages("test"):
        yield Line(f"{line.what} (for tests)", line.needs, line.ready, line.fix, line.found, needed=False)
    yield _browser()


def _python() -> Line:
    wanted = _metadata("Requires-Python") or ">=3.11"
    version = platform.python_version()
    return Line(
        "Python",
        _words(wanted),
        _contains(wanted, version),
        "install a newer Python from python.org, then make a new virtual environment with it",
        version,
    )


def _packages(extra: str) -> Iterator[Line]:
    """A line for each package that the extra names; with "course" also for those always needed."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(each) for each in metadata.requires(PACKAGE) or ()]
    except metadata.PackageNotFoundError:
        yield Line(PACKAGE, "to be installed in this environment", False, INSTALL)
        return
    for each in required:
        always = each.marker is None and extra == "course"
        wanted = always or (each.marker is not None and _only_with(each.marker.evaluate, extra))
        if wanted and each.name != PACKAGE:
            yield _package(each.name, str(each.specifier))


def _only_with(evaluate: Callable[[dict[str, str]], bool], extra: str) -> bool:
    return evaluate({"extra": extra}) and not evaluate({"extra": ""})


def _package(name: str, wanted: str) -> Line:
    fix = f'python -m pip install "{name}{wanted}"'
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Line(name, _words(wanted), False, fix, "nothing")
    return Line(name, _words(wanted), _contains(wanted, version), fix, version)


def _widgets() -> Line:
    """JupyterLab draws widgets with an extension that comes with ipywidgets."""
    try:
        from jupyter_core.paths import jupyter_path

        places = [
            Path(folder) / "@jupyter-widgets" / "jupyterlab-manager"
            for folder in jupyter_path("labextensions")
        ]
    except ImportError:
        places = []
    there = any(place.is_dir() for place in places)
    return Line(
        "widgets in JupyterLab",
        "the extension that ipywidgets brings",
        there,
        "python -m pip install --force-reinstall ipywidgets jupyterlab_widgets",
    )


def _drawing() -> Line:
    try:
        importlib.import_module("matplotlib.backends.backend_svg")
        problem = ""
    except Exception as error:  # a broken installation may raise anything
        problem = type(error).__name__
    fix = "python -m pip install --force-reinstall matplotlib"
    return Line("pictures", "matplotlib to draw SVG", not problem, fix, problem)


def _writing() -> Line:
    """Try to write where progress is kept, without leaving anything there."""
    needs = "a folder that may be written to"
    try:
        folder = course.progress_file().parent
        folder = folder if folder.is_dir() else folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except course.NoCourse as error:
        return Line("your progress", needs, False, str(error))
    except OSError as error:
        fix = f"allow writing to {folder}, or name another folder in the environment variable EIP_HOME"
        return Line("your progress", needs, False, fix, error.strerror or "")
    return Line("your progress", needs, True)


def _browser() -> Line:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
    found = os.environ.get("EIP_CHROMIUM") or any(map(shutil.which, names))
    fix = "install Chromium, or set EIP_CHROMIUM to the path of Chromium, Chrome or Edge"
    return Line("Chromium (for tests)", "a browser to test in", bool(found), fix, needed=False)


def _metadata(key: str) -> str:
    try:
        return str(metadata.metadata(PACKAGE)[key] or "")
    except metadata.PackageNotFoundError:
        return ""


def _contains(wanted: str, version: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _words(wanted: str) -> str:
    parts: Sequence[str] = wanted.split(",")
    said = [part[2:] + " or newer" if part.startswith(">=") else part for part in parts]
    return " and ".join(said)
