"""Is my machine ready: each thing that the course needs, and how to fix what is missing.

What is needed is read from the installed package's own metadata, so it is stated once, in
`pyproject.toml`. Nothing but Python and anyio need be there to look.

*Left out:* fixing anything. It tells the command and leaves it to you.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from . import course, page
from .course import PACKAGE

__all__ = ["AUDIENCES", "Diagnostics", "Line", "doctor", "examine", "install"]

AUDIENCES = ("learner", "teacher", "contributor")  #: each needs what those before need, and more
FOR_TEACHERS = ("tqdm",)  #: those of the course's packages that only `eip grade` needs


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `found` differs between machines; the other texts do not."""

    what: str
    needs: str
    ready: bool
    fix: str = ""
    found: str = ""
    needed: bool = True  #: False for what one can do without

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
        shown = {"text/plain": str(self)}
        with suppress(ModuleNotFoundError):  # what draws pages may be what is missing
            shown["text/html"] = self._html()
        return shown

    def __str__(self) -> str:
        return "\n".join([*(_as_text(line) for line in self.lines), self.summary])

    __repr__ = __str__

    @property
    def summary(self) -> str:
        """One sentence that says whether to go on."""
        if self.well:
            return "Your machine is ready."
        count = len(self.problems)
        return f"{count} problem{'' if count == 1 else 's'}. Fix the first one, then ask again."

    def _html(self) -> str:
        return page.render("doctor.html", found=self)


def _as_text(line: Line) -> str:
    found = f", found {line.found}" if line.found and not line.ready else ""
    fix = f"\n    to fix it: {line.fix}" if line.fix and not line.ready else ""
    return f"{line.what}: {line.state} (needs {line.needs}{found}){fix}"


def doctor() -> Diagnostics:
    """Look at what a learner needs. To be the last line of a notebook cell."""
    return examine("learner")


def examine(who: str) -> Diagnostics:
    """Look at what one of `AUDIENCES` needs. Raises ValueError for anybody else."""
    parts = (_learner, _teacher, _contributor)[: AUDIENCES.index(who) + 1]
    return Diagnostics(tuple(line for part in parts for line in part()))


def install(extra: str) -> str:
    """The one command that installs what an extra of the package names."""
    try:
        root = course.root()
    except course.NoCourse:
        root = Path.cwd()
    return f'python -m pip install -e "{"." if root == Path.cwd() else root}[{extra}]"'


def _learner() -> Iterator[Line]:
    yield _python()
    yield _writing()
    required = _required("course")
    if not required:
        yield Line(PACKAGE, "to be installed in this environment", False, install("course"))
    yield from _packages("course", [each for each in required if each[0] not in FOR_TEACHERS])
    yield _widgets()
    yield _drawing()


def _teacher() -> Iterator[Line]:
    yield from _packages("course", [each for each in _required("course") if each[0] in FOR_TEACHERS])
    yield _sandbox()


def _contributor() -> Iterator[Line]:
    yield from _packages("test", _required("test"))
    yield _browser()


def _sandbox() -> Line:
    """The sandbox that keeps the answers of others away from this machine when they are graded."""
    from .isolation.sandbox import best_isolation

    found = best_isolation()
    fix = (
        "on Debian or Ubuntu `sudo apt install bubblewrap`; where it is there and does not work, allow user "
        "namespaces, also inside each other; without it `eip grade` works and protects this machine less"
    )
    words = f"{found.words} ({found.why})" if found.why else found.words
    return Line("bubblewrap", "a sandbox on Linux that works", found.strong, fix, words, needed=False)


def _python() -> Line:
    _, least = _parsed(f"Python{_metadata('Requires-Python') or '>=3.11'}")
    version = platform.python_version()
    fix = "install a newer Python from python.org, then make a new virtual environment with it"
    return Line("Python", f"{least} or newer", _is_at_least(version, least), fix, version)


def _required(extra: str) -> list[tuple[str, str]]:
    """The name and least version of each package of an extra; of "course" are also those always needed."""
    found = []
    with suppress(metadata.PackageNotFoundError):
        for each in metadata.requires(PACKAGE) or ():
            wanted, _, marker = each.partition(";")
            extras = re.findall(r"extra == [\"'](\w+)", marker) if marker else ["course"]
            if extra in extras and ">=" in wanted:  # others name another extra, or a version too new
                found.append(_parsed(wanted))
    return found


def _packages(extra: str, required: Sequence[tuple[str, str]]) -> Iterator[Line]:
    """A line for each of these packages. Of several that are missing the first has the fix of all."""
    lines = [_package(*each) for each in required]
    missing = [line for line in lines if not line.ready]
    for line in lines:
        if line in missing[1:]:
            line = replace(line, fix="")
        elif line in missing and len(missing) > 1:
            line = replace(line, fix=install(extra))
        yield line


def _package(name: str, least: str) -> Line:
    needs, fix = f"{least} or newer", f'python -m pip install "{name}>={least}"'
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Line(name, needs, False, fix, "nothing")
    return Line(name, needs, _is_at_least(version, least), fix, version)


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
        file = course.progress_file()
        folder = file.parent if file.parent.exists() else file.parent.parent
        with tempfile.TemporaryFile(dir=folder) as tried:
            tried.write(b"as much as a fact takes")
            tried.flush()
        if file.exists():
            file.open("ab").close()
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
    return Line("Chromium", "a browser to test in", bool(found), fix, needed=False)


def _metadata(key: str) -> str:
    try:
        return str(metadata.metadata(PACKAGE)[key] or "")
    except metadata.PackageNotFoundError:
        return ""


def _parsed(wanted: str) -> tuple[str, str]:
    """The name and the least version of "name>=version"."""
    name, _, least = wanted.strip().partition(">=")
    return name, least


def _is_at_least(version: str, least: str) -> bool:
    found, wanted = ([int(each) for each in re.findall(r"\d+", text)] for text in (version, least))
    return found >= wanted
