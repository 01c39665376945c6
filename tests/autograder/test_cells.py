"""The cells that run for an exercise, in the notebook's check and in grading: one rule for both."""

from __future__ import annotations

import pytest

from eip_ref.autograder.isolation.cells import needed, read
from eip_ref.autograder.isolation.submission import COURSE

COURSES = "import anyio\nfrom eip_ref.message import Message\nshow(Message)"


@pytest.mark.parametrize(
    ("of", "source", "runs"),
    [
        ("", "def helper(): pass", True),
        ("", "if True:\n    def helper(): pass", True),
        ("", "try:\n    import helper\nexcept ImportError:\n    helper = None", True),
        ("", "delays.append(1)", True),
        ("", "def anyio(): pass", True),
        ("", "from math import *", True),
        ("", "import anyio\nanyio.run(demo)", False),
        ("", "print(len('a'))", False),
        ("", "lease = 1\nqueue = 2", False),
        ("", "def other(): helper()", False),
        ("other", "def helper(): pass", True),
        ("other", "from math import *", False),
        ("other", "def handle(): pass", False),
        ("other", "def work(", False),
    ],
)
def test_a_cell_runs_where_the_answer_uses_what_it_gives_or_changes(of: str, source: str, runs: bool) -> None:
    """Names that a function of the answer has for itself are not used, whoever else has them."""
    answer = (
        "async def work(queue, handle):\n    lease = await queue.receive()\n"
        "    await anyio.sleep(helper(delays, len(lease)))\n    print(handle)"
    )
    sources = [(COURSES, COURSE), (source, of), (answer, "mine")]
    cells = [read(number, *each) for number, each in enumerate(sources)]
    assert [cell.number for cell in needed(cells, "mine")] == [0, *([1] if runs else []), 2]


def test_of_a_cell_of_the_course_only_what_defines_runs() -> None:
    """What it shows need not be shown, and its lines stay where they are."""
    assert read(1, COURSES, COURSE).source == COURSES.replace("show(Message)", "\n")
