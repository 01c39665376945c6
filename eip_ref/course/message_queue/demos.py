"""The controls, presets and words of the demos in lessons 02a to 02c. The scenarios stand in the lessons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...lab import figures
from ...lab.demo import Demo, choice, demo, slider, toggle
from ...lab.wording import plural
from ...trace import Kind, Trace
from .stage import lost_and_repeated

__all__ = ["crash_demo", "morning_demo", "poison_demo"]

Scenario = Callable[..., Awaitable[Any]]


def morning_demo(scenario: Scenario) -> Demo:
    """A morning: `scenario(rate, service, workers, prefetch, late)`."""
    late = {"rate": 60, "workers": 2, "late": 30}
    return demo(
        scenario,
        {
            "rate": slider(6, 60, 2, value=20, label="Orders per minute"),
            "service": slider(1, 10, 0.5, value=4.0, label="Seconds for an order"),
            "workers": slider(1, 6, value=2, label="Workers"),
            "prefetch": slider(1, 40, value=1, label="Prefetch"),
            "late": slider(0, 60, 5, value=0, label="Last worker late by (s)"),
        },
        presets={
            "Calm": {"rate": 10, "workers": 1},
            "Rush, one worker": {"rate": 40, "workers": 1},
            "Rush, four workers": {"rate": 40, "workers": 4},
            "Late, and fair": {**late, "prefetch": 1},
            "Late, and greedy": {**late, "prefetch": 40},
        },
        summary=_morning,
        figures=[lambda trace: figures.depth(trace, where="orders"), figures.latency],
        seed=1,
        title="A morning in the Tea House",
    )


def _morning(trace: Trace) -> str:
    accepted = {e.message: e.at for e in trace.filter(Kind.ACCEPTED, where="orders")}
    waits = [e.at - accepted[e.message] for e in trace.filter(Kind.STARTED)]
    workers = sorted({e.who for e in trace.filter(Kind.STARTED)})
    shares = [f"{who} {trace.count(Kind.STARTED, who=who)}" for who in workers]
    packed = [int(message[1:]) for message in trace.messages(Kind.EFFECT)]
    overtaken = sum(late < max(packed[:place]) for place, late in enumerate(packed) if place)
    return (
        f"All packed after {trace.end / 60:.1f} minutes. "
        f"Waiting: {sum(waits) / len(waits):.0f} s on average, {max(waits):.0f} s at most. "
        f"Orders per worker: {', '.join(shares)}. "
        f"{overtaken} of {len(packed)} orders were overtaken."
    )


def crash_demo(scenario: Scenario) -> Demo:
    """A worker that dies: `scenario(ack, crash_at)`."""
    return demo(
        scenario,
        {
            "ack": choice("first", "last", label="Acknowledge"),
            "crash_at": slider(0.25, 12.0, 0.25, value=4.5, label="The worker dies at (seconds)"),
        },
        presets={
            "Lost": {"ack": "first", "crash_at": 4.5},
            "Repeated": {"ack": "last", "crash_at": 5.5},
            "Harmless": {"ack": "last", "crash_at": 4.5},
        },
        summary=_crash,
        figures=[figures.sequence],
        seed=None,
        title="The worker dies",
    )


def _crash(trace: Trace) -> str:
    lost, repeated = lost_and_repeated(trace)
    return f"5 orders. Lost: {lost}. Labels printed twice: {repeated}. Done at {trace.end:.1f} s."


def poison_demo(scenario: Scenario) -> Demo:
    """A poison message: `scenario(attempts, rest, mended_at)`, the last in seconds or None for never."""

    async def run(attempts: int, rest: float, mended_at: int, mended: bool) -> None:
        await scenario(attempts, rest, mended_at if mended else None)

    return demo(
        run,
        {
            "attempts": slider(1, 6, value=3, label="Attempts"),
            "rest": slider(0.0, 10.0, 0.5, value=2.0, label="Rest after a nack (seconds)"),
            "mended_at": slider(0, 58, 2, value=20, label="Address mended at (seconds)"),
            "mended": toggle(True, label="Mend it, and replay at 60 s"),
        },
        presets={
            "Mended too late": {"attempts": 3, "rest": 2.0, "mended_at": 20},
            "Patient enough": {"attempts": 6, "rest": 6.0, "mended_at": 20},
            "Never mended": {"mended": False},
        },
        summary=_poison,
        figures=[figures.sequence],
        seed=None,
        title="A poison message",
    )


def _poison(trace: Trace) -> str:
    delivered = len(trace.filter(Kind.DELIVERED, message="m2", where="orders"))
    words = f"Order 2: {plural(delivered, 'delivery', 'deliveries')}"
    for event in trace.filter(Kind.DEAD, Kind.REPLAYED):
        words += f", {event.kind} at {event.at:.1f} s"
    return f"{words}. Packed in the end: {trace.count(Kind.EFFECT)} of 4."
