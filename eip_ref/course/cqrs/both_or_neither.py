"""Both or neither

Repair · medium · 5 points · 15 minutes

Answer: class Users(db, broker) with async handle, async relay
Called: Three commands, again and again: in each run the process dies at another step, or the broker is down
    for a while, or two commands give the same name. The process is back a second later, with a new `Users`.
    Every second browser asks again when it got no answer.
Promised: Of each user, every version that is in the database is told, in order, and nothing else is told. A
    command that is asked twice is carried out once. All is told 30 s after the last trouble.
Hint: Which two things must never be parted by a death? How can one `commit` do both?
Hint: `handle` writes the user's row and an event for later, in one commit. `relay` reads what is for later,
    publishes it, and only then removes it. What must `handle` write down so that it knows a command again?
Hint: `await self.db.commit([("users", …), ("done", command["id"], {}), ("outbox", key, event)])`. In
    `relay`, `for key, event in await self.db.scan("outbox")`: publish; on `ConnectionError` stop this
    round, and sleep.
Why: One commit holds the row, the event and the command's id, so a death leaves all of them or none. The
    relay repeats what it cannot prove, under the same id. It goes on with the next event only when the one
    before it is told.

other-form: A row or an event has another form. Its readers look for the names that the task gives.
never-told: A version is in the database, and nobody was told. Whoever reads the events will never hear of
    it, and no error says so.
never-was: Something was told that is not in the database. Others act on what has never happened.
done-twice: A command was carried out twice. The browser got no answer and asked again, as it should.
other-name: An event has no name, or one that no command gave. Whoever reads it does not know the new name.
two-ids: One event was told under two ids. Its readers cannot know that it is the same, and act twice.
out-of-order: An older event was told after a newer one. Whoever reads them ends with the old name.
answered-too-early: An answer was given and the command was not carried out. The browser will not ask again. A
    command is known by its id: another one may give the same name.
broker-down-ends-it (ConnectionError): An error of the broker left `handle` or `relay`. The broker is down
    for a few seconds, and that is no reason to end.
never-rests (runaway): The relay asks without a break. It asks the database again and again in the same
    moment, and nothing else gets its turn.
error-came-out (raised): `handle` or `relay` raised an error. The process ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from ...autograder import kit
from ...lab import Crash, Participant
from ...trace import Kind, Trace, record
from .crash_points import WAY, Broker, Database, Row

__all__ = ["EXERCISE", "three_commands"]

NAMES = ("Ann", "Ben", "Cem", "Dina", "Emil", "Finn")
STEPS = 24
BACK, END = 3.0, 34.0  #: seconds: the broker is back; the run is over


class Case(NamedTuple):
    """The trouble of one run."""

    dies_at: int | None
    asks_again: bool
    refusals: int | None = None  #: of the broker after it is back; None means that it was never down
    same_name: bool = False  #: the last command gives the name that the first one gave
    last_at: float = 0.0  #: the last command does not come earlier

    def __str__(self) -> str:
        if self.same_name:
            return "two commands give the same name"
        if self.last_at:
            return "the broker is back, and the last command comes in this moment"
        if self.dies_at is None:
            return "the broker is down" if self.refusals is not None else "without any trouble"
        return f"the process dies at its step {self.dies_at}, and the browser asks {self._again}"

    @property
    def _again(self) -> str:
        return "again" if self.asks_again else "no more"


class Yielding(Database):
    """A database at which others get their turn, so that one who asks without a rest is found."""

    async def scan(self, table: str) -> list[tuple[str, Row]]:
        await anyio.lowlevel.checkpoint()
        return await super().scan(table)


class Publishing(Broker):
    """A broker that keeps what it was told, and may be down."""

    def __init__(self, refusals: int | None) -> None:
        super().__init__()
        self._refusals = refusals
        self._told: list[Row] = []

    async def publish(self, event: Row) -> None:
        if self._refusals is not None and not self._up():
            await anyio.sleep(WAY)
            record(Kind.NOTE, "broker", text=f"down: {event.get('id')} is not taken")
            raise ConnectionError("the broker is down")
        await super().publish(event)

    def _up(self) -> bool:
        if anyio.current_time() < BACK:
            return False
        if self._refusals:
            self._refusals -= 1
            return False
        return True

    def _mail(self, id: str, event: Row) -> None:
        self._told.append(dict(event))


def commands(seed: int, same_name: bool = False) -> list[dict[str, str]]:
    """Two commands for one user, and between them one for another."""
    first, second = Random(seed).sample(NAMES, 2)
    names = (first, second, first if same_name else f"{first} Lee")
    return [{"id": f"c{n}", "user": name.split()[0].lower(), "name": name} for n, name in enumerate(names, 1)]


def all_cases(seed: int) -> Iterator[Case]:
    yield Case(None, True)
    yield Case(None, True, same_name=True)
    for step in range(1, STEPS + 1):
        yield Case(step, step % 2 == 0)
        yield Case(step, step % 2 == 1)
    for refusals in range(4):
        yield Case(None, True, refusals)
    yield Case(None, True, 0, last_at=BACK - 2 * WAY + 0.01)  # its commit ends when the broker is back


async def three_commands(users_class: kit.Answer, case: Case, seed: int) -> None:
    """Carry out three commands with one trouble."""
    database, broker = Yielding(), Publishing(case.refusals)
    all_commands = commands(seed, case.same_name)
    waiting, answered, asked = list(all_commands), list[str](), list[str]()

    async def process() -> None:
        users = users_class(database, broker)
        async with anyio.create_task_group() as group:
            group.start_soon(users.relay)
            while waiting:
                command = waiting[0]
                if command["id"] in asked and not case.asks_again:
                    waiting.pop(0)  # its browser has gone
                    continue
                if len(waiting) == 1:
                    await anyio.sleep_until(case.last_at)
                if command["id"] not in asked:
                    asked.append(command["id"])
                await users.handle(dict(command))
                answered.append(command["id"])
                record(Kind.NOTE, "browser", text=f"{command['id']} is answered")
                waiting.pop(0)

    crashes = () if case.dies_at is None else (Crash(step=case.dies_at, restart_after=1),)
    with anyio.move_on_after(END):
        await Participant("users", process, (), crashes).run()
    rows = {user: dict(row) for user, row in await database.scan("users")}
    of = {each["id"]: each["user"] for each in all_commands}
    names = {each["id"]: each["name"] for each in all_commands}
    kit.write_down(trouble=str(case), of=of, names=names, rows=rows, told=broker._told, answered=answered)


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    shown = trace.filter(Kind.SENT, Kind.ACCEPTED, Kind.CRASHED, Kind.RESTARTED, Kind.NOTE)
    for each in (*facts["rows"].values(), *facts["told"]):
        if not isinstance(each.get("version"), int):
            yield kit.seen("other-form", f"{each} has no whole number as its `version`.", shown)
            return
    told = _first_of_each_id(facts["told"])
    for user, row in facts["rows"].items():
        for mistake, words in _of_a_user(user, row, told, facts):
            yield kit.seen(mistake, f"{facts['trouble']}: {words}", shown)
    for event in told:
        row = facts["rows"].get(event.get("user"), {})
        if event["version"] > row.get("version", 0):
            words = f"{event} was told, and the database has {row or 'no such user'}."
            yield kit.seen("never-was", f"{facts['trouble']}: {words}", shown)
    missing = {facts["of"][each] for each in facts["answered"]} - set(facts["rows"])
    for user in sorted(missing):
        words = f"{user} was answered, and is not in the database."
        yield kit.seen("answered-too-early", f"{facts['trouble']}: {words}", shown)


def _first_of_each_id(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events as a reader that knows ids takes them. One without an id is new each time."""
    found: dict[object, dict[str, Any]] = {}
    for number, event in enumerate(told):
        found.setdefault(event.get("id", number), event)
    return list(found.values())


