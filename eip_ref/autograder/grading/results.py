"""The folder of results: each file is written whole or not at all, and what is known is kept.

marks/<learner>/<lesson>.json       the marks, and a digest of all that they depend on
feedback/<learner>.html             gradescope/<learner>/<lesson>.json
gradebook.csv   overview.html   junit.xml
.secret         what hidden seeds are made of; who has it can foresee them
.pictures/      pictures by what they show, so that none is drawn twice
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import eip_ref

from .. import course
from ..marks import Marks

__all__ = ["Results", "WeakSecret", "course_digest", "digest"]

SHORTEST_SECRET = 16  #: bytes


class WeakSecret(ValueError):
    """A secret that could be guessed."""


class Results:
    """The folder of results. Raises OSError when it cannot be made or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """Put `text` in place of the file `name`, in one step."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".new-{secrets.token_hex(8)}"
        try:
            with open(temporary, "x", encoding="utf-8", errors="backslashreplace", newline="") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path

    def read(self, name: str) -> str:
        """The text of the file `name`; "" when there is none."""
        path = self.folder / name
        return path.read_bytes().decode("utf-8") if path.is_file() else ""

    def has(self, name: str) -> bool:
        """True when there is a file `name`."""
        return (self.folder / name).is_file()

    def secret(self, file: Path | None = None) -> bytes:
        """The secret of this class, made at the first time; or the one in `file`.

        Raises `WeakSecret` when it has fewer than 16 bytes.
        """
        path = file or self.folder / ".secret"
        if file is None and not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
                new.write(secrets.token_hex(32) + "\n")
        secret = path.read_bytes().strip()
        if len(secret) < SHORTEST_SECRET:
            raise WeakSecret(f"the secret in {path} needs at least {SHORTEST_SECRET} bytes")
        return secret

    def keep(self, name: str, lesson: str, digest: str, marks: Marks) -> None:
        """Keep the marks of one notebook, with the digest of what they depend on."""
        text = json.dumps({"digest": digest, "marks": json.loads(marks.to_json())}, ensure_ascii=False)
        self.write(self._marks_file(name, lesson), text + "\n")

    def kept(self, name: str, lesson: str, digest: str) -> Marks | None:
        """The marks that were kept, when nothing that they depend on has changed since."""
        marks, kept_digest = self._read(name, lesson)
        return marks if kept_digest == digest else None

    def marks(self, name: str, lesson: str) -> Marks:
        """The marks that were kept last. Raises LookupError."""
        marks, _ = self._read(name, lesson)
        if marks is None:
            raise LookupError(f"no marks of {lesson} are kept for {name}")
        return marks

    def _read(self, name: str, lesson: str) -> tuple[Marks | None, str]:
        try:
            document = json.loads(self.read(self._marks_file(name, lesson)))
            return Marks.from_json(json.dumps(document["marks"])), str(document["digest"])
        except (ValueError, LookupError, TypeError):
            return None, ""  # there are none, or somebody edited them

    @staticmethod
    def _marks_file(name: str, lesson: str) -> str:
        return f"marks/{name}/{lesson}.json"


def digest(*parts: bytes | str) -> str:
    """One text for many parts, another one when any of them differs."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


@lru_cache
def course_digest(lesson: str) -> str:
    """Of all that marks of a lesson depend on here: this package but for other lessons, and what runs it.

    The notebook that was handed out counts too: cells of it that nobody changed need not be run.
    """
    root = Path(eip_ref.__file__).parent
    lessons = root / "autograder" / "lessons"
    sources = [
        path
        for path in sorted(root.rglob("*.py"))
        if lessons not in path.parents or path.relative_to(lessons).parts[0] in (lesson, f"{lesson}.py")
    ]
    running = f"{sys.version_info[:2]} {version('anyio')}"
    return digest(
        running, *_handed_out(lesson), *(part for path in sources for part in (path.name, path.read_bytes()))
    )


def _handed_out(lesson: str) -> list[bytes]:
    try:
        return [path.read_bytes() for path in sorted(course.root().glob(f"exercises/*_{lesson}.ipynb"))]
    except course.NoCourse:
        return []
