"""What is written of a class: every format reads back, and nobody's name or text breaks out of it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from eip_ref.autograder import registry
from eip_ref.autograder.grading import pictures, reports
from eip_ref.autograder.grading.class_record import ClassRecord, Graded, Run
from eip_ref.autograder.grading.feedback import feedback
from eip_ref.autograder.grading.gradebook import gradebook
from eip_ref.autograder.grading.gradescope import gradescope
from eip_ref.autograder.grading.junit import junit
from eip_ref.autograder.grading.overview import overview
from eip_ref.autograder.grading.pictures import Picture, Pictures
from eip_ref.autograder.grading.results import Results
from eip_ref.autograder.grading.safe_files import Problem
from eip_ref.autograder.grading.summary import summary
from eip_ref.autograder.grading.untrusted import file_names
from eip_ref.autograder.judging import run_answer
from eip_ref.autograder.marks import Mark, Marks

from .exercise_cases import kept_answers

LESSON = registry.lesson("acks_and_leases")
FIRST, SECOND, *REST = LESSON.exercises
EVIL = "</td></script><script>alert(1)</script><img src=x onerror=alert(1)>&\x00\x1b]]>\udcff\u202e"
NAMES = ("alice", '=HYPERLINK("http://x")', "@bob", "<b>carol</b>", "d\"a've,\u00eb")
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "article", "h1", "h2",
    "h3", "p", "b", "a", "ul", "li", "table", "thead", "tbody", "tfoot", "tr", "th", "td", "span", "div",
    "dl", "dt", "dd", "code", "pre", "br", "img", "figure", "details", "summary",
}  # fmt: skip


def marks_of(seen: str = "Order 1 was lost.", *, passed: int = 3, trace: str = "") -> Marks:
    """The first exercises pass, one is wrong, and the rest has not begun."""
    lost = Mark("", 0, 0, "not-started", "The answer has not been started")
    wrong = Mark("", 0, 0, "ack-first", "Acknowledged before the work was done", "It was lost.", seen, trace)
    kinds = [Mark("", 0, 0)] * passed + [wrong] + [lost] * len(LESSON.exercises)
    made = [
        Mark(
            e.name, 0 if k.mistake else e.points, e.points, k.mistake, k.title, k.explanation, k.seen, k.trace
        )
        for e, k in zip(LESSON.exercises, kinds, strict=False)
    ]
    return Marks(LESSON.module, tuple(made), (seen,), "bubblewrap", {FIRST.name: 0.5})


def a_class(*names: str, seen: str = "Order 1 was lost.", run: Run | None = None) -> ClassRecord:
    graded = tuple(Graded(name, marks_of(seen), (f"note {seen}",)) for name in names)
    files = file_names([*names, "nobody"])
    return ClassRecord(
        (LESSON,), files, graded, (Problem(EVIL, EVIL),), run=run or Run("today", 12.3, len(names))
    )


def table(book: ClassRecord) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(gradebook(book).removeprefix("\ufeff"), newline="")))


class Tags(HTMLParser):
    """Which tags and attributes a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name: value or "" for name, value in attrs}


def empty(folder: Path) -> Pictures:
    return Pictures(Results(folder))


def test_the_gradebook_has_a_row_for_each_learner_and_a_column_for_each_exercise() -> None:
    """Points as numbers, totals, the most points in the header; empty where nothing was handed in."""
    alice, nobody = table(a_class("alice"))
    assert alice["Learner"] == "alice"
    assert alice[f"{FIRST.name} ({FIRST.points})"] == str(FIRST.points)
    assert alice[f"{REST[-1].name} ({REST[-1].points})"] == "0"
    assert alice["acks_and_leases total (13)"] == alice["Total (13)"] == "8"
    assert set(nobody.values()) == {"nobody", "", "nothing that can be graded"}


def test_no_name_is_computed_by_a_spreadsheet() -> None:
    """A formula in a name becomes text."""
    names = [row["Learner"] for row in table(a_class(*NAMES))]
    assert names[:5] == ["alice", '\'=HYPERLINK("http://x")', "'@bob", "<b>carol</b>", "d\"a've,\u00eb"]


