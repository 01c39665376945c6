"""Lesson 00 asks for predictions and has no exercises."""

from ...autograder.exercise import Exercise

NUMBER = 0
TITLE = "Start here"
EXERCISES: tuple[Exercise, ...] = ()
