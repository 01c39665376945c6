"""Grading a class: a folder of notebooks in, a folder of results out. `grade_class` does all of it."""

from .grade import grade_class

__all__ = ["grade_class"]
