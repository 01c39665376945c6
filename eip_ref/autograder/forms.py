"""The form of an answer: what it must look like before it is run, and what is said when it does not.

A form knows nothing of what the answer does. It turns the errors that beginners meet first, such as
a function that was called instead of handed over, into a sentence that says what to do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Form", "a_class", "async_function", "function", "one_of"]


@dataclass(frozen=True)
class Form:
    """The form of an answer, in words, and `complaint(answer)`: what is wrong with it, or None."""

    words: str
    complaint: Callable[[object], str | None]


def function(*parameters: str) -> Form:
    """A plain function that can be called with these parameters, in this order."""

    def complaint(answer: object) -> str | None:
        if inspect.iscoroutinefunction(answer):
            return f"It must be a plain function: write `def {_call(answer, parameters)}:` without `async`."
        return _not_callable(answer, parameters) or _wrong_parameters(answer, parameters)

    return Form(f"a function of ({', '.join(parameters)})", complaint)


def async_function(*parameters: str) -> Form:
    """A function made with `async def` that can be called with these parameters, in this order."""

    def complaint(answer: object) -> str | None:
        problem = _not_callable(answer, parameters)
        if problem is None and not _is_async(answer):
            problem = f"It must be asynchronous: write `async def {_call(answer, parameters)}:`."
        return problem or _wrong_parameters(answer, parameters)

    return Form(f"an async function of ({', '.join(parameters)})", complaint)


def a_class(*parameters: str, methods: tuple[str, ...] = ()) -> Form:
    """A class that can be made with these parameters and has these methods, such as "async work" or "row"."""

    def complaint(answer: object) -> str | None:
        if not inspect.isclass(answer):
            kind = type(answer).__name__
            return f"It must be a class, and what you passed is {_article(kind)}. Pass the class itself."
        kinds = {name: kind for kind, _, name in (method.rpartition(" ") for method in methods)}
        missing = [name for name in kinds if not callable(getattr(answer, name, None))]
        if missing:
            return f"The class {answer.__name__} lacks the method {', '.join(missing)}."
        for name, kind in kinds.items():
            if _is_async(getattr(answer, name)) and not kind:
                return f"Its method must be a plain one: write `def {name}(…)` without `async`."
            if kind and not _is_async(getattr(answer, name)):
                return f"Its method must be asynchronous: write `async def {name}(…)`."
        return _wrong_parameters(answer, parameters)

    return Form(f"a class made with ({', '.join(parameters)})", complaint)


def one_of(*choices: str) -> Form:
    """One of these texts."""
    words = "one of " + ", ".join(map(repr, choices))

    def complaint(answer: object) -> str | None:
        chosen = isinstance(answer, str) and answer in choices
        return None if chosen else f"{_shown(answer)} is no choice here. It must be {words}."

    return Form(words, complaint)


def _not_callable(answer: object, parameters: tuple[str, ...]) -> str | None:
    if inspect.iscoroutine(answer):
        name = answer.__name__
        answer.close()  # else Python warns that it was never awaited
        return f"You passed the result of calling {name}. Pass the function itself: `{name}`, no brackets."
    if callable(answer):
        return None
    wanted = f"It must be a function of ({', '.join(parameters)})"
    if answer is None:
        return f"{wanted}, and what you passed is None. Pass the function itself, without brackets."
    return f"{wanted}, and what you passed is {_article(type(answer).__name__)}."


def _wrong_parameters(answer: object, parameters: tuple[str, ...]) -> str | None:
    assert callable(answer)
    try:
        signature = inspect.signature(answer)
    except ValueError:  # some callables made in C do not tell
        return None
    try:
        signature.bind(*parameters)
    except TypeError:
        takes = ", ".join(signature.parameters)
        return f"It is called with ({', '.join(parameters)}), and yours takes ({takes})."
    return None


def _is_async(answer: object) -> bool:
    return inspect.iscoroutinefunction(answer) or inspect.iscoroutinefunction(
        getattr(answer, "__call__", None)  # noqa: B004 - the method itself is asked for
    )


def _call(answer: object, parameters: tuple[str, ...]) -> str:
    return f"{getattr(answer, '__name__', 'answer')}({', '.join(parameters)})"


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _shown(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 40 else f"{_article(type(answer).__name__).capitalize()}"
