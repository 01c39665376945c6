"""Token bucket: at most `rate` a second in the long run, and at most `burst` at once.

Tokens fall into the bucket at the rate, as long as there is room; whoever wants to act takes some
out. So in any stretch of t seconds at most burst + rate × t tokens are used. Rate and burst are two
numbers: the first is what the receiver can bear for ever, the second what it can bear in a moment.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import anyio
import anyio.lowlevel

from ..publish_subscribe.inbox import Bell
from ..trace import Kind, record, whoami
from .terms import AboveBurst

__all__ = ["Reservation", "TokenBucket"]

_ROUNDING = 1e-9  # of tokens: less than this is missing only because of rounding


@dataclass(eq=False, slots=True)
class Reservation:
    """Tokens that are promised for the time `at`, on anyio's clock. Wait for them, or cancel.

    When somebody before cancels, `at` becomes earlier. Whoever begins to wait after that time waits
    anew: used late, the tokens would come on top of those that fell meanwhile.
    """

    bucket: TokenBucket
    tokens: float
    at: float = -math.inf
    settled: bool = False  #: used or cancelled

    async def wait(self) -> None:
        """Until the tokens are there; then they are used. Cancelling the wait cancels the reservation.

        Raises RuntimeError when it was used or cancelled before.
        """
        if not self.settled and self.at < anyio.current_time():
            self.bucket._give_back(self)
            self.bucket._promise(self)
        try:
            await anyio.lowlevel.checkpoint()
            while not self.settled and self.at > anyio.current_time():
                with anyio.CancelScope(deadline=self.at):
                    await self.bucket._moved.wait()
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
        self.bucket._give_back(self)
        return True


class TokenBucket:
    """A throttle for everybody who shares it, first come, first served."""

    def __init__(self, name: str, *, rate: float, burst: float) -> None:
        """`rate` is in tokens a second, `burst` in tokens. The bucket starts full."""
        if not 0 < rate < math.inf:
            raise ValueError(f"the rate must be more than 0 tokens a second, not {rate:g}")
        if not 0 < burst < math.inf:
            raise ValueError(f"the burst must be more than 0 tokens, not {burst:g}")
        self.name = name
        self.rate = rate
        self.burst = burst
        self._full_at = -math.inf  # when the bucket would be full, if nobody took any more
        self._promised: deque[Reservation] = deque()  # for later
        self._moved = Bell()

    @property
    def tokens(self) -> float:
        """How many could be taken now; below 0 when some are promised that have not fallen yet."""
        return self.burst - max(0.0, self._full_at - anyio.current_time()) * self.rate

    async def take(self, tokens: float = 1) -> None:
        """Wait for so many tokens and use them; cancelling the wait gives them back.

        Raises `AboveBurst` at once for more than the bucket can hold, and ValueError for 0 or less.
        """
        await anyio.lowlevel.checkpoint()
        try:
            self.take_nowait(tokens)
        except anyio.WouldBlock:
            reservation = self.reserve(tokens)
            record(Kind.BLOCKED, self.name, tokens=tokens, until=reservation.at)
            await reservation.wait()

    def take_nowait(self, tokens: float = 1) -> None:
        """Use so many tokens. Raises `anyio.WouldBlock` when they are not there now, and `AboveBurst`."""
        self._must_fit(tokens)
        now = anyio.current_time()
        full_at, at = self._after(tokens, now)
        if at > now:
            raise anyio.WouldBlock
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
        now = anyio.current_time()
        self._forget(now)
        self._full_at, reservation.at = self._after(reservation.tokens, now)
        if reservation.at > now:
            self._promised.append(reservation)

    def _after(self, tokens: float, now: float) -> tuple[float, float]:
        """If so many were taken: when the bucket would be full again, and when they would be there."""
        full_at = max(self._full_at, now) + tokens / self.rate
        at = full_at - self.burst / self.rate
        return full_at, at if at > now + _ROUNDING / self.rate else now

    def _must_fit(self, tokens: float) -> None:
        if tokens <= 0:
            raise ValueError(f"take more than 0 tokens, not {tokens:g}")
        if tokens > self.burst:
            record(Kind.REFUSED, self.name, reason="above the burst", tokens=tokens)
            raise AboveBurst(
                f"{self.name} never holds {tokens:g} tokens; take at most its burst of {self.burst:g} at once"
            )

    def _give_back(self, gone: Reservation) -> None:
        """Whoever comes after `gone` moves up.

        Tokens that were not used in time come back less what has fallen since: for that there might
        have been no room, had nobody reserved them.
        """
        now = anyio.current_time()
        self._forget(now)
        behind = list(self._promised)
        if gone in behind:
            behind = behind[behind.index(gone) + 1 :]
            self._promised.remove(gone)
        sooner = max(0.0, gone.tokens / self.rate - max(0.0, now - gone.at))
        self._full_at -= sooner
        for later in behind:
            later.at = max(now, later.at - sooner)
        self._moved.ring()

    def _forget(self, now: float) -> None:
        while self._promised and self._promised[0].at <= now:
            self._promised.popleft()
