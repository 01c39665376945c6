"""Say where the price is from

Repair · medium · 4 points · 12 minutes

Answer: class PriceDesk(breaker, ask) with async price
Called: One `PriceDesk(breaker, ask)` and thirteen calls of `await desk.price(tea)` in two minutes. The price
    service is away twice; the breaker before it opens at three failures in a row, for 15 s.
Promised: Each answer is the live price; or else the last live price of this tea, if that is at most 60 s old,
    with its age; or else "none". An error of the caller, `LookupError`, comes out.
Hint: What must be kept, so that there is something to say when the service is away? Kept for what, and with
    what beside it?
Hint: Three ends of `breaker.call` must be told apart: a price, `LookupError`, and everything else. Only a
    price from the service is kept.
Hint: `self.kept[tea] = (price, anyio.current_time())` after a live price. In `except LookupError: raise`; in
    `except Exception:` look up the tea, and compare its age with 60.
Why: What is kept is what the service said, when it said it. So the age is true however often it is told, and
    nothing is called cached that nobody has kept.

not-live: Did not give the live price although the service is well. A cache that is asked first makes the
    service's own answers old.
says-cached: Says "cached", and the price service has never told this price. A word in a log is no cache.
swallowed: An error of the caller did not come out. There is no such tea, and no fallback can change that.
error-came-out: An error of the service came out. That a call failed and that it was refused are two reasons
    for the same fallback.
anothers-price: Gave the price of another tea. What is kept belongs to the question.
wrong-age: The age is wrong. It is counted from the moment at which the service said the price, and telling it
    again does not make it younger.
too-old: Gave a price that is older than 60 s. The shop would rather say nothing.
kept-for-nothing: Said "none" although a price was there. It is young enough, and a customer would have
    had it.
none-with-numbers: Says "none", and a price or an age with it. Where nothing is known both are None.
past-the-breaker: Asked the service without the breaker. The breaker refuses so that the service is left
    alone.
no-answer: An answer that cannot be read. It is a dictionary with `price`, `source` and `age`.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...circuit_breaker import CircuitBreaker, ConsecutiveFailures, OpenDuration, Predicates
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "thirteen_calls"]

LIVE, CACHED, NONE, LOOKUP = "live", "cached", "none", "LookupError"
MAX_AGE = 60.0
AWAY = ((10.0, 95.0), (110.0, 200.0))
CALLS = (  # at which second, for which tea, and what must come
    (0, "green", LIVE),
    (1, "black", LIVE),
    (2, "moon", LOOKUP),
    (12, "green", CACHED),
    (13, "black", CACHED),
    (14, "white", NONE),
    (17, "green", CACHED),
    (31, "black", CACHED),
    (50, "green", CACHED),
    (64, "green", NONE),
    (100, "green", LIVE),
    (102, "green", LIVE),
    (112, "green", CACHED),
)


async def thirteen_calls(desk_class: kit.Answer, seed: int) -> None:
    """Ask the desk for prices. Each of them is another when the service comes back."""
    chance = Random(seed)
    first = dict(zip(("green", "black", "white"), chance.sample(range(5, 50), 3), strict=True))

    async def ask(tea: str) -> int:
        record(Kind.ARRIVED, "price service", tea, who="desk")
        await anyio.sleep(0.1)
        now = anyio.current_time()
        if any(start <= now < end for start, end in AWAY):
            raise ConnectionError("nobody answers")
        if tea not in first:
            raise LookupError(f"there is no {tea} tea")
        return first[tea] + (100 if now > AWAY[0][1] else 0)

    breaker = CircuitBreaker(
        "prices",
        policy=ConsecutiveFailures(3),
        open_duration=OpenDuration(15),
        predicates=Predicates(neutral=LookupError),
    )
    desk, told = desk_class(breaker, ask), dict[str, tuple[int, float]]()
    for at, tea, must in CALLS:
        await anyio.sleep(at + chance.choice((0.2, 0.3, 0.4)) - anyio.current_time())
        got = await _asked(desk, tea)
        now = anyio.current_time()
        if must == LIVE:
            told[tea] = first[tea] + (100 if now > AWAY[0][1] else 0), now
        price, since = told.get(tea, (None, now))
        others = [other for name, (other, _) in told.items() if name != tea]
        right: dict[str, Any] = {
            "must": must,
            "tea": tea,
            "price": price,
            "age": now - since,
            "others": others,
        }
        record(Kind.EFFECT, "desk", f"call {at}", effect=got["source"], got=got, **right)
    kit.write_down(asked=len(CALLS))


async def _asked(desk: Any, tea: str) -> dict[str, Any]:
    """The answer of the desk, in JSON values."""
    try:
        said = await desk.price(tea)
    except NotImplementedError:
        raise
    except LookupError:
        return {"source": LOOKUP}
    except Exception as error:
        return {"source": f"{type(error).__name__}"}
    if not isinstance(said, Mapping) or not {"price", "source", "age"} <= set(said):
        return {"source": f"{type(said).__name__}", "unread": True}
    price, age = (_plain(said[name]) for name in ("price", "age"))
    return {"source": str(said["source"]), "price": price, "age": age}


def _plain(value: object) -> int | float | str | None:
    """A number as it is; the word for anything else, so that nobody takes it for a None."""
    return value if isinstance(value, int | float | None) else repr(value)


def judge(trace: Trace) -> kit.Symptoms:
    kit.facts(trace)
    for answer in trace.filter(Kind.EFFECT, where="desk"):
        mistake = _mistake(answer.data)
        if mistake:
            data = answer.data
            got = {name: value for name, value in data["got"].items() if name != "unread"}
            words = f"At {answer.at:.1f} s {data['tea']} tea: you said {got}; right is {data['must']!r}"
            if data["must"] in (LIVE, CACHED):
                words += f", {data['price']}, {0 if data['must'] == LIVE else data['age']:.0f} s old"
            yield kit.seen(mistake, f"{words}.", trace.filter(where="prices"))
    asked = trace.count(Kind.ARRIVED, where="price service")
    let_in = trace.count(Kind.STARTED, where="prices")
    if asked > let_in:
        words = f"The service was asked {asked} times, and the breaker let in {let_in} calls."
        yield kit.seen("past-the-breaker", words, trace.filter(Kind.ARRIVED))


def _mistake(data: Mapping[str, Any]) -> str | None:
    got, must = data["got"], data["must"]
    source, price = got["source"], got.get("price")
    if got.get("unread"):
        return "no-answer"
    if source not in (LIVE, CACHED, NONE, LOOKUP):
        return "no-answer" if "price" in got else "error-came-out"
    if must == LOOKUP:
        return None if source == LOOKUP else "swallowed"
    if source == LOOKUP:
        return "error-came-out"
    if must == LIVE:
        live = source == LIVE and price == data["price"]
        return _wrong_age(got["age"], 0) if live else "not-live"
    if source != NONE and price in data["others"]:
        return "anothers-price"
    if must == NONE and source == NONE:
        return None if price is None and got["age"] is None else "none-with-numbers"
    if must == NONE:
        return "too-old" if data["price"] is not None else "says-cached"
    if source == NONE:
        return "kept-for-nothing"
    if source == LIVE or price != data["price"]:
        return "says-cached"
    return _wrong_age(got["age"], data["age"])


def _wrong_age(said: object, really: float) -> str | None:
    return None if isinstance(said, int | float) and abs(said - really) <= 0.5 else "wrong-age"


EXERCISE = kit.exercise(__name__, __doc__, kit.play(thirteen_calls), judge)
