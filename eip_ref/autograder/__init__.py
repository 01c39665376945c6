"""Exercises with feedback at once, predictions, and the learner's own progress.

In a notebook: `from eip_ref.autograder import check, hint, solution, reset, predict, board, doctor`.
"""

from . import apart, own_cells
from .board import board
from .check import check, hint, reset, solution
from .doctor import doctor
from .predict import predict

__all__ = ["board", "check", "doctor", "hint", "predict", "reset", "solution"]

own_cells.listen(apart.warm_up)  # where this is a notebook
