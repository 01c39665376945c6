"""From a key to the new picture, and from frame to frame, in a real JupyterLab: `make bench-browser`.

A demo of about 1,000 events is moved 60 times. What is told is the distribution of the time from the
key press to the player's new picture, and of the part of it that the browser spends on drawing. Then
500 waiting messages are played: the time to draw them is told as a share of what a frame lasts in an
idle page of the same browser. Above 100 % it would no longer play smoothly.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
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

async def orders(seconds, count=166, gap=1):
    async def pack(message):
        await anyio.sleep(seconds)

    async with MessageQueue("orders", lease=60) as queue, anyio.create_task_group() as group:
        for name in ("worker-1", "worker-2", "worker-3"):
            with acting(name):
                group.start_soon(Worker(queue, pack).run)
        with acting("shop"):
            for number in range(count):
                await queue.put(Message(f"order {number}"))
                await anyio.sleep(gap)
        queue.close()

made = demo(orders, {"seconds": slider(0.5, 5.0, 0.1, value=2.0)})
made
"""
CROWD = """
from eip_ref.lab import simulate
from eip_ref.lab.player import Player

Player(trace=simulate(lambda: orders(1, count=520, gap=0.01)))
"""
WATCH = """() => {
    const player = document.querySelector(".eip-player").parentElement.eipPlayer;
    const load = player.load.bind(player);
    window.drawn = [];
    player.load = () => { const start = performance.now(); load(); drawn.push([start, performance.now()]); };
    addEventListener("keydown", () => { window.pressed = performance.now(); }, true);
}"""
PLAY = """async (frames) => {
    const player = [...document.querySelectorAll(".eip-player")].at(-1).parentElement.eipPlayer;
    const frame = () => new Promise(requestAnimationFrame), idle = [];
    for (let n = 0, last = await frame(); n < frames; n++) {
        const now = await frame();
        idle.push(now - last);
        last = now;
    }
    const lasts = idle.sort((a, b) => a - b)[frames >> 1], shares = [], render = player.render.bind(player);
    player.render = (dt) => {
        const start = performance.now(), moving = render(dt);
        shares.push((performance.now() - start) / lasts);
        return moving;
    };
    player.scrub(4.9 / player.film.end);
    player.toggle();
    while (shares.length < frames) await frame();
    return shares;
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
        sources = [NOTEBOOK, "print(len(made.trace))", CROWD]
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]  # type: ignore[no-untyped-call]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
        nbformat.write(notebook, server.root / "bench.ipynb")  # type: ignore[no-untyped-call]
        page = playwright.chromium.launch(executable_path=path, args=flags).new_page()
        lab = LabPage(page, server)
        lab.open("bench.ipynb")
        lab.run_all()
        page.evaluate(WATCH)
        measure(page, 10)
        times = measure(page, 60)
        print(f"events in the trace: {lab.cell(1).locator('pre').last.inner_text().strip()}")
        for what, values in zip(("key to picture", "of it drawing"), zip(*times, strict=True), strict=True):
            tell(what, values, ".0f", " ms")
        page.wait_for_function("document.querySelectorAll('.eip-player').length > 1")
        tell("500 messages, of a frame", page.evaluate(PLAY, 120), ".0%")


def tell(what: str, values: Sequence[float], form: str, unit: str = "") -> None:
    """Print the distribution in a line."""
    half, most = (format(quantiles(values, n=20)[cut], form) for cut in (9, 18))
    longest = format(max(values), form)
    print(f"{what}: half within {half}{unit}, 95 of 100 within {most}{unit}, longest {longest}{unit}")


if __name__ == "__main__":
    main()
