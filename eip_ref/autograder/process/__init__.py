"""An answer runs in a process that holds none of the scenario.

Read `values.py` and `errors.py` (what crosses), `wire.py` (lines, bounds and endings), `surface.py` (what of
the judge's objects may be called), `judge_side.py`, `learner_side.py`, and `zygote.py` (who starts a
process).
"""
