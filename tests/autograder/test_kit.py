"""The exercise kit: texts that are read, symptoms that are ranked, scenarios in which people work and die."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import anyio
import pytest

from eip_ref.autograder import kit
from eip_ref.autograder.exercise import Exercise
from eip_ref.autograder.judging import judge_answer
from eip_ref.autograder.kit import texts
from eip_ref.lab import simulate
from eip_ref.message import Message
from eip_ref.trace import Event, Trace, record, whoami

TEXTS = dedent(texts.__doc__.split('"""')[1])  # the example of its docstring


def ran(answer: object, seed: int) -> Trace:
    return Trace([Event(0.0, "note", "desk", "", "", {"text": "it ran"})], seed=seed)


def made(judge: texts.Judge, text: str = TEXTS, run: Callable[[Any, int], Trace] = ran) -> Exercise:
    return kit.exercise("course.lesson.fix_the_worker", text, run, judge)


def nothing(trace: Trace) -> kit.Symptoms:
    yield from ()


async def work(queue: object, handle: object) -> None: ...


# Texts


def test_an_exercise_is_read_from_the_texts_of_its_module() -> None:
    """Name, size, form and mistakes: each stands once, and the example in the documentation is one."""
    exercise = made(nothing)
    assert (exercise.name, exercise.title) == ("lesson/fix_the_worker", "Fix the worker that loses orders")
    assert (exercise.kind, exercise.difficulty, exercise.points, exercise.minutes) == ("repair", 1, 3, 10)
    assert (exercise.answer, exercise.form.complaint(work)) == ("work", None)
    assert len(exercise.hints) == 3
    assert exercise.promised.endswith("A text goes on in lines that are indented.")
    assert [mistake.name for mistake in exercise.mistakes] == ["ack-on-receive", "dies-of-one-order"]
    assert exercise.mistakes[0].title == "Acknowledged before the work was done"
    assert exercise.endings == {"NoAddress": exercise.mistakes[1]}


def test_a_title_that_goes_on_in_a_second_line_is_one_line() -> None:
    """As every other text: what is indented in a docstring is not indented for the learner."""
    title = "Acknowledged before the work was done"
    exercise = made(nothing, TEXTS.replace(title, "Acknowledged before\n        the work was done"))
    assert exercise.mistakes[0].title == title


@pytest.mark.parametrize(
    ("answer", "given"),
    [("def share(pair)", lambda pair: pair), ("class Desk(orders) with work, replay", object)],
)
def test_the_answers_form_is_read_from_its_first_line(answer: str, given: object) -> None:
    """A function, an async function or a class: what has another form is told so."""
    exercise = made(nothing, TEXTS.replace("async def work(queue, handle)", answer))
    right = given is not object
    assert (exercise.form.complaint(given) is None) == right


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Repair · easy", "Repair, easy", "does not look like 'Repair · easy"),
        ("Hint: The second", "Called: The second", "“Called:” must be there once, and is there 2 times"),
        ("Hint: The second, a direction.", "", "exactly three hints"),
        ("Why:", "Because:", "“Why:” must be there once"),
        ("async def work(queue", "async work(queue", "does not look like 'async def work"),
        ("Acknowledged before the work was done. ", "", "does not look like 'ack-on"),
        ("dies-of-one-order (", "ack-on-receive (", "two mistakes have the same name"),
        ("(NoAddress)", "(deadlok)", "'deadlok' is no error"),
        (TEXTS, "", "'' does not look like"),
    ],
)
def test_texts_that_are_not_complete_are_refused(old: str, new: str, words: str) -> None:
    """An author learns at import what is missing, and where."""
    with pytest.raises(ValueError, match=words) as refused:
        made(nothing, TEXTS.replace(old, new))
    assert "course.lesson.fix_the_worker" in str(refused.value)


# Judging


def sees(*mistakes: str) -> texts.Judge:
    def judge(trace: Trace) -> kit.Symptoms:
        for mistake in mistakes:
            yield kit.seen(mistake, f"saw {mistake} first")
        kit.require(trace, "crashed", "nobody died.")

    return judge


def test_the_verdict_is_the_mistake_that_stands_first_in_the_texts() -> None:
    """Whatever the judge saw first; the others are told as well."""
    verdict = judge_answer(made(sees("dies-of-one-order", "ack-on-receive")), work)
    assert [found.mistake.name for found in verdict.findings] == ["ack-on-receive", "dies-of-one-order"]
    assert verdict.seen == "Saw ack-on-receive first"


def test_a_run_that_proves_nothing_says_so_unless_something_was_seen() -> None:
    """A mistake is a mistake, also where the fault of the scenario did not hit."""
    assert judge_answer(made(sees()), work).seen == "This run proves nothing: nobody died."
    (found,) = judge_answer(made(sees("ack-on-receive")), work).findings
    assert found.mistake.name == "ack-on-receive"


def test_a_mistake_that_the_texts_do_not_know_is_an_error_of_the_author() -> None:
    """And no verdict on the answer."""
    with pytest.raises(RuntimeError, match="know no mistake acks-never"):
        judge_answer(made(sees("acks-never")), work)


def test_require_counts() -> None:
    """`at_least` says how often the fault has to hit."""
    trace = Trace([Event(0, "crashed", "worker", "", "worker", {})])
    kit.require(trace, "crashed", "it never crashed.")
    with pytest.raises(kit.Vacuous):
        kit.require(trace, "crashed", "it crashed once.", at_least=2)


