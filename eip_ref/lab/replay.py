"""Replay: read a trace once and note which token moves to which box, in which state, at which event.

The states of a token and the marks on a box are numbers that the browser shares; pixels and colours
are its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ..trace import Event, Kind, Trace

__all__ = ["LINK", "Mark", "Replay", "State", "Token", "mark_of"]

LINK = (Kind.LOST, Kind.DUPLICATED, Kind.ARRIVED)  #: what happens on links alone
_ENDED = (Kind.FINISHED, Kind.FAILED, Kind.CANCELLED)


class State(IntEnum):
    """The state of a message, as its token shows it. The browser has the same list."""

    SENT = 0  #: on its way to the channel, which has not accepted it
    BLOCKED = 1  #: its sender waits
    READY = 2
    DELAYED = 3  #: in the channel, but not to be handed out yet
    IN_FLIGHT = 4  #: at a receiver, under a lease
    RECEIVED = 5  #: at a receiver that works on it, without a lease
    GHOST = 6  #: a receiver still works on it, although its lease is over
    LATE = 7  #: a receiver works on it after it was acknowledged
    ACKED = 8
    DONE = 9  #: received without a lease, and done
    DEAD = 10
    DROPPED = 11
    LOST = 12
    REFUSED = 13
    GONE = 14  #: not to be seen any more


class Mark(IntEnum):
    """A mark on a box itself."""

    CRASHED = 0
    RESTARTED = 1
    EFFECT = 2
    FAILED = 3
    DUPLICATE = 4
    STALE = 5
    CLOSED = 6
    AWAY = 7  #: a receiver left its channel, which it may come back to
    HERE = 8  #: it is back


MARKS = {str(Kind[mark.name]): mark for mark in Mark if mark < Mark.AWAY}  #: by kind of event


def mark_of(event: Event) -> tuple[str, Mark] | None:
    """The box that an event marks, and the mark."""
    if event.kind == Kind.STATE and event.data.get("now") in ("away", "here"):
        return event.who, Mark[str(event.data["now"]).upper()]
    return (event.where, MARKS[event.kind]) if event.kind in MARKS else None


_VISIBLE = frozenset(State) - {State.ACKED, State.DONE, State.DROPPED, State.LOST, State.REFUSED, State.GONE}
_MOVES: dict[str, tuple[tuple[State, ...], State, bool]] = {
    # kind -> the states in which its token is looked for, its new one, and whether it stays in its box
    Kind.REFUSED: ((State.SENT, State.BLOCKED), State.REFUSED, True),
    Kind.LOST: ((State.SENT,), State.LOST, False),
    Kind.NACKED: ((State.IN_FLIGHT,), State.DELAYED, False),
    Kind.RETURNED: ((State.DELAYED, State.IN_FLIGHT), State.READY, False),
    Kind.DROPPED: ((State.READY, State.DELAYED, State.SENT, State.IN_FLIGHT), State.DROPPED, True),
}


@dataclass(eq=False)
class Token:
    """One message in one channel, as the picture shows it."""

    number: int
    message: str
    home: str  #: the channel that counts it, or "" for a second picture of the same message
    state: State = State.SENT
    box: str = ""
    order: int = 0  #: its place in the channel, kept when it comes back
    lease: Any = None


class Replay:
    """A trace, replayed event by event; `moves` holds what each event changes."""

    def __init__(self, trace: Trace) -> None:
        self.tokens: list[Token] = []
        self.moves: list[list[Any]] = []  #: event, token, box, state, end of the lease, place in the channel
        self.peaks: Counter[str] = Counter()
        self.busiest = (0, 0)  #: how much there is to see at most, and minus the event where first
        self._of: dict[str, list[Token]] = {}  # by message
        self._ghosts: dict[tuple[str, str], Token] = {}
        self._working: set[tuple[str, str]] = set()
        self._will_work = {(e.who, e.message) for e in trace if e.kind == Kind.STARTED}
        self.remarks: dict[int, str] = {}  #: what else to say of an event, by its index
        self._effects: Counter[str] = Counter()
        self._links = {e.where for e in trace if e.kind in LINK or e.data.get("role") == "link"}
        self._carried: dict[str, str] = {}  # messages at the end of a link, and which
        self._dead_boxes = {str(e.data["to"]) for e in trace if e.kind == Kind.DEAD and e.data.get("to")}
        self._here: Counter[str] = Counter()  # tokens that are seen, by box
        self._seen: Counter[State] = Counter()  # and by state
        self._now = 0

    def play(self, index: int, event: Event) -> None:
        """Take in the event with this index."""
        self._now = index
        handler = getattr(self, f"_on_{event.kind}", None)
        if event.kind in _MOVES and event.where not in self._dead_boxes:
            states, state, stays = _MOVES[event.kind]
            token = self._token(event, *states)
            self._move(token, token.box if stays and token.box else event.where, state)
        elif handler is not None and event.where not in self._dead_boxes:
            handler(event)
        elif event.where in self._dead_boxes and event.kind in (Kind.REPLAYED, Kind.ACKED):
            self._leave_the_dead(event)
        elif event.kind in _ENDED:
            self._end_work(event)
        kinds = sum(1 for state, n in self._seen.items() if n and state != State.SENT)
        self.busiest = max(self.busiest, (4 * kinds + min(sum(self._here.values()), 12), -index))

    def _move(self, token: Token, box: str, state: State, until: float = 0.0) -> None:
        if token.state in _VISIBLE and token.box:
            self._here[token.box] -= 1
            self._seen[token.state] -= 1
        token.box, token.state = box, state
        if state in _VISIBLE:
            self._here[box] += 1
            self._seen[state] += 1
            self.peaks[box] = max(self.peaks[box], self._here[box])
        self.moves.append([self._now, token.number, box, int(state), until, token.order])

    def _new(self, message: str, home: str) -> Token:
        token = Token(len(self.tokens), message, home)
        self.tokens.append(token)
        self._of.setdefault(message, []).append(token)
        return token

    def _mine(self, event: Event) -> list[Token]:
        return [t for t in self._of.get(event.message, ()) if t.home == event.where]

    def _token(self, event: Event, *states: State) -> Token:
        """The token that the event is about: the one with its lease, or the first in such a state."""
        mine = self._mine(event)
        lease = event.data.get("lease")
        for token in mine:
            if lease is not None and token.lease == lease and event.kind != Kind.DELIVERED:
                return token
        for token in mine:
            if token.state in states:
                return token
        return mine[-1] if mine else self._new(event.message, event.where)

    # One method for each kind that does more than move a token

    def _on_sent(self, event: Event) -> None:
        start = self._carried.pop(event.message, event.who) or event.where
        if not any(t.state == State.SENT for t in self._mine(event)):  # else it comes from the dead letters
            token = self._new(event.message, event.where)
            self._move(token, start, State.SENT)
            if event.where in self._links:
                self._move(token, event.where, State.SENT)

    def _on_blocked(self, event: Event) -> None:
        self._move(self._token(event, State.SENT), event.who or event.where, State.BLOCKED)

    def _on_accepted(self, event: Event) -> None:
        token = self._token(event, State.SENT, State.BLOCKED)
        token.order = token.order or self._now + 1
        self._move(token, event.where, State.READY)

    def _on_duplicated(self, event: Event) -> None:
        self._move(self._new(event.message, event.where), event.where, State.SENT)

    def _on_arrived(self, event: Event) -> None:
        end = event.who or str(event.data.get("to") or event.where)
        if end == event.where:
            self._carried[event.message] = end
        self._move(self._token(event, State.SENT), end, State.DONE)

    def _on_delivered(self, event: Event) -> None:
        token = self._token(event, State.READY, State.DELAYED)
        if token.box and token.state not in (State.READY, State.DELAYED, State.SENT, State.BLOCKED):
            token = self._new(event.message, event.where)  # one more receiver gets a copy
            self._move(token, event.where, State.READY)
        token.lease = event.data.get("lease")
        if token.lease is not None:
            state = State.IN_FLIGHT
        else:
            state = State.RECEIVED if (event.who, event.message) in self._will_work else State.DONE
        self._move(token, event.who or event.where, state, float(event.data.get("until") or 0.0))

    def _on_extended(self, event: Event) -> None:
        token = self._token(event, State.IN_FLIGHT)
        self._move(token, token.box, State.IN_FLIGHT, float(event.data.get("until") or 0.0))

    def _on_acked(self, event: Event) -> None:
        token = self._token(event, State.IN_FLIGHT, State.RECEIVED)
        if (token.box, event.message) in self._working:
            self._show_ghost(token.box, event.message, State.LATE)
        self._move(token, token.box, State.ACKED)

    def _on_expired(self, event: Event) -> None:
        token = self._token(event, State.IN_FLIGHT)
        if (token.box, event.message) in self._working:
            self._show_ghost(token.box, event.message, State.GHOST)
        self._move(token, event.where, State.DELAYED)

    def _on_dead(self, event: Event) -> None:
        token = self._token(event, State.DELAYED, State.READY, State.IN_FLIGHT)
        token.order = self._now + 1
        self._move(token, str(event.data.get("to") or event.where), State.DEAD)

    def _on_started(self, event: Event) -> None:
        self._working.add((event.who, event.message))
        mine = [t for t in self._of.get(event.message, ()) if t.box == event.who]
        if not any(t.state in (State.IN_FLIGHT, State.RECEIVED) for t in mine):
            self._show_ghost(event.who, event.message, State.LATE)

    def _on_effect(self, event: Event) -> None:
        self._effects[event.message] += 1
        if event.message and self._effects[event.message] > 1:
            self.remarks[self._now] = f"time {self._effects[event.message]}"

    def _on_crashed(self, event: Event) -> None:
        who = event.who or event.where
        self._working = {(name, message) for name, message in self._working if name != who}
        for token in self.tokens:
            if token.box == who and token.state in (State.RECEIVED, State.LATE):
                self._move(token, who, State.LOST)
                self.remarks[self._now] = f"{token.message} is lost: nobody will try it again"
            elif token.box == who and token.state == State.GHOST:
                self._move(token, who, State.GONE)
        self._ghosts = {key: token for key, token in self._ghosts.items() if key[0] != who}

    def _end_work(self, event: Event) -> None:
        key = (event.who or event.where, event.message)
        self._working.discard(key)
        done = event.kind == Kind.FINISHED
        if ghost := self._ghosts.pop(key, None):
            lost = ghost.state == State.LATE and not done
            self._move(ghost, key[0], State.LOST if lost else State.GONE)
        for token in self._of.get(event.message, ()):
            if token.state == State.RECEIVED and token.box == key[0]:
                self._move(token, key[0], State.DONE if done else State.LOST)

    def _show_ghost(self, who: str, message: str, state: State) -> None:
        """Show that `who` still works on a message that its channel no longer counts on it for."""
        ghost = self._ghosts[who, message] = self._new(message, "")
        ghost.order = self._now
        self._move(ghost, who, state)

    def _leave_the_dead(self, event: Event) -> None:
        dead = [t for t in self._of.get(event.message, ()) if t.box == event.where]
        for token in dead:
            if event.kind == Kind.REPLAYED:
                token.order = 0
                self._move(token, event.where, State.SENT)
            else:
                self._move(token, "", State.DEAD)
