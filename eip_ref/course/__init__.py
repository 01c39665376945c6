"""The content of the lessons: one folder each, with its exercises and its predictions.

A folder has the name of the lesson's module. `eip_ref.autograder` finds it by that name and imports it
when somebody asks for it.
"""
