"""An answer runs in a process that holds none of the scenario.

Read `values.py` and `errors.py` (what crosses), `crossing.py` and `stubs.py` (what one side knows of the
other), `wire.py` (lines, bounds and endings), `surface.py` and `handed_out.py` (what of the judge's objects
may be called), `judge_side.py`, `learner_side.py`, `cell_run.py`, and `zygote.py` (who starts a process).
"""
