"""The doctor says what is missing and how to fix it, and looks the same on every healthy machine."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from eip_ref.autograder import doctor
from eip_ref.autograder.cli import main
from eip_ref.autograder.doctor import Diagnostics, Line, examine
from eip_ref.autograder.isolation import sandbox
from eip_ref.autograder.isolation.sandbox import Isolation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EIP_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("home")
def test_a_machine_that_has_everything_is_ready() -> None:
    """Where the tests run, the course runs."""
    found = doctor()
    assert found.problems == []
    assert found.summary == "Your machine is ready."


@pytest.mark.usefixtures("home")
def test_every_package_of_the_course_is_named_with_what_it_needs() -> None:
    """The list is that of the package's own metadata."""
    shown = str(examine("teacher"))
    needed = [each for each in metadata.requires("eip-ref") or () if 'extra == "course"' in each]
    assert needed
    for each in needed:
        name, known, least = each.partition(";")[0].partition(">=")
        assert not known or f"{name}: ready (needs {least.strip()} or newer)" in shown
    assert shown.count("newer)") == len([each for each in needed if ">=" in each]) + len(["Python", "anyio"])
    assert "anyio: ready" in shown
    assert "pytest" not in shown


def test_what_a_notebook_shows_does_not_depend_on_a_healthy_machine(home: Path) -> None:
    """No version that was found and no path of this machine is in it."""
    shown = str(doctor()._repr_mimebundle_())
    assert metadata.version("anyio") not in shown
    assert str(home) not in shown


def _old(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "anyio" else real(name))


def _missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "anyio":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_an_old_package_is_a_problem_with_its_fix(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what is needed, what was found, and the command."""
    _old(monkeypatch)
    (line,) = doctor().problems
    assert (line.what, line.found) == ("anyio", "0.1")
    assert line.fix.startswith('python -m pip install "anyio>=')


def test_a_missing_package_is_a_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was found."""
    _missing(monkeypatch)
    assert "anyio: problem (needs" in str(doctor())
    assert "found nothing" in str(doctor())


def test_a_package_of_the_course_that_was_not_installed_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without metadata there is one thing to do first."""

    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    (line,) = doctor().problems
    assert line.fix == 'python -m pip install -e ".[course]"'


def test_a_folder_that_cannot_be_written_to_is_a_problem(home: Path) -> None:
    """A learner's progress would be lost without a word."""
    home.rmdir()
    (line,) = doctor().problems
    assert line.what == "your progress"
    assert "EIP_HOME" in line.fix


def test_a_file_of_progress_that_cannot_be_written_to_is_a_problem(home: Path) -> None:
    """Also where its folder can: somebody else may own it."""
    (home / ".eip" / "progress.jsonl").mkdir(parents=True)
    (line,) = doctor().problems
    assert (line.what, line.found) == ("your progress", "Is a directory")


def test_what_only_tests_need_is_no_problem() -> None:
    """A learner without a test browser is ready."""
    found = Diagnostics((Line("Chromium", "a browser", False, "get one", needed=False),))
    assert found.well
    assert "Chromium: not there (needs a browser)" in str(found)


def test_the_command_line_fails_when_there_is_a_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0 when ready, 1 when not."""
    assert main(["doctor"]) == 0
    _old(monkeypatch)
    assert main(["doctor"]) == 1
    assert "1 problem. Fix the first one" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
def test_the_command_line_also_names_what_tests_need() -> None:
    """For those who write for the course."""
    assert "pytest: ready" in str(examine("contributor"))


@pytest.mark.usefixtures("home")
def test_the_page_tells_state_in_words_and_not_by_colour_alone() -> None:
    """Each row has its state as text."""
    page = doctor()._repr_mimebundle_()["text/html"]
    assert page.count("✓ ready") == len(doctor().lines)


BARE = """
import contextlib, importlib.abc, importlib.metadata, io, json, sys
THERE = {"eip_ref", "anyio", "idna", "sniffio", "exceptiongroup", "typing_extensions"}
real = importlib.metadata.version
class OnlyAnyio(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        python = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if top not in THERE and (not python or top in ("fcntl", "resource")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
def version(name):
    return real(name) if name in THERE else importlib.metadata.distribution("none-such").version
sys.meta_path.insert(0, OnlyAnyio())
importlib.metadata.version = version
from eip_ref.autograder.cli import main
for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(said):
        try:
            code = main(command)
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, said.getvalue()]))
"""


def test_every_command_runs_on_the_bare_package_and_names_the_one_that_installs_the_rest() -> None:
    """Where only anyio is there, without the modules that Windows lacks: no traceback, nothing made."""
    notebook = "exercises/02b_acks_and_leases.ipynb"
    work = ["check " + notebook, "grade exercises", "start", "update", "derive --check", "app gateway"]
    work += ["app dashboard", "reset message_queue/mend_the_worker", "progress"]
    commands = [each.split() for each in ["doctor", "doctor teacher", "--help", "grade --help", *work]]
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert done.stderr == ""
    learner, teacher, help_, grade_help, *others = map(json.loads, done.stdout.splitlines())
    one_command = 'python -m pip install -e ".[course]"'
    assert (learner[0], learner[1].count(one_command), learner[1].count("pip install")) == (1, 1, 3)
    assert ("tqdm" in learner[1], "bubblewrap" in learner[1]) == (False, False)
    assert ("tqdm" in teacher[1], "bubblewrap" in teacher[1], "pytest" in teacher[1]) == (True, True, False)
    assert (help_[0], grade_help[0]) == (0, 0)
    assert [code for code, _ in others] == [1] * len(work)
    assert "tqdm is missing" not in str(others)  # of which learners were told nothing
    assert [said for _, said in others if "[course]" not in said or said.count("\n") != 1] == []


@pytest.mark.usefixtures("home")
def test_a_teacher_is_told_why_the_sandbox_is_weaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can mend what is not named."""
    weak = Isolation("without bubblewrap", strong=False, why="no user namespaces")
    monkeypatch.setattr(sandbox, "best_isolation", lambda: weak)
    assert "found without bubblewrap (no user namespaces)" in str(examine("teacher"))
    assert examine("teacher").well
