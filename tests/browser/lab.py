"""A JupyterLab server of its own, and a page of it, for tests that use the course as a reader does."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

ROOT = Path(__file__).parents[2]
PATIENCE = 180_000  #: milliseconds for whatever must come: a machine may be busy with other things
LOOK = (
    50  #: milliseconds from one look at a page to the next: a look at each frame would have all frames drawn
)
FOLDERS = ("notebooks", "exercises", "solutions")
SETTINGS = {
    # All cells stay in the page, so that a test can find what is not in view.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: where it is and what it serves."""

    url: str
    token: str
    root: Path

    def stop_kernels(self) -> None:
        """End every kernel, so that the next notebook has the machine for itself."""
        for session in self._ask("GET", "sessions"):
            self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method: str, what: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{what}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")


@contextmanager
def jupyterlab(home: Path) -> Iterator[Server]:
    """Serve a copy of the course's notebooks from below `home`; nothing outside it is read or written.

    A learner's own copy is in `my/` there.

    Raises `RuntimeError` with the server's log when it does not answer within a minute.
    """
    root, settings = home / "course", home / "settings"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(
        ROOT / "pyproject.toml", root
    )  # by which the course knows its folder, and keeps progress there
    copied = [sys.executable, "-m", "eip_ref.autograder.cli", "update"]  # the learner's copy, in my/
    subprocess.run(copied, cwd=root, env=_environment(home, ""), check=True, capture_output=True)
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(SETTINGS))
    token, port = secrets.token_hex(16), _free_port()
    server = Server(f"http://127.0.0.1:{port}", token, root)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={root}"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--ServerApp.allow_root=True", f"--LabApp.app_settings_dir={settings}"),
        "--LabApp.expose_app_in_browser=True",
    ]
    log = home / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=_environment(home, token), stdout=output, stderr=output)
        try:
            _wait_until_up(server, process, log)
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(home: Path, token: str) -> dict[str, str]:
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    folders = {name: str(home / name.lower()) for name in own}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "EIP_"))}
    return kept | folders | {"JUPYTER_TOKEN": token, "EIP_FIELD": "stored"}