# Scenarios


async def two_effects() -> None:
    message = Message("order 1")
    record("sent", "orders", message.id, label="order 1")
    record("accepted", "orders", message.id)
    record("effect", "forger", message.id, effect="packed")
    kit.happens(message, "packed")
    record("acked", "orders", message.id)


def test_an_effect_counts_only_with_the_receipt_of_its_scenario() -> None:
    """An answer gains nothing by recording what did not happen."""
    trace = simulate(two_effects, seed=1)
    (order,) = kit.journeys(trace)
    (ack,) = order.all("acked")
    assert (str(order), order.label) == ("order 1 (m1)", "order 1")
    assert [effect.where for effect in order.effects] == [""]
    assert order.before(ack, "effect") == order.effects == kit.effects(trace)
    assert order.before(order.effects[0], "acked") == []


async def a_shift(wait: bool) -> None:
    async def pack() -> None:
        await anyio.sleep(5)
        record("note", whoami(), text="packed")

    async with kit.participants(wait=wait) as start:
        start("worker-1", pack)
        await anyio.sleep(1)


def test_who_is_still_at_work_is_stopped_or_waited_for() -> None:
    """When the block of the participants ends."""
    stopped, waited = simulate(a_shift, False), simulate(a_shift, True)
    assert [event.where for event in stopped] == []
    assert [event.where for event in waited] == ["worker-1"]


async def two_lives() -> None:
    async def pack() -> None:
        record("note", whoami(), text="begins")
        await kit.die()
        record("note", whoami(), text="works on")

    async with kit.participants() as start:
        start("worker", pack, deaths=2)
        await anyio.sleep(1.5)


def test_a_process_dies_where_the_scenario_says_so_and_starts_again() -> None:
    """No line of it runs on, and a second later it begins anew."""
    trace = simulate(two_lives)
    assert [event.at for event in trace.filter("crashed")] == [0.0, 1.0]
    assert {event.data["text"] for event in trace.filter("note")} == {"begins"}


async def a_program() -> tuple[str, float, int]:
    async def main() -> str:
        for _ in range(2):
            group.start_soon(anyio.sleep, 60)
        await anyio.sleep(3)
        return "done"

    async with anyio.create_task_group() as group:
        ended = await kit.as_program(main)
    return ended


def test_what_a_program_leaves_behind_ends_with_it() -> None:
    """As at the end of every program, and the scenario knows how much it was."""
    trace = simulate(a_program)
    assert trace.result == ("done", 3.0, 2)


async def one_case(answer: Callable[[str], int], case: str, seed: int) -> None:
    await anyio.sleep(1)
    record("note", case, text="tried", value=answer(case))


def one_is_right(trace: Trace) -> kit.Symptoms:
    for note in trace.filter("note"):
        if note.data["value"] != 1:
            yield kit.seen("ack-on-receive", f"{note.where} has {note.data['value']}.")


@pytest.mark.parametrize(
    ("wrong", "shown"), [("", [("a", 1.0), ("b", 2.0), ("c", 3.0)]), ("b", [("b", 1.0)]), ("c", [("c", 1.0)])]
)
def test_of_many_cases_the_first_wrong_one_is_shown_alone(wrong: str, shown: list[tuple[str, float]]) -> None:
    """Or all of them, one after the other, when each is right."""
    run = kit.cases(one_case, lambda seed: "abc", one_is_right)
    trace = run(lambda case: 2 if case == wrong else 1, 1)
    assert [(event.where, event.at) for event in trace] == shown


# Questions


async def tea(cups: int) -> None:
    for _ in range(cups):
        record("effect", "kitchen", "m1", effect="tea")


QUESTIONS = {
    "two": kit.measured(tea, 2, reading=len),
    "three": kit.measured(tea, 3, reading=len),
    "ten": kit.counted(lambda: 10),
}


def a_number(question: str, said: object) -> object:
    return said if isinstance(said, int) else None


@pytest.mark.parametrize(
    ("said", "seen", "shown"),
    [
        ({"two": 2, "three": 3, "ten": 10}, "All that was promised.", 0),
        ({"two": 2, "three": 4, "ten": 9}, "For 'three' you said 4.", 3),
        ({"two": 2, "three": None, "ten": 10}, "The prediction for 'three' is missing.", 0),
        ({"two": 2, "three": "drei", "ten": 10}, "The prediction for 'three' cannot be read: 'drei'.", 0),
        ([2, 3, 10], "The answer returned something of type list, and not a dictionary of predictions.", 0),
        (None, "The answer returned nothing, and not a dictionary of predictions.", 0),
    ],
)
def test_predictions_are_compared_with_what_was_measured(said: object, seen: str, shown: int) -> None:
    """The trace is that of the first prediction that was wrong, and what cannot be read is said."""
    text = TEXTS.replace("async def work(queue, handle)", "def predict()")
    judge = kit.misread(dict.fromkeys(QUESTIONS, "ack-on-receive"), unread="dies-of-one-order")
    exercise = made(judge, text, kit.ask(QUESTIONS, a_number))
    verdict = judge_answer(exercise, lambda: said)
    assert (verdict.seen, verdict.trace.count("effect")) == (seen, shown)
