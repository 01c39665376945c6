"""A verdict for the learner's eyes: as text, complete in itself, and as HTML with the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from textwrap import indent

from ..lab.static_image import image
from ..lab.wording import caption, labels, plural
from ..trace import Event, Kind
from . import page
from .exercise import Exercise, Mistake
from .judging import Verdict
from .marks import shortened

__all__ = ["Report", "picture"]

MOST_EVENTS = 6  #: events that are listed as proof
LONG = 40  #: more events than this, and the picture shows only the messages that prove it


@dataclass(frozen=True)
class Report:
    """The report that `check` shows. Equal verdicts give equal bytes."""

    verdict: Verdict
    remark: str = ""  #: on how it came about

    @property
    def passed(self) -> bool:
        return self.verdict.passed

    @property
    def points(self) -> int:
        return self.verdict.points

    @property
    def diagnosis(self) -> Mistake | None:
        return self.verdict.diagnosis

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()}

    def __str__(self) -> str:
        parts = [f"{name}:\n{indent(text, '    ')}" for name, text in self._parts()]
        if self._figure:
            parts.append(f"The picture:\n    {self._figure[1]}")
        return "\n".join([f"{self._title} ({self._score})", *parts])

    __repr__ = __str__

    def _html(self) -> str:
        from markupsafe import Markup

        return page.render(
            "report.html",
            title=self._title,
            colour=page.GREEN if self.passed else page.VERMILLION,
            score=self._score,
            parts=list(self._parts()),
            figure=Markup(image(*self._figure)) if self._figure else "",
        )

    @property
    def _title(self) -> str:
        sign = "✓ Passed" if self.passed else "✗ Not passed yet"
        return f"{sign}: {self._exercise.title}"

    @property
    def _score(self) -> str:
        most = self._exercise.points
        return f"{self.points} of {most} point{'' if most == 1 else 's'}"

    @property
    def _exercise(self) -> Exercise:
        return self.verdict.exercise

    def _parts(self) -> Iterator[tuple[str, str]]:
        yield "Called", self._exercise.called
        yield "Seen", self._seen()
        yield "Promised", self._exercise.promised
        if self.verdict.parts:
            yield "Parts", "\n".join(map(str, self.verdict.parts))
        if self.diagnosis:
            yield "Looks like", f"{self.diagnosis.title}. {self.diagnosis.explanation}"
        yield "Next", self._next()
        if self.remark:
            yield "Note", self.remark

    def _seen(self) -> str:
        verdict = self.verdict
        if verdict.passed:
            return f"{verdict.seen} {_seeds(self._exercise.seeds)}"
        events = _proof(verdict)
        names = labels(verdict.trace)
        lines = [f"    {_line(event, names)}" for event in events[:MOST_EVENTS]]
        more = len(events) - MOST_EVENTS
        lines += [f"{'':14}and {plural(more, 'more event')}"] if more > 0 else []
        lines += self._others()
        gap = "\n" if "\n" in verdict.seen else " "
        return "\n".join([f"{_sentence(verdict.seen)}{gap}(seed {verdict.seed})", *lines])

    def _others(self) -> list[str]:
        """A line for each other mistake, with the first place that shows it."""
        first = {finding.mistake.title: finding.words for finding in reversed(self.verdict.findings)}
        titles = dict.fromkeys(finding.mistake.title for finding in self.verdict.findings)
        return [f"Also: {title}. {_sentence(first[title])}" for title in list(titles)[1:]]

    def _next(self) -> str:
        name = self._exercise.name
        if self.passed:
            return f'`solution("{name}")` shows the model answer, to compare with yours.'
        return f'Fix it and check again. `hint("{name}")` helps, a step at each call.'

    @cached_property
    def _figure(self) -> tuple[str, str] | None:
        return picture(self.verdict)


def _proof(verdict: Verdict) -> list[Event]:
    """The events that prove the first finding. All of a long trace prove nothing, nor does what begins it."""
    events = verdict.findings[0].events
    if len(events) > LONG and len(events) >= len(verdict.trace):
        return []
    return [event for event in events if event.kind != Kind.OPENED] or list(events)


def picture(verdict: Verdict) -> tuple[str, str] | None:
    """A picture of what went wrong, as SVG, and the same in words; None where there is nothing to draw."""
    trace = verdict.trace.filter(test=lambda event: event.kind != Kind.NOTE)
    if verdict.passed or not trace.messages():
        return None
    from ..lab.figures import sequence  # matplotlib is loaded when a picture is needed, not before

    guilty = {event.message for event in verdict.findings[0].events if event.message}
    long = len(trace) > LONG
    figure = sequence(trace, messages=guilty if long and guilty else None, title="What happened")
    return figure.svg, figure.alt


def _sentence(words: str) -> str:
    return shortened(words[:1].upper() + words[1:])


def _line(event: Event, names: dict[str, str]) -> str:
    return f"{event.at:6.2f} s  {caption(event, names.get(event.message, ''))}"


def _seeds(seeds: tuple[int, ...]) -> str:
    names = str(seeds[0]) if len(seeds) == 1 else f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
    return f"(seed{'' if len(seeds) == 1 else 's'} {names}; a teacher's grading adds seeds of its own)"
