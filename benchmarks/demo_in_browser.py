"""From a key on a slider to the new picture, in a real JupyterLab: `make bench-browser`.

A demo of about 1,000 events is moved 60 times. What is told is the distribution of the time from the
key press to the player's new picture, and of the part of it that the browser spends on drawing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from statistics import quantiles

import nbformat
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import FLAGS, HOW_TO_GET_ONE, PLACES
from tests.browser.lab import LabPage, jupyterlab

NOTEBOOK = """
import anyio
from eip_ref.lab.demo import demo, slider
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue, Worker
from eip_ref.trace import acting

async def orders(seconds):
    async def pack(message):
        await anyio.sleep(seconds)

    async with MessageQueue("orders", lease=60) as queue, anyio.create_task_group() as group:
        for name in ("worker-1", "worker-2", "worker-3"):
            with acting(name):
                group.start_soon(Worker(queue, pack).run)
        with acting("shop"):
            for number in range(166):
                await queue.put(Message(f"order {number}"))
                await anyio.sleep(1)
        queue.close()

made = demo(orders, {"seconds": slider(0.5, 5.0, 0.1, value=2.0)})
made
"""
WATCH = """() => {
    const player = document.querySelector(".eip-player").parentElement.eipPlayer;
    const load = player.load.bind(player);
    window.drawn = [];
    player.load = () => { const start = performance.now(); load(); drawn.push([start, performance.now()]); };
    addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
}"""


def measure(page: Page, moves: int) -> list[tuple[float, float]]:
    """For each move the milliseconds until the picture is drawn, and those spent on drawing."""
    slider = page.locator(".jupyter-widgets [role=slider]:not(.eip-player *)").first
    found = []
    for move in range(moves):
        page.evaluate("drawn.length = 0")
        slider.press("ArrowRight" if move % 2 else "ArrowLeft")
        page.wait_for_function("drawn.length > 0")
        start, end, pressed = page.evaluate("[...drawn[0], pressed]")
        found.append((end - pressed, end - start))
        page.wait_for_timeout(400)  # until the figures are drawn too: this measures one move at a time
    return found


def main() -> None:
    path = next(filter(None, map(shutil.which, [os.environ.get("EIP_CHROMIUM", ""), *PLACES])), None)
    if path is None:
        raise SystemExit(HOW_TO_GET_ONE)
    flags = FLAGS + (["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else [])
    with (
        tempfile.TemporaryDirectory() as home,
        jupyterlab(Path(home)) as server,
        sync_playwright() as playwright,
    ):
        cell = nbformat.v4.new_code_cell(NOTEBOOK.strip())  # type: ignore[no-untyped-call]
        events = nbformat.v4.new_code_cell("print(len(made.trace))")  # type: ignore[no-untyped-call]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=[cell, events], metadata=kernel)  # type: ignore[no-untyped-call]
        nbformat.write(notebook, server.root / "bench.ipynb")  # type: ignore[no-untyped-call]
        page = playwright.chromium.launch(executable_path=path, args=flags).new_page()
        lab = LabPage(page, server, Path(home))
        lab.open("bench.ipynb")
        lab.run_all()
        page.evaluate(WATCH)
        measure(page, 10)
        times = measure(page, 60)
        print(f"events in the trace: {lab.cell(1).locator('pre').last.inner_text().strip()}")
        for what, values in zip(("key to picture", "of it drawing"), zip(*times, strict=True), strict=True):
            cuts = quantiles(values, n=20)
            print(
                f"{what}: half within {cuts[9]:.0f} ms, "
                f"95 of 100 within {cuts[18]:.0f} ms, longest {max(values):.0f} ms"
            )


if __name__ == "__main__":
    main()