def test_gradescope_gets_a_test_for_each_exercise() -> None:
    """In the names of its own format; it adds up the scores."""
    document: dict[str, Any] = json.loads(gradescope(Graded("alice", marks_of(EVIL)), LESSON))
    tests = document["tests"]
    assert sum(test["score"] for test in tests) == 8
    assert sum(test["max_score"] for test in tests) == 13
    assert [test["status"] for test in tests][:4] == ["passed", "passed", "passed", "failed"]
    assert "ack-first" in tests[3]["output"]
    assert {test["output_format"] for test in tests} == {"text"}
    json.dumps(document, ensure_ascii=False).encode("utf-8")


def test_junit_is_xml_whatever_a_notebook_says() -> None:
    """A suite for each notebook; wrong is a failure, not begun is skipped."""
    root = xml.fromstring(junit(a_class(*NAMES, seen=EVIL)).encode())
    assert [suite.get("name") for suite in root] == [f"{name}: acks_and_leases" for name in NAMES]
    suite = root[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "1")
    failure = suite.find(".//failure")
    assert failure is not None
    assert failure.get("type") == "ack-first"
    assert r"\x1b" in (failure.text or "")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_holds_nobodys_html(tmp_path: Path, name: str) -> None:
    """Names, texts, notes and problems are text, in the feedback and in the overview."""
    book = a_class(name, EVIL.replace("/", ""), seen=EVIL)
    for page in (overview(book), *(feedback(book, learner, empty(tmp_path)) for learner in book.files)):
        found = Tags(page)
        assert found.tags <= TAGS
        assert not {name for name in found.attributes if name.startswith("on")}
        page.encode("utf-8")


def test_a_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    """It says so to the browser, and names no other place."""
    book = a_class("alice")
    for page in (overview(book), feedback(book, "alice", empty(tmp_path))):
        assert "default-src 'none'" in page
        assert "http://" not in page
        assert "https://" not in page


def test_feedback_says_what_was_wrong_and_what_to_do(tmp_path: Path) -> None:
    """Points, the mistake's title and explanation, what was seen, the hint; and no name of another."""
    page = feedback(a_class("alice", "bob"), "alice", empty(tmp_path))
    for words in ("8 of 13 points", "Acknowledged before the work was done", "Order 1 was lost.", "hint("):
        assert words in page
    assert "bob" not in page


def test_feedback_shows_the_trace_that_failed_and_no_seed(tmp_path: Path) -> None:
    """As a picture with its text."""
    wrong = next(kept for kept in kept_answers("message_queue") if kept.mistake == "ack-on-receive")
    trace = run_answer(wrong.exercise, wrong.answer, 987654)
    shown, name = empty(tmp_path), wrong.exercise.name
    shown.keep(shown.name(name, trace), pictures.draw(name, trace))
    mark = Mark(name, 0, 3, "ack-on-receive", "Lost", "It was lost.", "Order 1 was lost.")
    marks = Marks(LESSON.module, (mark,))
    graded = Graded("alice", marks, pictures={name: shown.name(name, trace)})
    page = feedback(ClassRecord((LESSON,), {"alice": "alice"}, (graded,)), "alice", shown)
    assert 'src="data:image/svg+xml;base64,' in page
    assert "What happened" in Tags(page).attributes["alt"]
    assert "987654" not in page


@pytest.mark.parametrize("trace", ["", "{}", "no trace", '{"version": 1, "events": [[1, 2]]}'])
def test_what_cannot_be_drawn_is_not_drawn(trace: str) -> None:
    """A forged trace has no picture, which is said, and stops nothing."""
    drawn = json.loads(pictures.draw("message_queue/predict_the_shares", trace))
    assert drawn == {"svg": "", "alt": "", "why": "The picture is missing: this run cannot be drawn."}


def test_an_unknown_picture_is_an_empty_one(tmp_path: Path) -> None:
    """Also when somebody removed it."""
    assert empty(tmp_path).get("") == empty(tmp_path).get("gone") == Picture("", "")