def _wait_until_up(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 180
    while time.monotonic() < give_up and process.poll() is None:
        try:
            server.stop_kernels()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


class LabPage:
    """A browser page with one notebook after the other open in JupyterLab."""

    def __init__(self, page: Page, server: Server) -> None:
        expect.set_options(timeout=PATIENCE)
        page.set_default_timeout(PATIENCE)
        self.page = page
        self.server = server
        self._complaints: list[str] = []
        page.on("pageerror", lambda error: self._complaints.append(str(error.stack or error)))
        page.on("console", self._listen)

    def _listen(self, message: ConsoleMessage) -> None:
        # Modules of widgets are loaded from a blob. JupyterLab's own complaints are not ours.
        ours = message.location["url"].startswith("blob:") or "anywidget" in message.text
        if message.type == "error" and ours:
            self._complaints.append(message.text)

    def open(self, notebook: str) -> None:
        """Open `notebook`, a path from the root of the course, and wait for its kernel.

        In a page that is loaded already, since JupyterLab takes far longer to load than a notebook.
        """
        self._complaints.clear()
        if self.page.evaluate("'jupyterapp' in window"):
            self._run("docmanager:open", {"path": notebook})
        else:
            self.page.goto(f"{self.server.url}/lab/tree/{notebook}?reset&token={self.server.token}")
        self.page.wait_for_function(
            """notebook => {
                const panel = window.jupyterapp?.shell?.currentWidget;
                return panel?.context?.path === notebook
                    && panel.isRevealed
                    && panel.context.sessionContext.session?.kernel?.status === "idle";
            }""",
            arg=notebook,
            polling=LOOK,
        )

    def run_all(self) -> None:
        """Run all cells and wait until the last one is done."""
        self._run("notebook:run-all-cells")
        self.settle()

    def run_cell(self, index: int) -> None:
        """Run the cell at `index`, counted from 0 with prose cells, and wait until it is done."""
        self.run_cells(index, index)

    def run_cells(self, first: int, last: int) -> None:
        """Run the cells from `first` to `last`, and wait until the last one is done."""
        self.page.evaluate(
            """([first, last]) => {
                const content = window.jupyterapp.shell.currentWidget.content;
                content.deselectAll();
                content.activeCellIndex = first;
                content.extendContiguousSelectionTo(last);
            }""",
            [first, last],
        )
        self._run("notebook:run-cell")
        self.settle()

    def leave(self) -> None:
        """Close what is open without saving it, and end its kernel."""
        self.page.evaluate(
            """async () => {
                for (const panel of [...window.jupyterapp?.shell.widgets("main") ?? []]) {
                    await panel.context?.sessionContext.shutdown();
                    panel.dispose();
                }
            }"""
        )
        self.server.stop_kernels()

    def _run(self, command: str, arguments: dict[str, str] | None = None) -> None:
        self.page.evaluate(
            "async ([command, args]) => { await window.jupyterapp.commands.execute(command, args); }",
            [command, arguments or {}],
        )

    def settle(self) -> None:
        """Wait until the kernel is idle and each widget is shown."""
        self.page.wait_for_function(
            """() => window.jupyterapp.shell.currentWidget
                .context.sessionContext.session.kernel.status === "idle" """,
            polling=LOOK,
        )
        expect(self.page.get_by_text("Loading widget...")).to_have_count(0)

    def write(self, index: int, source: str) -> None:
        """Put `source` in place of what the cell at `index` says."""
        self.page.evaluate(
            """([index, source]) =>
                window.jupyterapp.shell.currentWidget.content.widgets[index].model.sharedModel.setSource(source)
            """,
            [index, source],
        )

    def type(self, index: int, source: str) -> None:
        """Type `source` over what the cell at `index` says, as one who pastes, and run it by keyboard."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")
        self.settle()

    def sources(self) -> list[str]:
        """The text of each cell, in order."""
        cells: list[str] = self.page.evaluate(
            """() => Array.from(
                window.jupyterapp.shell.currentWidget.content.widgets,
                cell => cell.model.sharedModel.getSource())"""
        )
        return cells

    def cell(self, index: int) -> Locator:
        """The cell at `index` with its outputs."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def active(self) -> int:
        """The index of the cell that the next Shift+Enter runs; -1 while the focus is not in the notebook."""
        index: int = self.page.evaluate(
            """() => {
                const content = window.jupyterapp.shell.currentWidget.content;
                return content.node.contains(document.activeElement) ? content.activeCellIndex : -1;
            }"""
        )
        return index

    def not_run(self) -> list[str]:
        """The text of each code cell that has not been run to its end."""
        cells: list[str] = self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets
                .filter(cell => cell.model.type === "code" && cell.model.sharedModel.getSource().trim())
                .filter(cell => !/[0-9]/.test(cell.promptNode.textContent))
                .map(cell => cell.model.sharedModel.getSource())"""
        )
        return cells

    def errors(self) -> list[str]:
        """All that a reader would call an error: in outputs, in widgets, and in the page's own scripts."""
        outputs: list[dict[str, Any]] = self.page.evaluate(
            """() => window.jupyterapp.shell.currentWidget.content.widgets
                .filter(cell => cell.model.type === "code")
                .flatMap(cell => cell.model.outputs.toJSON())"""
        )
        raised = [f"{output['ename']}: {output['evalue']}" for output in outputs if "ename" in output]
        printed = [output["text"] for output in outputs if output.get("name") == "stderr"]
        return raised + printed + self.widget_errors() + self._complaints

    def widget_errors(self) -> list[str]:
        """What is shown in the place of each widget that could not be shown."""
        broken = self.page.locator(".jp-OutputArea-output", has_text="Error displaying widget")
        return broken.or_(self.page.locator(".jupyter-widgets-error-widget")).all_inner_texts()
