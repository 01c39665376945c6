"""Mistakes that no exercise names: a run that did not end by itself, and an answer that is not there."""

from __future__ import annotations

from .exercise import Ending, Mistake

__all__ = ["ENDINGS", "NEVER_AWAITED", "NOT_STARTED", "PROVES_NOTHING", "RAISED", "WITHOUT_A_RUN"]

NOT_STARTED = Mistake(
    "not-started",
    "The answer has not been started",
    "The cell still holds the line `raise NotImplementedError()`. Put your code in its place, "
    "run the cell, then run the check again.",
)
WRONG_FORM = Mistake(
    "wrong-form",
    "The answer does not have the form that the check can call",
    "The check calls what you write with fixed arguments, so its kind and its parameters must stay "
    "as they are in the first lines of the cell.",
)
RAISED = Mistake(
    "raised",
    "The answer raised an error that nobody handled",
    "An error that leaves your code ends it there and then. Either the line is wrong, or this can happen: "
    "then your code has to handle it, and to decide what becomes of what it was at work on.",
)
NEVER_AWAITED = Mistake(
    "never-awaited",
    "A call was never awaited",
    "To call an `async` function does nothing yet: it gives a coroutine, which runs when it is awaited. Put "
    "`await` in front of the call.",
)
DEADLOCK = Mistake(
    "waits-for-ever",
    "Everybody waits, and nothing can wake them",
    "Each task waits for something that only another task could do. Look for an answer that is never "
    "given: a message never settled, a channel never closed, a wait without a deadline.",
)
RUNAWAY = Mistake(
    "never-ends",
    "The run does not come to an end",
    "The same steps repeat without end. Look for a loop without a way out, for a retry without a "
    "pause, and for an `except` that also swallows the cancellation.",
)
PROVES_NOTHING = Mistake(
    "proves-nothing",
    "The run did not get as far as the fault",
    "The check breaks something on purpose and looks at what your answer makes of it. Here that point "
    "was never reached, so nothing is proved, neither good nor bad.",
)
OF_PROCESSES = (
    Mistake(
        "died",
        "The process ended while the answer ran",
        "The answer, or something that it started, ended Python itself. Look for `os._exit`, for a signal, "
        "and for a recursion without an end.",
    ),
    Mistake(
        "out-of-time",
        "The answer did not come back in time",
        "A hundredth of the time is enough. Look for a loop that never awaits, and for a wait in real time: "
        "use `anyio.sleep`, which costs none here.",
    ),
    Mistake(
        "garbled",
        "The answer's process said what nobody understands",
        "An answer runs in a process of its own, which talks to the check. Something wrote into their talk.",
    ),
    Mistake(
        "too-much",
        "The answer handed over or held more than it may",
        "What is handed to a queue, a function or the check must stay small, and so must what is kept in "
        "memory. Look for something that only ever grows.",
    ),
)
ENDINGS = {
    **{mistake.name: mistake for mistake in OF_PROCESSES},
    Ending.NOT_STARTED: NOT_STARTED,
    Ending.WRONG_FORM: WRONG_FORM,
    Ending.RAISED: RAISED,
    Ending.DEADLOCK: DEADLOCK,
    Ending.RUNAWAY: RUNAWAY,
}
"""By how the run ended."""

WITHOUT_A_RUN = {
    mistake.name: mistake
    for mistake in (
        Mistake(
            "not-found",
            "The answer was not found",
            "No cell of the notebook defines it. The answer must keep its name and be in its own cell; "
            "`reset` brings a deleted cell back.",
        ),
        Mistake(
            "no-code",
            "The answer's cell is not run as Python",
            "Jupyter shows a cell of text, and hands one that begins with such a magic to another program. "
            "Make it a code cell (in JupyterLab: Esc, then Y), or take the magic away, and run it.",
        ),
        Mistake(
            "syntax-error",
            "The answer's cell is not valid Python",
            "Python could not read the cell, so nothing of it ran. Run it: the message points to the place.",
        ),
        Mistake(
            "cell-error",
            "The answer's cell raised an error before the answer was defined",
            "The notebook is run from top to bottom in a fresh kernel. Restart yours and run all cells: "
            "something that the cell uses is gone or is made in another way.",
        ),
        Mistake(
            "unreadable-notebook",
            "The notebook cannot be read",
            "Nothing was graded. Hand it in again, as an ordinary file with the ending .ipynb.",
        ),
        Mistake(
            "not-graded",
            "The grader itself stopped over this notebook",
            "Nothing was graded, so this says nothing about your answers. Ask your teacher.",
        ),
        Mistake(
            "not-judged",
            "The run left a record that cannot be judged",
            "Nothing that was meant for this exercise does that. Ask your teacher to look at the answer.",
        ),
    )
}
"""By their names."""