def test_the_overview_counts_mistakes_by_name() -> None:
    """The most frequent first, with how many learners made it; who has not begun made none."""
    book = a_class("alice", "bob")
    other = Graded("carol", marks_of(passed=0))
    book = replace(book, graded=(other, *book.graded), files=file_names(["alice", "bob", "carol"]))
    made = [(each.exercise, each.mark.mistake, each.learners) for each in book.mistakes]
    assert made == [(LESSON.exercises[3], "ack-first", 2), (FIRST, "ack-first", 1)]
    page = overview(book)
    assert "ack-first" in page
    assert page.count("feedback/alice.html") == 1


def test_only_the_last_part_of_the_overview_tells_of_the_run(tmp_path: Path) -> None:
    """Date and seconds differ from run to run; all else is the same bytes."""
    books = [a_class("alice", run=run) for run in (Run("monday", 1.0, 1), Run("tuesday", 99.0, 0, kept=1))]
    first, second = (overview(book).partition("<h2>This run</h2>") for book in books)
    assert first[0] == second[0]
    assert first[2] != second[2]
    for write in (gradebook, junit):
        assert write(books[0]) == write(books[1])


def test_the_summary_is_for_a_terminal() -> None:
    """Who, how much, how long, and the mistakes."""
    text = summary(a_class("alice", "bob"))
    assert "2 notebooks of 3 learners: 2 graded, in 12.3 s" in text
    assert "Acknowledged before the work was done" in text
    assert "1 thing needs a look" in text


def test_an_empty_class_has_all_reports(tmp_path: Path) -> None:
    """Nobody handed in, and nothing breaks."""
    reports.write(ClassRecord((), {}, ()), Results(tmp_path), empty(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"gradebook.csv", "junit.xml", "overview.html"}
    assert "Nothing was handed in." in (tmp_path / "overview.html").read_text(encoding="utf-8")


def _with_bobs_empty_file() -> ClassRecord:
    book = a_class("alice", "bob")
    empty = Mark(
        "", 0, 0, "unreadable-notebook", "The notebook could not be read", "Nothing ran.", "It is empty."
    )
    lost = tuple(replace(empty, exercise=each.name, most=each.points) for each in LESSON.exercises)
    return replace(book, graded=(book.graded[0], Graded("bob", Marks(LESSON.module, lost))))


def test_a_notebook_that_cannot_be_read_is_not_counted_as_graded() -> None:
    """Nor are its answers wrong: nobody has seen them. It has a row with the reason."""
    book = _with_bobs_empty_file()
    page = overview(book)
    assert "<b>1</b>notebook graded<" in page
    assert book.mean == book.points("alice")
    assert {facts.answers for facts in book.exercises(LESSON)} == {1}
    row = page[page.index(">bob</a>") : page.index(">nobody</a>")]
    assert ("the notebook cannot be read" in row, "✗" in row, "–" in row) == (True, False, True)
    nothing = replace(book, graded=book.graded[1:])
    assert "<b>0</b>notebooks graded<" in overview(nothing)
    assert "hardest" not in summary(nothing)


def test_who_handed_in_an_empty_file_is_told_so_once(tmp_path: Path) -> None:
    """And not exercise by exercise, with hints that do not help."""
    page = feedback(_with_bobs_empty_file(), "bob", Pictures(Results(tmp_path)))
    assert page.count("The notebook could not be read: It is empty. Nothing ran.") == 1
    assert ("<article" in page, "hint(" in page) == (False, False)


def test_the_summary_names_a_hardest_exercise_only_where_somebody_failed() -> None:
    """Each lesson by its label."""
    assert f"{LESSON.label} {LESSON.title}: hardest: " in summary(a_class("alice"))
    book = a_class("alice")
    passed = tuple(Mark(each.name, each.points, each.points) for each in LESSON.exercises)
    best = replace(book, graded=(Graded("alice", Marks(LESSON.module, passed)),))
    assert f"{LESSON.label} {LESSON.title}: all passed all exercises" in summary(best)
