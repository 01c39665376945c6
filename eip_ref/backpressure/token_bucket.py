"""Token bucket: at most `rate` a second in the long run, and at most `burst` at once.

Tokens fall into the bucket at the rate, as long as there is room; whoever wants to act takes some
out. So in any stretch of t seconds at most burst + rate × t tokens are used. Rate and burst are two
numbers: the first is what the receiver can bear for ever, the second what it can bear in a moment.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import anyio
import anyio.lowlevel

from .. import values
from ..signal import on_death
from ..trace import Kind, record, whoami

__all__ = ["AboveBurst", "Reservation", "TokenBucket"]

_ROUNDING = 1e-9  # of tokens: less than this is missing only because of rounding


class AboveBurst(ValueError):
    """More tokens at once than the bucket can ever hold: waiting would not help."""


class Reservation:
    """Tokens that are promised for the time `at`, on anyio's clock. Wait for them, or cancel.

    When somebody before cancels, `at` becomes earlier. Whoever begins to wait after that time waits
    anew: used late, the tokens would come on top of those that fell meanwhile.
    """

    def __init__(self, bucket: TokenBucket, tokens: float) -> None:
        self.bucket = bucket
        self.tokens = tokens
        self.settled = False  #: used or cancelled
        self._due = -math.inf  # the time for which they were promised, once it has come
        self._called: anyio.Event | None = None  # while somebody waits

    @property
    def at(self) -> float:
        """The time for which the tokens are promised."""
        return self.bucket._time_of(self)

    async def wait(self) -> None:
        """Wait until the tokens are there; then they are used. Cancelling the wait cancels the reservation.

        Raises RuntimeError when it was used or cancelled before.
        """
        if not self.settled and self.at < anyio.current_time():
            self.bucket._give_back(self)
            self.bucket._promise(self)
        try:
            await anyio.lowlevel.checkpoint()
            with on_death(self.cancel):
                await self.bucket._until_due(self)
        except BaseException:
            self.cancel()
            raise
        if self.settled:
            raise RuntimeError("this reservation was used or cancelled; make a new one")
        self.settled = True
        record(Kind.DELIVERED, self.bucket.name, who=whoami(), tokens=self.tokens)

    def cancel(self) -> bool:
        """Give the tokens back; false when they were used or given back before."""
        if self.settled:
            return False
        self.settled = True
        if self._called is not None:
            self._called.set()
        self.bucket._give_back(self)
        return True


class TokenBucket:
    """A throttle for everybody who shares it, first come, first served."""

    def __init__(self, name: str, *, rate: float, burst: float) -> None:
        """`rate` is in tokens a second, `burst` in tokens. The bucket starts full."""
        self.name = values.name("name", name)
        self.rate = values.rate("rate", rate)
        self.burst = values.amount("burst", burst)
        self._rounding = _ROUNDING / self.rate  # in seconds
        self._full_at = -math.inf  # when the bucket would be full, if nobody took any more
        self._line: OrderedDict[Reservation, None] = OrderedDict()  # promised, and not due yet
        self._promised = 0.0  # tokens, to all in the line
        self._moved_at = -math.inf  # when somebody gave tokens back, so that the others moved up
        self._looked_at = -math.inf  # the last time on the clock

    def _now(self) -> float:
        """The time. When it is before the last one, the clock is another event loop's: start anew, full."""
        now = anyio.current_time()
        if now < self._looked_at:
            self._full_at = self._moved_at = -math.inf
            self._line.clear()
            self._promised = 0.0
        self._looked_at = now
        return now

    @property
    def tokens(self) -> float:
        """The tokens that could be taken now; below 0 when some are promised that have not fallen yet."""
        now = self._now()
        return self.burst - max(0.0, self._full_at - now) * self.rate

    async def take(self, tokens: float = 1, *, timeout: float = math.inf) -> None:
        """Wait for so many tokens and use them; cancelling the wait gives them back.

        Raises `AboveBurst` at once for more than the bucket can hold, `anyio.WouldBlock` at once when
        they will not be there within `timeout` seconds, and ValueError for 0 or less.
        """
        if timeout != math.inf:
            values.duration("timeout", timeout, infinite=True)
        await anyio.lowlevel.checkpoint()
        try:
            self.take_nowait(tokens)
            return
        except anyio.WouldBlock:
            now = self._now()
            _, at = self._after(tokens, now)
            if at > now + timeout:
                record(Kind.REFUSED, self.name, reason=f"not within {timeout:g} s", tokens=tokens)
                raise
        record(Kind.BLOCKED, self.name, tokens=tokens, until=at)
        await self.reserve(tokens).wait()

    def take_nowait(self, tokens: float = 1) -> None:
        """Use so many tokens. Raises `anyio.WouldBlock` when they are not there now, and `AboveBurst`."""
        self._must_fit(tokens)
        now = self._now()
        full_at, at = self._after(tokens, now)
        if at > now:
            raise anyio.WouldBlock
        if self._line:
            self._pass_those_due(now)
        self._full_at = full_at
        record(Kind.DELIVERED, self.name, who=whoami(), tokens=tokens)

    def reserve(self, tokens: float = 1) -> Reservation:
        """Promise so many tokens for the earliest time at which nobody before wants them.

        Raises `AboveBurst` at once for more than the bucket can hold, and ValueError for 0 or less.
        """
        self._must_fit(tokens)
        reservation = Reservation(self, tokens)
        self._promise(reservation)
        return reservation

    def _promise(self, reservation: Reservation) -> None:
        now = self._now()
        self._pass_those_due(now)
        self._full_at, reservation._due = self._after(reservation.tokens, now)
        if reservation._due > now:
            self._line[reservation] = None
            self._promised += reservation.tokens

    def _after(self, tokens: float, now: float) -> tuple[float, float]:
        """If so many were taken: when the bucket would be full again, and when they would be there."""
        full_at = max(self._full_at, now) + tokens / self.rate
        at = full_at - self.burst / self.rate
        return full_at, at if at > now + self._rounding else now

    def _must_fit(self, tokens: float) -> None:
        if 0 < tokens <= self.burst:
            return
        if tokens != math.inf:
            values.amount("tokens", tokens)
        record(Kind.REFUSED, self.name, reason="above the burst", tokens=tokens)
        raise AboveBurst(
            f"{self.name} never holds {tokens:g} tokens; take at most its burst of {self.burst:g} at once"
        )

    # The line: the first who waits sleeps until its time and calls the next; all others sleep until called

    async def _until_due(self, mine: Reservation) -> None:
        try:
            while not mine.settled and mine.at > anyio.current_time() + self._rounding:
                mine._called = anyio.Event()
                first = self._first_waiting() is mine
                with anyio.CancelScope(deadline=mine.at if first else math.inf):
                    await mine._called.wait()
        finally:
            mine._called = None
        self._call_the_first()

    def _first_waiting(self) -> Reservation | None:
        self._pass_those_due(self._now())
        return next((each for each in self._line if each._called is not None), None)

    def _call_the_first(self) -> None:
        first = self._first_waiting()
        if first is not None and first._called is not None:
            first._called.set()

    def _time_of(self, reservation: Reservation) -> float:
        """Its place in the line says when: all behind it fit between its time and the full bucket."""
        if reservation not in self._line:
            return reservation._due
        behind = self._promised
        for each in self._line:
            behind -= each.tokens
            if each is reservation:
                break
        return max(self._moved_at, self._full_at - (self.burst + behind) / self.rate)

    def _pass_those_due(self, now: float) -> None:
        while self._line and (at := self._time_of(first := next(iter(self._line)))) <= now + self._rounding:
            first._due = at
            self._leave(first)
            if first._called is not None:
                first._called.set()

    def _leave(self, reservation: Reservation) -> None:
        del self._line[reservation]
        self._promised = self._promised - reservation.tokens if self._line else 0.0

    def _give_back(self, gone: Reservation) -> None:
        """Whoever comes after `gone` moves up.

        Tokens that were not used in time come back less what has fallen since: for that there might
        have been no room, had nobody reserved them.
        """
        now = self._now()
        self._pass_those_due(now)
        fell = 0.0 if gone in self._line else (now - gone._due) * self.rate
        if gone in self._line:
            self._leave(gone)
        self._full_at -= max(0.0, gone.tokens - fell) / self.rate
        self._moved_at = now
        self._call_the_first()