def _of_a_user(
    user: str, row: dict[str, Any], told: list[dict[str, Any]], facts: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    versions = [event["version"] for event in told if event.get("user") == user]
    asked = [command for command, of in facts["of"].items() if of == user]
    given = [facts["names"][command] for command in asked]
    for version in range(1, row["version"] + 1):
        if version not in versions:
            yield "never-told", f"version {version} of {user} is in the database and was not told."
        elif versions.count(version) > 1:
            yield "two-ids", f"version {version} of {user} was told under {versions.count(version)} ids."
    if row["version"] > len(asked):
        yield "done-twice", f"{len(asked)} commands for {user} have made version {row['version']}."
    if row["version"] < len([each for each in asked if each in facts["answered"]]):
        yield "answered-too-early", f"more was answered than version {row['version']} of {user}."
    for event in (each for each in told if each.get("user") == user):
        if event.get("name") not in given:
            yield "other-name", f"{user} was given the names {given}, and {event} was told."
        elif event["version"] == row["version"] and event["name"] != row.get("name"):
            yield "never-was", f"{event} was told, and the database has {row}."
    if versions != sorted(versions):
        yield "out-of-order", f"of {user} were told, in this order, the versions {versions}."


EXERCISE = kit.exercise(__name__, __doc__, kit.cases(three_commands, all_cases, judge), judge, seeds=(1,))
