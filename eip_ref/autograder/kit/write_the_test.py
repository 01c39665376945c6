"""Exercises of the kind *write the test*: the learner's test meets implementations, good and broken.

The learner writes `async def test(make)`: it makes a thing with `make()`, uses it, and raises
AssertionError when the thing breaks its promise. The run tries it on each implementation in a
simulation of its own and notes what the test said. The judge asks that no correct implementation is
accused and no broken one slips through.

The test shall tell them apart by what they do. So it meets them behind a veil, without their names
and classes, and in an order that the seed chooses.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from random import Random
from traceback import walk_tb
from types import FunctionType
from typing import Any

from ...lab.clock import Deadlock, simulate
from ...trace import Event, Kind, Trace
from ..exercise import OWN_LINE, Run, Vacuous
from .journeys import Symptom

__all__ = ["Make", "judge_test", "try_test"]

TEST = "the test"  #: the `where` of the notes that say what the learner's test said

Make = Callable[..., Any]
Broken = Mapping[str, tuple[Make, str]]  #: by its name in words: how it is made, and who misses it


def try_test(correct: Mapping[str, Make], broken: Broken, *, max_events: int = 20_000) -> Run:
    """Make a `run` that tries the learner's test on implementations, each under its name in words.

    A broken one comes with the mistake of a test that accepts it. The trace holds the events of the first
    implementation about which the test is wrong, so that its picture shows what the test should have
    noticed; then a note for each implementation.
    """

    makes = {**correct, **{name: make for name, (make, _) in broken.items()}}
    things = {name: _nameless(make) for name, make in makes.items()}

    def run(test: Callable[[Make], Any], seed: int) -> Trace:
        order = Random(f"order {seed}").sample(list(things), len(things))
        tried = {name: _try(test, _veiled(things[name]), seed, max_events) for name in order}
        notes: list[Event] = []
        shown: Trace | None = None
        for name in things:
            (trace, said), works = tried[name], name in correct
            data = {"text": f"{name}: {said or 'accepted'}", "name": name, "works": works, "said": said}
            notes.append(Event(0.0, "note", TEST, "", "", data))
            if shown is None and bool(said) == works:
                shown = trace
        shown = shown or Trace(())
        return Trace([*shown, *(note._replace(at=shown.end) for note in notes)], seed=seed)

    return run


def _try(test: Callable[[Make], Any], make: Make, seed: int, max_events: int) -> tuple[Trace, str]:
    """The trace, and what the test said against the thing: "" when it accepted it."""
    try:
        return simulate(test, make, seed=seed, max_events=max_events), ""
    except Deadlock as error:
        return _trace(error), "the test waits for ever"
    except Exception as error:
        first = error
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, NotImplementedError):
            raise first from error
        words = f"{type(first).__name__}: {first}".removesuffix(": ")
        return _trace(error), words + _line(first, test)


def _line(error: BaseException, test: Callable[..., Any]) -> str:
    """The line of the test at which the error came out, in words; "" when it is not known."""
    file = test.__code__.co_filename if isinstance(test, FunctionType) else None
    lines = [n for frame, n in walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    if hasattr(error, OWN_LINE):
        lines = [getattr(error, OWN_LINE)[0]]
    return f" (line {lines[-1]} of your cell)" if lines else ""


class _Veil:
    """Does what another thing does, and looks the same whatever that is."""

    def __init__(self, thing: object) -> None:
        object.__setattr__(self, "_thing", thing)

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that `isinstance` says the truth
        return type(self._thing)

    def __getattr__(self, name: str) -> Any:
        found = getattr(object.__getattribute__(self, "_thing"), name)
        return _veiled_call(found) if inspect.ismethod(found) else found

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._thing, name, value)

    def __dir__(self) -> list[str]:
        return []

    def __repr__(self) -> str:
        return "<what make() made>"

    def __len__(self) -> int:
        return len(self._thing)

    def __bool__(self) -> bool:
        return bool(self._thing)

    def __aiter__(self) -> Any:
        return aiter(self._thing)

    def __enter__(self) -> Any:
        entered = self._thing.__enter__()
        return self if entered is self._thing else entered

    def __exit__(self, *error: Any) -> Any:
        return self._thing.__exit__(*error)

    async def __aenter__(self) -> Any:
        entered = await self._thing.__aenter__()
        return self if entered is self._thing else entered

    async def __aexit__(self, *error: Any) -> Any:
        return await self._thing.__aexit__(*error)


def _veiled(make: Make) -> Make:
    """The same, without its name. What the test gets may also be a function that is itself the thing."""
    if inspect.iscoroutinefunction(make):
        return _veiled_call(make)
    return lambda: _Veil(make())


def _nameless(make: Make) -> Make:
    """The same function, whose frames in a traceback have no names, lines or file."""
    known: dict[str, FunctionType] = {}

    def copied(function: FunctionType) -> FunctionType:
        if function.__name__ not in known:
            code = function.__code__.replace(
                co_name="work", co_qualname="work", co_filename="<hidden>", co_linetable=b""
            )
            names = dict(function.__globals__)
            known[function.__name__] = FunctionType(code, names, "work", function.__defaults__)
            mine = {n: names[n] for n in code.co_names if inspect.iscoroutinefunction(names.get(n))}
            names.update((n, copied(f)) for n, f in mine.items() if f.__module__ == function.__module__)
        return known[function.__name__]

    return copied(make) if inspect.iscoroutinefunction(make) and isinstance(make, FunctionType) else make


def _veiled_call(call: Callable[..., Any]) -> Callable[..., Any]:
    async def later(*args: Any, **named: Any) -> Any:
        return await call(*args, **named)

    def now(*args: Any, **named: Any) -> Any:
        return call(*args, **named)

    return later if inspect.iscoroutinefunction(call) else now


def _trace(error: BaseException) -> Trace:
    found = getattr(error, "trace", None)
    return found if isinstance(found, Trace) else Trace(())


def judge_test(accuses: str, broken: Broken) -> Callable[[Trace], Iterator[Symptom]]:
    """Make a `judge`: it names the mistake `accuses` for a test that fails a correct implementation, and
    for a test that accepts a broken one the mistake that comes with that one."""

    def judge(trace: Trace) -> Iterator[Symptom]:
        notes = trace.filter(Kind.NOTE, where=TEST)
        if not notes:
            raise Vacuous("the test was tried on nothing.")
        for note in notes:
            name, works, said = note.data["name"], note.data["works"], note.data["said"]
            if works and said:
                yield Symptom(accuses, f"Your test fails {name}, which keeps the promise. {said}", ())
            elif not works and not said:
                yield Symptom(broken[name][1], f"Your test accepts {name}.", ())

    return judge
