"""The folder of results, and names and texts that strangers chose."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from eip_ref.autograder.grading.results import Results, WeakSecret, course_digest, digest
from eip_ref.autograder.grading.untrusted import file_names, shown, shown_name
from eip_ref.autograder.marks import Mark, Marks

MARKS = Marks("message_queue", (Mark("message_queue/mend_the_worker", 3, 3),), ("odd \udcff",))


def test_marks_are_kept_until_something_changes(tmp_path: Path) -> None:
    """Kept by the digest of all that they depend on, also with text that is no UTF-8."""
    results = Results(tmp_path)
    results.keep("alice", "message_queue", "digest", MARKS)
    assert results.kept("alice", "message_queue", "digest") == MARKS
    assert results.kept("alice", "message_queue", "another") is None
    assert results.kept("bob", "message_queue", "digest") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": "digest", "marks": {}}', "\x00"])
def test_marks_that_somebody_edited_are_not_kept(tmp_path: Path, text: str) -> None:
    """They are made anew."""
    results = Results(tmp_path)
    results.write("marks/alice/message_queue.json", text)
    assert results.kept("alice", "message_queue", "digest") is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Who is interrupted leaves the file that was there, and no rest."""
    results = Results(tmp_path)
    results.write("gradebook.csv", "old")
    with pytest.raises(TypeError):
        results.write("gradebook.csv", None)  # type: ignore[arg-type]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_secret_is_made_once_and_for_the_teacher_alone(tmp_path: Path) -> None:
    """Another class has another one."""
    secret = Results(tmp_path / "one").secret()
    assert Results(tmp_path / "one").secret() == secret != Results(tmp_path / "two").secret()
    assert len(secret) == 64
    assert stat.S_IMODE((tmp_path / "one" / ".secret").stat().st_mode) == 0o600


def test_a_secret_of_ones_own(tmp_path: Path) -> None:
    """It is the file's text without the end of the line; one that is short could be guessed."""
    file = tmp_path / "secret"
    file.write_text("sixteen letters!\n")
    assert Results(tmp_path).secret(file) == b"sixteen letters!"
    file.write_text("12345")
    with pytest.raises(WeakSecret, match="at least 16"):
        Results(tmp_path).secret(file)


def test_a_digest_tells_parts_from_one_another() -> None:
    """What moves from one part to the next is another input."""
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
    assert digest("ab", b"c") == digest(b"ab", "c")


def test_the_course_has_a_digest_for_each_lesson() -> None:
    """A change in one lesson leaves the marks of the others as they are."""
    assert course_digest("message_queue") != course_digest("point_to_point")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain — Zoë 漢字\tand\nlines", "plain — Zoë 漢字\tand\nlines"),
        ("a\x00b\x1b[31m", r"a\x00b\x1b[31m"),
        ("\udcff\ufffe", r"\udcff\ufffe"),
        ("gnp.\u202eevil", r"gnp.\u202eevil"),
        ("x" * 5000, "x" * 4000 + "… (1000 more characters)"),
    ],
)
def test_text_that_can_be_shown(text: str, safe: str) -> None:
    """What cannot be seen is escaped; the rest is left alone; a flood is cut."""
    assert shown(text) == safe
    shown(text).encode("utf-8")


def test_a_name_stays_on_one_line() -> None:
    """Wherever it is shown."""
    assert shown_name("al\nice\t") == r"al\nice\t"


def test_names_become_file_names() -> None:
    """As they are where this is harmless, marked where they were changed."""
    names = file_names(["alice", "Zoë Ångström", "../../etc/passwd", "CON", "", "x" * 300])
    assert names["alice"] == "alice"
    assert names["Zoë Ångström"] == "Zoë Ångström"
    assert names["../../etc/passwd"].startswith("etc-passwd-")
    assert names["CON"].startswith("x-CON-")
    assert all(name and len(name) < 80 and not name.startswith(".") for name in names.values())


def test_file_names_are_unique_where_case_does_not_count() -> None:
    """As on the disks of most laptops; also for letters that can be written in two ways."""
    names = file_names(["Alice", "alice", "Zoe\u0308", "Zo\u00eb", "a/b", "a:b"])
    assert len({name.casefold() for name in names.values()}) == 6
    assert json.dumps(names) == json.dumps(file_names(list(names)))
