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
from ..trace import Kind, record

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
        bucket = self.bucket
        if not self.settled and self.at < anyio.current_time():
            bucket._give_back(self)
            bucket._promise(self)
        try:
            await anyio.lowlevel.checkpoint()
            with on_death(self.cancel):
                while bucket._look() < self.at:
                    self._called = anyio.Event()
                    first = bucket._first_call() is self._called
                    with anyio.CancelScope(deadline=self.at if first else math.inf):
                        await self._called.wait()
        except BaseException:
            self.cancel()
            raise
        finally:
            self._called = None
        bucket._call_the_first()
        if self.settled:
            raise RuntimeError("this reservation was used or cancelled; make a new one")
        self.settled = True
        record(Kind.DELIVERED, bucket.name, tokens=self.tokens)

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
        self._looked_at = -math.inf

    @property
    def tokens(self) -> float:
        """The tokens that could be taken now; below 0 when some are promised that have not fallen yet."""
        now = self._look()
        return self.burst - (self._full_at - now) * self.rate - sum(each.tokens for each in self._line)

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
            at = self._time_for(tokens)
            if at > self._looked_at + timeout:
                record(Kind.REFUSED, self.name, reason=f"not within {timeout:g} s", tokens=tokens)
                raise
        record(Kind.BLOCKED, self.name, tokens=tokens, until=at)
        await self.reserve(tokens).wait()

    def take_nowait(self, tokens: float = 1) -> None:
        """Use so many tokens. Raises `anyio.WouldBlock` when they are not there now, and `AboveBurst`."""
        self._must_fit(tokens)
        now = self._look()
        if self._time_for(tokens) > now + self._rounding:
            raise anyio.WouldBlock
        self._full_at += tokens / self.rate
        record(Kind.DELIVERED, self.name, tokens=tokens)

    def reserve(self, tokens: float = 1) -> Reservation:
        """Promise so many tokens for the earliest time at which nobody before wants them.

        Raises `AboveBurst` at once for more than the bucket can hold, and ValueError for 0 or less.
        """
        self._must_fit(tokens)
        reservation = Reservation(self, tokens)
        self._promise(reservation)
        return reservation

    def _must_fit(self, tokens: float) -> None:
        if tokens != math.inf:
            values.amount("tokens", tokens)
        if tokens <= self.burst:
            return
        record(Kind.REFUSED, self.name, reason="above the burst", tokens=tokens)
        raise AboveBurst(
            f"{self.name} never holds {tokens:g} tokens; take at most its burst of {self.burst:g} at once"
        )

    # The line: the first who waits sleeps until its time and calls the next; all others sleep until called

    def _look(self) -> float:
        """The time; whoever was due by then has left the line, and the bucket is no more than full."""
        now = anyio.current_time()
        if now < self._looked_at:  # the clock is another event loop's: start anew, full
            self._full_at = self._looked_at = now
            self._line.clear()
        while self._line and (at := self._time_of(first := next(iter(self._line)))) <= now + self._rounding:
            first._due = max(self._looked_at, min(at, now))  # the last look may be at who made way for it
            self._full_at += first.tokens / self.rate
            del self._line[first]
            if first._called is not None:
                first._called.set()
        self._full_at = max(self._full_at, now)
        self._looked_at = now
        return now

    def _time_of(self, reservation: Reservation) -> float:
        if reservation in self._line:
            return self._time_for(reservation.tokens, reservation)
        return reservation._due

    def _time_for(self, tokens: float, last: Reservation | None = None) -> float:
        """The time at which so many have fallen for whoever stands at the end of the line, or at `last`."""
        for each in self._line:
            if each is last:
                break
            tokens += each.tokens
        return self._full_at + (tokens - self.burst) / self.rate

    def _promise(self, reservation: Reservation) -> None:
        self._look()
        self._line[reservation] = None
        self._look()  # it may be due at once

    def _give_back(self, gone: Reservation) -> None:
        """Whoever comes after `gone` moves up.

        Tokens that were not used in time come back less what has fallen since: for that there might
        have been no room, had nobody reserved them.
        """
        now = self._look()
        if gone in self._line:
            del self._line[gone]
        else:
            fell = (now - gone._due) * self.rate
            self._full_at -= max(0.0, gone.tokens - fell) / self.rate
        self._call_the_first()

    def _call_the_first(self) -> None:
        self._look()
        if (called := self._first_call()) is not None:
            called.set()

    def _first_call(self) -> anyio.Event | None:
        return next((each._called for each in self._line if each._called is not None), None)
