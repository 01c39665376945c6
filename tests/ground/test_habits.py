"""What CONTRIBUTING, the workflow and the hooks say is true, as far as it can be seen from here."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from packaging.specifiers import SpecifierSet

from eip_ref.autograder.cli import _parser
from tests.backends import SCHEDULERS, Scenario

ROOT = Path(__file__).parents[2]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


GUIDE = text("CONTRIBUTING.md")
JOBS: dict[str, Any] = yaml.safe_load(text(".github/workflows/test.yml"))["jobs"]
HOOKS = [hook["entry"] for hook in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

Test = Callable[[], Awaitable[None]]


def commands() -> Iterator[list[str]]:
    """Each command of the guide, the workflow and the hooks, as words."""
    blocks = re.findall(r"```(?:bash|powershell)\n(.*?)```", GUIDE, re.S)
    within = re.findall(r"`((?:make|python) [^`]+)`", GUIDE)
    steps = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    for some in (*blocks, *within, *steps, *HOOKS):
        for command in re.split(r"\n| ; | && ", some.replace("\\", "/")):
            yield shlex.split(command, comments=True)


def test_every_make_target_that_is_named_exists() -> None:
    """Whoever follows the guide meets no "no rule to make target"."""
    named = {words[1] for words in commands() if words[:1] == ["make"]}
    assert named - set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M)) == set()


def test_every_module_and_folder_that_a_command_names_exists() -> None:
    """Of this tree; tools come with the extra `test`."""
    of_tree = re.compile(r"(eip_ref|tests|benchmarks|docs)\b")
    modules = {words[2] for words in commands() if words[:2] == ["python", "-m"] and of_tree.match(words[2])}
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()
    words = {word for words in commands() for word in words if re.fullmatch(r"tests/\w+", word)}
    assert {word for word in words if not (ROOT / word).exists()} == set()


def test_every_option_that_a_command_gives_to_pytest_exists() -> None:
    """Plugins come and go."""
    given = {word for words in commands() if words[2:3] == ["pytest"] for word in words if word[:2] == "--"}
    known = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True)
    assert [option for option in given if option not in known.stdout.split()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_eip_command_that_a_page_shows_is_understood(page: Path) -> None:
    """With its options, before anything is done."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    for line in "\n".join(blocks).splitlines():
        if line.startswith("eip "):
            _parser().parse_args(shlex.split(line, comments=True)[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    """Links within the tree."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    links = [link.partition("#")[0] for link in found if "://" not in link and not link.startswith("#")]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_worked_example_passes(scheduler: Callable[[Scenario], object]) -> None:
    """What the guide shows as a test is one."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    names: dict[str, Test] = {}
    exec(code, names)
    (name,) = [name for name in names if name.startswith("test_")]
    scheduler(names[name])


def test_the_workflow_tries_only_versions_of_python_that_the_package_takes() -> None:
    """The oldest of them too."""
    takes = SpecifierSet(tomllib.loads(text("pyproject.toml"))["project"]["requires-python"])
    for job in JOBS.values():
        versions = job["strategy"]["matrix"]["python"]
        assert all(version in takes for version in versions)
        assert versions[0] == str(takes).removeprefix(">=")


def test_the_hooks_run_what_lint_runs() -> None:
    """A commit that passes its hooks passes that part of lint."""
    makefile = text("Makefile")
    for hook in HOOKS:
        name, *arguments = hook.removeprefix("python -m ").split()
        assert f"ruff {arguments[0]}" in makefile if name == "ruff" else f"-m {name}" in makefile


def test_no_property_is_judged_by_the_clock_of_the_machine() -> None:
    """A machine with much to do makes each example slow, and none of them wrong."""
    assert settings.default is not None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
