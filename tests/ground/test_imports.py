"""What README, the lists of dependencies and the layout say of each other is true."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from benchmarks.core import peer
from eip_ref.autograder.registry import outlines

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "eip_ref"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text().splitlines()
COMMANDS = {
    "make",
    "python",
    "python3",
    "py",
    "pip",
    "conda",
    "jupyter",
    "eip",
    "git",
    "cd",
    "source",
    "sudo",
}
GROUND = {"message", "trace", "signal", "tasks", "timers", "bounded", "values", "sockets", "storage"}
HEAVY = {"matplotlib", "numpy", "ipywidgets", "IPython", "anywidget", "jinja2"}  # what shows
ABOVE = {"lab", "autograder", "course", "apps", "field"}  # what shows, judges, fills, serves, connects
PATTERNS = sorted(
    path.stem
    for path in PACKAGE.iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").exists())
    and path.stem not in {"__init__"} | GROUND | ABOVE
)


def commands() -> list[list[str]]:
    """Each line of README's shell blocks, as words, without a prompt."""
    blocks = re.findall(r"^ *```(?:bash|sh|shell|console|powershell)\n(.*?)```", README, re.M | re.S)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True, posix="\\" not in line))]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


# README


def test_readme_gives_the_two_commands() -> None:
    """One to learn, one to prove that all of it works."""
    assert [words for words in commands() if words[0] == "make"][:2] == [["make", "lab"], ["make", "test"]]


def test_every_make_target_that_readme_names_exists() -> None:
    """In its blocks and between its lines."""
    named = set(re.findall(r"`make ([a-z-]+)", README)) | {w[1] for w in commands() if w[0] == "make"}
    assert named - targets() == set()


def test_every_command_of_readme_is_one_that_the_course_explains_or_installs() -> None:
    """A reader can copy it. What it names of this tree exists."""
    assert {words[0] for words in commands()} - COMMANDS - {r".venv\Scripts\activate"} == set()
    files = [word for words in commands() for word in words if re.search(r"\.(yml|ipynb|txt|toml)$", word)]
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_every_extra_that_readme_installs_is_declared() -> None:
    """`pip install -e ".[course]"` installs something."""
    extras = {extra for names in re.findall(r"\.\[([\w,]+)\]", README) for extra in names.split(",")}
    assert extras - set(PROJECT["optional-dependencies"]) == set()


@pytest.mark.parametrize("folder", ["notebooks", "exercises"])
def test_the_map_in_readme_leads_to_every_notebook_and_to_no_other(folder: str) -> None:
    """A lesson that is not on the map is not found."""
    linked = set(re.findall(rf"\]\((?:\./)?{folder}/(\w+)\.ipynb\)", README))
    assert linked == {path.stem for path in (ROOT / folder).glob("*.ipynb")}


def test_every_file_that_readme_links_to_exists() -> None:
    """Links within the tree."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


# Dependencies


def test_conda_installs_what_pyproject_says_and_names_no_package_itself() -> None:
    """Python, pip, and the course with its constraints: nothing is stated twice."""
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    plain = [entry for entry in dependencies if isinstance(entry, str)]
    (by_pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert {Requirement(entry).name for entry in plain} == {"python", "pip"}
    assert by_pip == ["-c constraints.txt", "-e .[course]"]


def test_conda_and_pyproject_agree_on_python() -> None:
    """The same range of versions."""
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = (Requirement(entry) for entry in dependencies[:-1] if entry.startswith("python"))
    assert python.specifier == SpecifierSet(PROJECT["requires-python"])


def test_every_constraint_is_one_exact_version() -> None:
    """No range, no address: the same versions from whichever index one uses."""
    loose = [line for line in CONSTRAINTS if not re.fullmatch(r"[\w.-]+==[\w.+!]+( ; [^#@]+)?", line)]
    assert loose == []


def test_constraints_cover_every_dependency() -> None:
    """Also those of dependencies, on this machine."""
    wanted = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in PROJECT["optional-dependencies"].values():
        wanted += map(Requirement, extra)
    known = {canonicalize_name(Requirement(line).name) for line in CONSTRAINTS}
    assert needed(wanted) - known - {canonicalize_name(PROJECT["name"])} == set()


def needed(wanted: list[Requirement]) -> set[str]:
    """The names of all that is needed, with what it needs in turn."""
    found: set[str] = set()
    todo = [(item.name, frozenset(item.extras)) for item in wanted]
    seen = set(todo)
    for name, extras in todo:  # grows while it is read
        found.add(canonicalize_name(name))
        for text in _requires(name):
            item = Requirement(text)
            applies = item.marker is None or any(item.marker.evaluate({"extra": e}) for e in {"", *extras})
            entry = (item.name, frozenset(item.extras))
            if applies and entry not in seen:
                seen.add(entry)
                todo.append(entry)
    return found


def _requires(name: str) -> list[str]:
    """What a package needs, as far as this machine knows: those of `bench` need not be here."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def test_a_benchmark_whose_libraries_are_missing_names_the_command_that_installs_them() -> None:
    """It is run by itself, in an environment that has what the tests need."""
    assert "bench" in targets()
    with pytest.raises(ModuleNotFoundError, match="`make bench`"):
        peer("a_library_that_is_missing")


