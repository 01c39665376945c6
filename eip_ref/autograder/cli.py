"""The `eip` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .. import values
from ..apps import start
from . import check_command, course, grade_command
from .board import board
from .check import reset
from .doctor import AUDIENCES, examine, install

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as `docs/teachers.md` lists them."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more and options.command is not _start:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.more = more
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing == "eip_ref":
            raise
        words = f"{missing} is missing. To install all that the course needs: {install('course')}"
        print(f"eip: {words}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except (OSError, LookupError, course.Refused) as error:
        print(f"eip: {course.reason(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="eip", description="Enterprise integration patterns: the course.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words)
        added.set_defaults(command=command)
        return added

    opens = add("start", _start, "Open your copy of the course in JupyterLab, which gets the arguments.")
    opens.usage = "eip start [-h] [ARGUMENT ...]"
    newer = add("update", _update, "Bring your copy up to date, cell by cell; what you wrote stays.")
    newer.add_argument("--yes", action="store_true", help="take a correction without being asked")
    one_of = newer.add_mutually_exclusive_group()
    source = "the folder or address of a teacher's correction; default: the course, after `git pull`"
    one_of.add_argument("source", nargs="?", default="", metavar="FROM", help=source)
    before = "first take over what you wrote into the course's own notebooks, such as stash@{0}"
    one_of.add_argument("--bring-over", metavar="COMMIT", help=before)
    health = add("doctor", _doctor, "Say what this machine lacks, and how to fix it.")
    whose = "a teacher grades, a contributor runs the tests; default: learner"
    health.add_argument("who", nargs="?", choices=AUDIENCES, default=AUDIENCES[0], help=whose)
    field = add("field", _field, "Say which real systems can be run here, and how to install the others.")
    field.add_argument("what", choices=["doctor"])
    check_command.add_arguments(add("check", check_command.run, check_command.WORDS))
    grade_command.add_arguments(add("grade", grade_command.run, grade_command.WORDS))
    add("progress", _progress, "Show what you have passed, and what comes next.")
    again = add("reset", _reset, "Begin an exercise again; a copy of your notebook is kept in .eip/backups/.")
    again.add_argument("name", metavar="LESSON/EXERCISE", help="such as message_queue/mend_the_worker")
    app = add("app", _app, "Start one of the applications that show patterns at work, until Ctrl-C.")
    apps = app.add_subparsers(required=True, metavar="NAME", dest="name")
    about = "users and billing: commands, a live view, its lag, and what can be broken"
    dashboard = apps.add_parser("dashboard", help=about, description=f"Show {about}.")
    dashboard.add_argument("--folder", help="where its files are kept; default: a temporary folder")
    seconds = "how long the projector waits before each event; default: 0"
    dashboard.add_argument("--slow", type=_seconds, default=0.0, metavar="SECONDS", help=seconds)
    kafka = "put Kafka between outboxes and projector; default: a file"
    dashboard.add_argument("--kafka", type=_address, metavar="HOST:PORT", help=kafka)
    about = "a gateway before three services, which you make slow or failing"
    gateway = apps.add_parser("gateway", help=about, description=f"Show {about}.")
    for each in (dashboard, gateway):
        each.add_argument("--port", type=_port, default=0, help="where it listens; default: a free port")
    made = add("derive", _derive, "Make exercises/ from solutions/ (for those who write them).")
    made.add_argument("--check", action="store_true", help="write nothing; show what differs")
    cells = "write the cells of a new exercise into solutions/"
    made.add_argument("--add", metavar="LESSON/EXERCISE", help=cells)
    return parser


def _start(options: argparse.Namespace) -> int:
    from . import update_command  # it loads nbformat and nbclient, which the other commands do without

    return update_command.start(options.more)


def _update(options: argparse.Namespace) -> int:
    from . import update_command

    return update_command.update(options)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"a port is a whole number up to 65535, not {text!r}")
    return int(text)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise argparse.ArgumentTypeError(f"an address is HOST:PORT, not {text!r}")
    return text


def _seconds(text: str) -> float:
    try:
        return values.duration("it", float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"it must be a number of seconds from 0 on, not {text!r}") from error


def _doctor(options: argparse.Namespace) -> int:
    found = examine(options.who)
    print(found)
    return 0 if found.well else 1


def _field(options: argparse.Namespace) -> int:
    from ..field import doctor

    print(doctor.report())
    return 0


def _progress(options: argparse.Namespace) -> int:
    print(board())
    return 0


def _reset(options: argparse.Namespace) -> int:
    print(reset(options.name))
    return 0


def _app(options: argparse.Namespace) -> int:
    settings = {name: value for name, value in vars(options).items() if name in ("folder", "slow", "kafka")}
    return start(options.name, options.port, **settings)


def _derive(options: argparse.Namespace) -> int:
    from . import derive

    return derive.run(options)


if __name__ == "__main__":
    sys.exit(main())
