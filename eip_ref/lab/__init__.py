"""The laboratory: run a scenario in virtual time, break it on purpose, and look at its trace.

    trace = simulate(scenario, seed=1)      virtual time: an hour in a few milliseconds
    Faults, Crash, Exponential, …           latency, loss, duplication, reordering and crashes
    invariants.check(trace, …)              judgements over a trace, in words

and, in modules of their own because they need matplotlib or widgets,

    figures.sequence(trace), …              pictures of a trace
    player.player(trace)                    a widget in which the messages move
    demo.demo(scenario, controls)           a scenario with controls, a player and figures
"""

from . import faults, invariants
from .clock import Deadlock, Runaway, simulate
from .faults import Constant, Crash, Exponential, Faults, Link, Participant, Uniform

__all__ = [
    "Constant",
    "Crash",
    "Deadlock",
    "Exponential",
    "Faults",
    "Link",
    "Participant",
    "Runaway",
    "Uniform",
    "faults",
    "invariants",
    "simulate",
]