def test_the_dev_container_installs_with_a_target_that_exists() -> None:
    """And has a Python that is new enough."""
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["postCreateCommand"].removeprefix("make ") in targets()
    version = container["image"].rpartition(":")[2]
    assert version in SpecifierSet(PROJECT["requires-python"])


# Files


def committed() -> Iterator[tuple[str, str]]:
    """Each text file that is, or would be, committed: its name and its text."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is not a clone")
    for name in filter(None, listed.stdout.split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in data:
            yield name, data.decode("utf-8")


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """Or else it works there only."""
    machine = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|mnt)/\w|[A-Z]:\\{1,2}Users\\")
    assert [name for name, text in committed() if machine.search(text)] == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """Everyone uses the one that their own pip is set up for."""
    host = re.compile(r"\b(?:pypi|pythonhosted|npmjs|deb\.debian|conda\.anaconda)\.(?:org|com)\b")
    assert [name for name, text in committed() if host.search(text)] == []


def test_no_notebook_stores_timings() -> None:
    """They differ in every run."""
    notebooks = [(name, text) for name, text in committed() if name.endswith(".ipynb")]
    assert [name for name, text in notebooks if "iopub.execute_input" in text or '"widgets"' in text] == []


# Imports


@pytest.mark.parametrize("module", ["", *PATTERNS])
def test_importing_the_package_or_a_pattern_loads_no_plotting_and_no_widgets(module: str) -> None:
    """`pip install eip-ref` needs anyio alone."""
    name = f"eip_ref.{module}".rstrip(".")
    code = f"import sys, {name}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) & HEAVY == set()


def test_loading_the_exercises_of_any_lesson_loads_no_plotting_and_no_widgets() -> None:
    """Whoever checks or grades an answer would wait for it, and mostly shows no picture."""
    code = """if True:
        import json, sys
        from eip_ref.autograder import registry
        names = [outline.module for outline in registry.outlines()]
        print(json.dumps({lesson.label: [*sys.modules] for lesson in map(registry.lesson, names)}))"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {lesson: HEAVY.intersection(names) for lesson, names in json.loads(said).items()}
    assert loaded == {outline.label: set() for outline in outlines()}


def imports(path: Path) -> set[str]:
    """The parts of `eip_ref` that a file of it imports: "trace", "lab", a pattern."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module or "").split(".") if node.module else base
            names += [[*module, alias.name] for alias in node.names]
    return {name[1] for name in names if name[0] == "eip_ref" and len(name) > 1}


def files(part: str) -> list[Path]:
    single = PACKAGE / f"{part}.py"
    return [single] if single.exists() else sorted((PACKAGE / part).rglob("*.py"))


def imported(part: str) -> set[str]:
    return set().union(*map(imports, files(part)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_imports_nothing_that_stands_on_it(pattern: str) -> None:
    """Reference code stands alone."""
    assert imported(pattern) & ABOVE == set()


def test_the_ground_imports_nothing_that_stands_on_it() -> None:
    """It is the bottom."""
    assert set().union(*map(imported, GROUND)) <= GROUND


def test_the_laboratory_knows_the_ground_and_nothing_else_of_the_course() -> None:
    """What it shows works for every pattern, also for one that a learner writes."""
    assert imported("lab") - {"lab"} <= GROUND
