"""The command `eip grade`: its arguments, and what it says."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path

from .course import reason

__all__ = ["WORDS", "add_arguments", "run"]

WORDS = "Grade a class: a folder of submitted notebooks in, a folder of results out."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `eip grade` takes."""
    parser.add_argument("submissions", type=Path, help="the folder with a file or folder for each learner")
    out = "the folder for results; default: results"
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="FOLDER", help=out)
    jobs = "how many notebooks are graded at a time; default: one for each processor"
    parser.add_argument("--jobs", type=_count, default=0, metavar="N", help=jobs)
    lesson = "the lesson of notebooks that do not tell their own, such as acks_and_leases"
    parser.add_argument("--lesson", default="", help=lesson)
    secret = "what hidden seeds are made from; default: .secret in the folder for results, made there"
    parser.add_argument("--secret", type=Path, metavar="FILE", help=secret)
    roster = "a CSV file that says who is in the class: the columns learner, name, folder"
    parser.add_argument("--roster", type=Path, metavar="FILE", help=roster)
    late = "mark what was handed in later, such as 2026-11-30T18:00+01:00"
    parser.add_argument("--deadline", type=_time, metavar="TIME", help=late)
    only = "grade this learner again, and leave what is known of all others; may be given several times"
    parser.add_argument("--only", action="append", default=[], metavar="LEARNER", help=only)
    parser.add_argument("--again", action="store_true", help="grade also notebooks that did not change")


def run(options: argparse.Namespace) -> int:
    """Grade, print a summary, and return the exit code.

    It is 0 when all that was handed in was graded, 1 when nothing was or the grader failed on a notebook,
    3 when something that was handed in could not be graded, 130 when it was interrupted. Raises
    LookupError for an unknown lesson or learner.
    """
    from .grading import grade_class  # it loads what learners' commands do without
    from .grading.summary import summary

    try:
        book = grade_class(
            options.submissions,
            options.out,
            lesson=options.lesson,
            at_once=options.jobs,
            secret_file=options.secret,
            again=options.again,
            only=options.only,
            roster=options.roster,
            deadline=options.deadline,
        )
    except KeyboardInterrupt:
        print("\nInterrupted. What was graded is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except (OSError, ValueError) as error:
        print(f"eip grade: {reason(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    print(summary(book))
    print(options.out / "overview.html")
    if book.not_graded or not book.graded:
        return 1
    return 3 if any(not problem.harmless for problem in book.problems) else 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it must be a whole number from 1 on, not {text!r}")
    return int(text)


def _time(text: str) -> datetime:
    from .grading.late import deadline

    try:
        return deadline(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
