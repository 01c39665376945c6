"""The exercises of each lesson, one module or package a lesson, found by `eip_ref.autograder.registry`."""
