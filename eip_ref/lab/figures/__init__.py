"""Figures of a trace: pictures that show themselves in a notebook, and say in words what they show.

    sequence(trace)   who sent what to whom          timeline(trace)   who worked when, and was down
    depth(trace)      how many messages wait         counters(trace)   accepted, acked, dead … so far
    latency(trace)    how long they waited           network(trace)    who is linked to whom
    states(trace)     a strip per state machine      gantt(trace)      when each step or branch ran
    scaling(trace)    workers and waiting messages   lag(trace)        how far readers are behind
    offsets(trace)    how far each group has come    bars, lines, grid numbers compared
    outcomes(runs, …) a sign for how each run ended

Each returns a `Figure` with `svg` and `alt`. The same trace gives the same bytes in every process.

*Left out:* zooming, tooltips and figures of a trace that still grows; the player is for looking around.
"""

from .canvas import Figure
from .gantt import gantt
from .network import network
from .offsets import offsets
from .outcomes import outcomes
from .over_time import counters, depth, lag, latency, scaling
from .plain import bars, grid, lines
from .sequence import sequence
from .states import states
from .timeline import timeline

__all__ = [
    "Figure",
    "bars",
    "counters",
    "depth",
    "gantt",
    "grid",
    "lag",
    "latency",
    "lines",
    "network",
    "offsets",
    "outcomes",
    "scaling",
    "sequence",
    "states",
    "timeline",
]
