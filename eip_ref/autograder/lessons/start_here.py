"""Lesson 00 asks for predictions and has no exercises."""

from ..exercise import Exercise

NUMBER = 0
TITLE = "Start here"
EXERCISES: tuple[Exercise, ...] = ()
