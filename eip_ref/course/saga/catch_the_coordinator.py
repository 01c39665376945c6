"""Catch the coordinator

Write the test · hard · 4 points · 15 minutes

Answer: async def test_coordinator(make)
Called: Your `test_coordinator(make)` on three correct coordinators, of which one turns back after a doubt,
    one goes on, and one does now this and now that; and on ten broken ones. `make()` gives a new one.
Promised: The test passes for each correct coordinator and raises AssertionError for each broken one.
Hint: When nothing goes wrong every coordinator is right. Which five things can go wrong? Try each of them
    at each step, and no trouble as well.
Hint: Do not say how an order must end after a doubt: both ends are right. Say what must be true of the
    effects whatever the end: all four done, or nothing left.
Hint: Write `check(run)`: count `did` and `took back` of each step. Each at most once, a step taken back was
    done before, the undos are in reverse, and by the end: completed all four and no undo, compensated
    nothing left, stuck nothing left but the broken step. Then loop over the faults and the steps.
Why: One invariant, asked after each fault at each step, finds what no list of examples finds. It says
    nothing about the way, so it accepts whoever turns back and whoever goes on.

accuses-a-correct-coordinator: Fails a coordinator that keeps the promise. After a doubt one goes on and
    another turns back, with or without the step in doubt. A broken undo does no harm when its step was not
    done. An error of the test itself counts, too.
misses-the-forgotten: Does not see that a death leaves steps done. This one has its undos in memory.
misses-the-doubt: Does not see that a step in doubt stays done. This one notes an undo when the answer has
    come, and the answer was lost.
misses-the-refused: Does not see that a refused step is taken back. It never was done.
misses-the-rest: Does not see that one failed undo ends all others. The steps before it stay done.
misses-the-order: Does not see that steps are taken back forwards. What was built on another step must go
    first.
misses-the-late-one: Does not see that a late action is carried out. It comes after its own undo.
misses-the-second-one: Does not see that a step is done twice. This one repeats a command under a new key
    when its answer is lost.
misses-the-second-undo: Does not see that a step is taken back twice. This one begins again after its death.
misses-the-first-step: Does not see a fault in the first step alone. This one takes nothing back when the
    first step is in doubt.
misses-the-needless: Does not see that an order is taken back without any trouble. All is as it was, and the
    customer gets no tea.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, record

__all__ = ["EXERCISE"]

STEPS = ("order", "credit", "payment", "stock")


class Coordinator:
    """Turns back after a refusal, and after every doubt."""

    reverse = True
    tombstones = True

    async def order(
        self,
        *,
        refused: str | None = None,
        lost: str | None = None,
        late: str | None = None,
        dies: str | None = None,
        broken: str | None = None,
    ) -> dict[str, Any]:
        self._effects: list[str] = []
        self._state: dict[str, str] = {}
        self._broken = broken
        begun: list[str] = []
        end = "completed"
        for step in STEPS:
            await anyio.sleep(1)
            begun.append(step)
            if step == refused:
                begun = self.after_a_refusal(begun)
                end = await self._back(begun)
                break
            if step == late:
                end = await self._back(self.after_a_doubt(begun))
                self._do(step)
                break
            self._do(step)
            if step == dies:
                end = await self._back(self.after_a_death(begun))
                break
            if step == lost:
                end = await self._back(self.after_a_doubt(begun))
                break
        record(Kind.STATE, "coordinator", "order", was="running", now=end)
        return {"end": end, "effects": [*self._effects]}

    def after_a_refusal(self, begun: list[str]) -> list[str]:
        """The steps to take back when the last one was refused."""
        return begun[:-1]

    def after_a_doubt(self, begun: list[str]) -> list[str]:
        return begun

    def after_a_death(self, begun: list[str]) -> list[str]:
        return begun

    async def _back(self, steps: list[str]) -> str:
        stuck = False
        for step in reversed(steps) if self.reverse else steps:
            await anyio.sleep(1)
            if step == self._broken:
                stuck = True
                if self.gives_up():
                    break
            else:
                self._undo(step)
        return "stuck" if stuck else "compensated"

    def gives_up(self) -> bool:
        """True when the first undo that fails is the last."""
        return False

    def _do(self, step: str) -> None:
        if self._state.get(step) != "revoked" or not self.tombstones:
            self._happens(f"did {step}")
            self._state[step] = "done"

    def _undo(self, step: str) -> None:
        if self._state.get(step) == "done":
            self._happens(f"took back {step}")
        self._state[step] = "revoked"

    def _happens(self, effect: str) -> None:
        self._effects.append(effect)
        record(Kind.EFFECT, "services", "order", who="services", effect=effect)


class GoesOn(Coordinator):
    """Sends what is in doubt again, with the same key, and goes on."""

    async def order(
        self, *, refused: str | None = None, broken: str | None = None, **doubt: Any
    ) -> dict[str, Any]:
        return await super().order(refused=refused, broken=broken)


class InMemory(Coordinator):
    """Has its undos in memory, and starts again with none."""

    def after_a_death(self, begun: list[str]) -> list[str]:
        return []


class AfterSuccess(Coordinator):
    """Notes the undo of a step when its answer has come."""

    def after_a_doubt(self, begun: list[str]) -> list[str]:
        return begun[:-1]


class TakesBackTheRefused(Coordinator):
    """Undoes whatever it has begun, and its services believe it."""

    def after_a_refusal(self, begun: list[str]) -> list[str]:
        self._state[begun[-1]] = "done"
        return begun


class GivesUp(Coordinator):
    """Stops at the first undo that fails."""

    def gives_up(self) -> bool:
        return True


class Forwards(Coordinator):
    """Takes back from the first to the last."""

    reverse = False


class NoTombstones(Coordinator):
    """Its services carry out whatever comes."""

    tombstones = False


class NowThisNowThat(Coordinator):
    """Goes on after a lost answer; turns back after a death, and when a late command has come."""

    async def order(
        self, *, lost: str | None = None, late: str | None = None, **trouble: Any
    ) -> dict[str, Any]:
        return await super().order(lost=late, **trouble)


class NewKey(GoesOn):
    """Repeats a lost command under a new key."""

    async def order(self, *, lost: str | None = None, **trouble: Any) -> dict[str, Any]:
        self._lost = lost
        return await super().order(**trouble)

    def _do(self, step: str) -> None:
        super()._do(step)
        if step == self._lost:
            super()._do(step)


class UndoesTwice(Coordinator):
    """Takes all back once more when it has died, and its services do it."""

    def after_a_death(self, begun: list[str]) -> list[str]:
        return [step for step in begun for _ in range(2)]

    def _undo(self, step: str) -> None:
        if self._state.get(step) == "revoked":
            self._state[step] = "done"
        super()._undo(step)


class NotTheFirst(Coordinator):
    """Takes a first step without an answer for one that was not done."""

    def after_a_doubt(self, begun: list[str]) -> list[str]:
        return begun if len(begun) > 1 else []

    after_a_death = after_a_doubt


class TurnsBack(Coordinator):
    """Takes back what nothing was wrong with."""

    async def order(self, **trouble: Any) -> dict[str, Any]:
        return await super().order(**(trouble or {"lost": "stock"}))


CORRECT: dict[str, kit.Make] = {
    "a coordinator that turns back after a doubt": Coordinator,
    "a coordinator that goes on after a doubt": GoesOn,
    "a coordinator that goes on after a lost answer only": NowThisNowThat,
}
BROKEN = {
    "a coordinator that forgets at its death": (InMemory, "misses-the-forgotten"),
    "a coordinator that notes an undo after success": (AfterSuccess, "misses-the-doubt"),
    "a coordinator that takes back what was refused": (TakesBackTheRefused, "misses-the-refused"),
    "a coordinator that stops at a failed undo": (GivesUp, "misses-the-rest"),
    "a coordinator that takes back forwards": (Forwards, "misses-the-order"),
    "a coordinator whose services keep no tombstones": (NoTombstones, "misses-the-late-one"),
    "a coordinator that repeats under a new key": (NewKey, "misses-the-second-one"),
    "a coordinator that takes back twice after its death": (UndoesTwice, "misses-the-second-undo"),
    "a coordinator that forgets a doubt about the first step": (NotTheFirst, "misses-the-first-step"),
    "a coordinator that takes back without trouble": (TurnsBack, "misses-the-needless"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-coordinator", BROKEN),
    seeds=(1,),
)
