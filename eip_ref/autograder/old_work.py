"""Work in the course's own notebooks, from before there was a copy: it is brought over once.

git knows it: as changes in the working tree, in a stash, or in a commit of the learner's. What stood before
them becomes the base, what they wrote their copy, and the next update merges the edition into it.

*Left out:* a course that is no clone. Nobody knows there what the notebooks were like before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from . import course
from .cell_merge import untouched
from .notebooks import read
from .workbook import back_up

__all__ = ["bring_over", "changed_here"]


def changed_here() -> list[str]:
    """Bring over the changes in the working tree, then restore its notebooks. Says each step."""
    root = course.root()
    if not (root / ".git").exists() or not shutil.which("git"):
        return []
    if not os.access(root, os.W_OK):  # then nobody who reads this has changed anything
        return []
    commit = _git(root, "stash", "create").strip()  # a commit of the working tree, which it leaves as it is
    if not commit:
        return []
    steps = []
    for name in _changed(root, commit):
        steps += _bring(root, commit, name)
        kept = back_up(root / name, course.backups() / Path(name).parent)
        _git(root, "checkout", "HEAD", "--", name)
        steps.append(
            f"{name}: restored, as it was it is kept in .eip/backups/{Path(name).parent}/{kept.name}"
        )
    return steps


def bring_over(commit: str) -> list[str]:
    """Bring over what `commit` changed, such as "stash@{0}". Says each step.

    Raises `Refused` for a commit that git does not know.
    """
    root = course.root()
    return [step for name in _changed(root, commit) for step in _bring(root, commit, name)]


def _changed(root: Path, commit: str) -> list[str]:
    told = _git(root, "diff", "--name-only", "--diff-filter=M", f"{commit}^", commit, "--", *course.FOLDERS)
    return [name for name in told.splitlines() if name.endswith(".ipynb")]


def _bring(root: Path, commit: str, name: str) -> list[str]:
    mine, base = course.my() / name, course.base() / name
    if mine.exists() and not (base.exists() and untouched(read(base), read(mine))):
        return [f"{name}: not brought over, since you have begun a copy of it in my/"]
    for path, revision in ((base, f"{commit}^"), (mine, commit)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_git(root, "show", f"{revision}:{name}"), encoding="utf-8", newline="\n")
    return [f"{name}: what you wrote is in my/{name} now"]


def _git(root: Path, *arguments: str) -> str:
    somebody = ("-c", "user.name=learner", "-c", "user.email=")  # a stash wants to know
    done = subprocess.run(
        ["git", "-C", str(root), *somebody, *arguments], capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise course.Refused(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
