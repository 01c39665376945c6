"""The JavaScript of the package as a browser gets it, for a linter that needs no Node.

The parts of a widget (`player_film.js`, …, `player.js`) are put together by Python, and a page has its
script within itself. Looked at one by one, every class would be unused in one file and undefined in the
next; so `lint` puts them together first, and says of each finding where it stands in the source.

*Left out:* the order of the parts, which the browser tests see.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["lint", "scripts"]

ROOT = Path(__file__).parents[2]
RULES = ROOT / ".oxlintrc.jsonc"
IN_A_PAGE = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)
FINDING = re.compile(r"(?P<script>\d+)\.js:(?P<line>\d+)(?P<rest>:.*)")

Script = list[tuple[str, Path, int]]
"""The lines of a script, each with its file and its number there."""


def scripts(folder: Path) -> Iterator[Script]:
    """Each script below `folder`: the parts of a widget as one, and what the pages have within them."""
    for _, parts in itertools.groupby(sorted(folder.rglob("*.js"), key=_widget), key=_widget):
        yield [line for part in parts for line in _lines(part, part.read_text(encoding="utf-8"))]
    for page in sorted(folder.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        for found in IN_A_PAGE.finditer(text):
            # What is before it becomes empty, so that lines and columns stay.
            yield list(_lines(page, re.sub(r"[^\n]", " ", text[: found.start(1)]) + found[1]))


def lint(folder: Path) -> list[str]:
    """What oxlint finds in the JavaScript below `folder`, as `file:line:column: what`; empty if nothing."""
    read = list(scripts(folder))
    with tempfile.TemporaryDirectory() as place:
        for number, script in enumerate(read):
            text = "\n".join(line for line, _, _ in script)
            Path(place, f"{number}.js").write_text(text, encoding="utf-8")
        ended = subprocess.run(
            [_oxlint(), "--config", RULES, "--format", "unix", "."],
            cwd=place,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    if ended.returncode == 0:
        return []
    return [_in_the_source(line, read) for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]


def _widget(part: Path) -> tuple[Path, str]:
    return part.parent, part.stem.partition("_")[0]


def _lines(path: Path, text: str) -> Iterator[tuple[str, Path, int]]:
    return ((line, path, number) for number, line in enumerate(text.split("\n"), start=1))


def _oxlint() -> str:
    found = shutil.which("oxlint", path=sysconfig.get_path("scripts"))
    if found is None:
        raise FileNotFoundError("oxlint is missing; install it with: python -m pip install oxlint")
    return found


def _in_the_source(said: str, read: list[Script]) -> str:
    found = FINDING.match(said)
    if not found:
        return said
    _, path, number = read[int(found["script"])][int(found["line"]) - 1]
    return f"{path}:{number}{found['rest']}"
