"""The door: who may come in, what is stripped, what is refused, and that no backend hears of it before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import anyio
import pytest

from eip_ref.api_gateway import (
    AdmittedRequest,
    Backend,
    BackendFailed,
    BadRequest,
    Branch,
    BulkheadFull,
    ComposedAnswer,
    FanOut,
    FieldError,
    Gateway,
    Identity,
    NotFound,
    RateLimit,
    Request,
    RequiredFailed,
    Response,
    Route,
    Unauthenticated,
)
from eip_ref.api_gateway.edge import ROLES, SUBJECT, Header, end_to_end, normalise, onward
from eip_ref.circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.trace import Trace, acting, record
from tests.backends import Play, Scenario, everywhere, recorded

ANN = Identity("ann", frozenset({"customer"}))
EVE = Identity("eve", frozenset({"staff", "audit"}))
KNOWN = {"Bearer ann": ANN, "Bearer eve": EVE, "Bearer bob": Identity("bob")}
HEADERS = [("Authorization", "Bearer ann")]


async def authenticate(request: Request) -> Identity | None:
    return KNOWN.get(request.header("authorization") or "")


class Shop:
    """Says what it was asked, after some seconds."""

    def __init__(self, seconds: float = 0.1, says: Any = None) -> None:
        self.calls: list[AdmittedRequest] = []
        self._seconds = seconds
        self._says = says

    async def __call__(self, call: AdmittedRequest) -> Any:
        self.calls.append(call)
        await anyio.sleep(self._seconds)
        if isinstance(self._says, Exception):
            raise self._says
        return self._says or {"path": call.path, "who": call.identity.subject, **call.path_params}


def own(identity: Identity, given: Mapping[str, str]) -> bool:
    return given.get("user") == identity.subject


def gateway(shop: Shop, *, coalesce: bool = False, **how: Any) -> Gateway:
    routes = [
        Route("GET", "/orders/{order}", shop),
        Route("GET", "/users/{user}", shop, allow=own),
        Route("POST", "/orders", shop),
        Route("GET", "/prices", shop, coalesce=coalesce),
    ]
    return Gateway(routes, **{"authenticate": authenticate, "timeout": 1.0, **how})


def ask(path: str = "/orders/17", headers: Sequence[Header] = HEADERS, **how: Any) -> Request:
    return Request(**{"method": "GET", "path": path, "headers": headers, **how})


def asked(play: Play, shop: Shop, *requests: Callable[[], Request], **how: Any) -> list[Response]:
    """The responses to requests that are made one after the other."""

    async def scenario() -> list[Response]:
        door = gateway(shop, **how)
        return [await door.handle(request()) for request in requests]

    responses: list[Response] = holds(play, scenario).result
    return responses


def holds(play: Play, scenario: Scenario) -> Trace:
    trace = play(scenario)
    assert fan_out_budget(trace) == []
    return trace


# Who may


@everywhere
@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (lambda: ask(headers=[]), 401, "unauthenticated"),
        (lambda: ask(headers=[("authorization", "Bearer mallory")]), 401, "unauthenticated"),
        (lambda: ask(headers=[*HEADERS, ("authorization", "Bearer eve")]), 401, "unauthenticated"),
        (lambda: ask("/nowhere", headers=[]), 401, "unauthenticated"),
        (lambda: ask("/users/eve"), 403, "forbidden"),
        (lambda: ask("/users/ann/../eve"), 403, "forbidden"),
        (lambda: ask("/nowhere"), 404, "not found"),
        (lambda: ask("/orders/17/"), 200, ""),
        (lambda: ask("/orders/17", method="DELETE"), 405, "method not allowed"),
        (lambda: ask("/orders/%2e%2e%2fusers"), 400, "bad request"),
        (lambda: ask("/orders", method="POST", body=b"x" * 101), 413, "body too large"),
        (lambda: ask("/orders", method="POST", body=b"x" * 100), 200, ""),
        (lambda: ask("/users/ann"), 200, ""),
    ],
)  # fmt: skip
def test_the_door_checks_before_any_backend_is_called(
    play: Play, request_: Callable[[], Request], status: int, code: str
) -> None:
    """401 when nobody knows who asks, 403 when they may not; refusals reach no handler."""
    shop = Shop()
    (response,) = asked(play, shop, request_, max_body=100)
    assert response.status == status
    assert len(shop.calls) == (status == 200)
    if code:
        assert response.body["error"] == code
    assert (("www-authenticate", "Bearer") in response.headers) is (status == 401)


@everywhere
def test_an_authenticator_may_say_itself_that_nobody_is_known(play: Play) -> None:
    """As an error, for one that knows why; the client learns no more than the code."""

    async def expired(request: Request) -> Identity:
        raise Unauthenticated("the token expired at noon")

    shop = Shop()
    (response,) = asked(play, shop, ask, authenticate=expired)
    assert (response.status, set(response.body)) == (401, {"error", "request"})
    assert shop.calls == []


@everywhere
def test_the_refusal_is_in_the_trace_with_its_reason(play: Play) -> None:
    """For whoever runs the gateway."""

    async def scenario() -> None:
        await gateway(Shop()).handle(ask(headers=[]))

    (refused,) = holds(play, scenario).filter("refused")
    assert (refused.where, refused.who) == ("gateway", "gateway")
    assert refused.data == {"reason": "unauthenticated", "status": 401}


# Identity and headers


@everywhere
def test_the_identity_is_passed_on_and_cannot_be_sent(play: Play) -> None:
    """Client-sent internal headers are stripped, in every spelling; credentials end at the door."""
    shop = Shop()
    theirs = [
        *HEADERS,
        ("X-Identity-Subject", "root"),
        ("x_identity_roles", "admin"),
        ("X-Internal-Debug", "1"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("Cookie", "session=1"),
        ("Accept-Language", "en"),
    ]
    asked(play, shop, lambda: ask(headers=theirs))
    assert shop.calls[0].headers == (
        ("accept-language", "en"),
        ("x-identity-subject", "ann"),
        ("x-identity-roles", "customer"),
    )
    assert dict(onward([], EVE))["x-identity-roles"] == "audit,staff"


@pytest.mark.parametrize("name", ["Łukasz", "a\r\nx-role: admin", "100 %", "a,b"])
def test_an_identity_comes_back_from_its_headers_as_it_was(name: str) -> None:
    """Whatever its letters: no other header begins in it, and one role never becomes two."""
    headers = dict(onward([], Identity(name, frozenset({name, "staff"}))))
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    assert unquote(headers[SUBJECT]) == name
    assert {unquote(role) for role in headers[ROLES].split(",")} == {name, "staff"}
    assert dict(onward([], Identity("ann@example.org")))[SUBJECT] == "ann@example.org"


@pytest.mark.parametrize(
    ("subject", "roles"), [("", ()), (None, ()), ("a\0", ()), ("ann", "staff"), ("ann", [""])]
)
def test_an_identity_is_somebody(subject: Any, roles: Any) -> None:
    """Nobody in particular is no subject: limits and answers would be shared. Roles are a set of names."""
    with pytest.raises((ValueError, TypeError), match=r"subject|role"):
        Identity(subject, roles)


async def test_who_asks_may_be_found_out_by_a_plain_function() -> None:
    """As by an async one."""

    def known(request: Request) -> Identity | None:
        return Identity("ann") if request.header("authorization") else None

    door = Gateway([Route("GET", "/a", lambda call: call.identity.subject)], authenticate=known, timeout=1)
    assert [(await door.handle(ask("/a", headers))).status for headers in (HEADERS, [])] == [200, 401]


def test_hop_by_hop_headers_end_here() -> None:
    """Those of the list, and those that Connection names."""
    kept = end_to_end(
        [
            ("Connection", "close, X-Trick"),
            ("connection", "X-Other"),
            ("X-Trick", "1"),
            ("x-other", "1"),
            ("Keep-Alive", "5"),
            ("Transfer-Encoding", "chunked"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
            ("Proxy-Authorization", "Basic x"),
            ("Content-Type", "text/plain"),
            ("Vary", "content-type"),
        ]
    )
    assert kept == [("Content-Type", "text/plain"), ("Vary", "content-type")]


def test_a_header_that_comes_twice_has_no_value() -> None:
    """Two readers would choose differently."""
    request = Request("GET", "/", headers=[("A", "1"), ("B", "1"), ("b", "2")])
    assert [request.header(name) for name in ("a", "B", "c")] == ["1", None, None]


# Paths


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("/", "/"),
        ("/orders/17", "/orders/17"),
        ("//orders///17/", "/orders/17"),
        ("/./orders/./17/.", "/orders/17"),
        ("/users/../orders/17", "/orders/17"),
        ("/users/%2e%2e/orders/17", "/orders/17"),
        ("/%6frders/%31%37", "/orders/17"),
        ("/caf%C3%A9", "/café"),
        ("/100%25", "/100%"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/...", "/..."),
    ],
)
def test_paths_are_normalised_before_routing(written: str, normal: str) -> None:
    """One spelling for one place; and what is written again leads to the same place."""
    assert normalise(written) == normal
    assert normalise(quote(normal)) == normal


@pytest.mark.parametrize(
    "path",
    [
        "", "orders", "*", "http://x/orders", "/..", "/orders/../..", "/%2e%2e/x", "/a%2fb", "/a%5Cb",
        "/a\\b", "/%252e%252e/x", "/%", "/%zz", "/%ff", "/a%00b", "/a%0d%0ab", "/..;/admin", "/a/.;x=1/b",
        "/%2e%2e;/x", "/..%20/admin", "/a\u200b",
    ],
)  # fmt: skip
def test_a_path_with_several_readings_is_refused(path: str) -> None:
    """It is not repaired: encoded slashes, double encoding, steps above the root, control characters."""
    with pytest.raises(BadRequest):
        normalise(path)


@everywhere
def test_handlers_get_the_normalised_path_and_what_stands_in_its_places(play: Play) -> None:
    """Whatever the client wrote."""
    (response,) = asked(play, Shop(), lambda: ask("/users/../orders//%31%37"))
    assert response.body == {"path": "/orders/17", "who": "ann", "order": "17"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Route("get", "/a", Shop()),
        lambda: Route("GET", "a", Shop()),
        lambda: Route("POST", "/a", Shop(), coalesce=True),
        lambda: gateway(Shop(), timeout=0),
        lambda: gateway(Shop(), timeout=float("inf")),
        lambda: gateway(Shop(), max_concurrent=0),
        lambda: RateLimit(rate=0, burst=1),
        lambda: RateLimit(rate=1, burst=0),
        lambda: RateLimit(rate=1, burst=1, max_clients=0),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Callable[[], object]) -> None:
    """Sharing what may not be shared, bounds that are no bounds."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says what to do
        make()


# Limits


def wait(seconds: int) -> tuple[int, Header]:
    return 429, ("retry-after", str(seconds))


@everywhere
def test_a_client_that_asks_too_often_hears_when_to_come_back(play: Play) -> None:
    """429 with Retry-After; other clients are not concerned; later it may ask again."""

    async def scenario() -> list[Any]:
        door = gateway(Shop(0), rate_limit=RateLimit(rate=0.4, burst=2))

        async def status(token: str = "Bearer ann") -> Any:
            response = await door.handle(ask(headers=[("authorization", token)]))
            return response.status, *(header for header in response.headers if header[0] == "retry-after")

        got = [await status() for _ in range(3)]
        got.append(await status("Bearer eve"))
        await anyio.sleep(1.0)
        got.append(await status())
        await anyio.sleep(1.5)
        return [*got, await status()]

    trace = holds(play, scenario)
    assert trace.result == [(200,), (200,), wait(3), (200,), wait(2), (200,)]


async def test_every_answer_says_how_often_the_client_may_still_ask() -> None:
    """In the fields of the IETF's draft, on refusals too; nobody is told before it is known who asks."""
    door = gateway(Shop(0), rate_limit=RateLimit(rate=0.4, burst=2))

    async def limits(path: str = "/orders/17", **how: Any) -> tuple[int, str | None, str | None, str | None]:
        response = await door.handle(ask(path, **how))
        headers = dict(response.headers)
        names = ("ratelimit-policy", "ratelimit", "retry-after")
        return response.status, *(headers.get(name) for name in names)  # type: ignore[return-value]

    policy = '"client";q=2;w=5'
    assert await limits(headers=[]) == (401, None, None, None)
    assert await limits() == (200, policy, '"client";r=1;t=3', None)
    assert await limits("/nowhere") == (404, policy, '"client";r=0;t=3', None)
    assert await limits() == (429, policy, '"client";r=0;t=3', "3")
    await anyio.sleep(1.0)
    assert await limits() == (429, policy, '"client";r=0;t=2', "2")
    await anyio.sleep(2.0)
    assert await limits() == (200, policy, '"client";r=0;t=2', None)


@pytest.mark.parametrize(("room", "status"), [(24, 200), (23, 431)])
async def test_path_query_and_headers_are_bounded_together(room: int, status: int) -> None:
    """In characters, up to the bound itself."""
    route = Route("GET", "/a", lambda call: None)
    door = Gateway([route], authenticate=lambda request: Identity("ann"), timeout=1, max_head=room)
    assert (await door.handle(ask("/a", [("Accept", "text/html")], query="page=1&"))).status == status


async def test_the_memory_of_clients_is_bounded() -> None:
    """Those that asked last are remembered."""
    limit = RateLimit(rate=1, burst=2, max_clients=2)
    for client in "abac":
        limit.check(client)
    with pytest.raises(Exception, match="a has asked too often"):
        limit.check("a")
    assert len(limit) == 2


@everywhere
def test_an_overloaded_gateway_turns_away_at_the_door(play: Play) -> None:
    """503 with Retry-After at once, and nothing begun; the others are answered."""
    shop = Shop(0.5)

    async def scenario() -> Any:
        door = gateway(shop, max_concurrent=2)
        got: list[tuple[float, int]] = []

        async def client() -> None:
            begun = anyio.current_time()
            response = await door.handle(ask())
            got.append((anyio.current_time() - begun, response.status))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(client)
        return got, door.under_way

    trace = holds(play, scenario)
    (first, *rest), left = trace.result
    assert first == (pytest.approx(0), 503)
    assert [status for _, status in rest] == [200, 200]
    assert (len(shop.calls), left) == (2, 0)
    assert trace.filter("refused")[0].data["reason"] == "overloaded"


@everywhere
@pytest.mark.parametrize(("patience", "after"), [(9.0, 1.0), (0.3, 0.3)])
def test_the_answer_comes_before_the_deadline_of_gateway_and_client(
    play: Play, patience: float, after: float
) -> None:
    """Whichever is earlier; a handler that is late is cancelled, and the client hears 504."""

    async def scenario() -> Any:
        begun = anyio.current_time()
        response = await gateway(Shop(5)).handle(ask(deadline=begun + patience))
        return response.status, anyio.current_time() - begun

    trace = holds(play, scenario)
    assert trace.result == (504, pytest.approx(after))
    assert trace.count("timed out", where="gateway") == 1


@everywhere
def test_a_fan_out_answers_before_the_gateway_gives_up(play: Play) -> None:
    """A partial answer in time, and not a 504."""

    async def hangs(ask: object) -> None:
        await anyio.sleep(9)

    async def quick(ask: object) -> int:
        return 1

    view = FanOut(Branch("a", quick), Branch("b", hangs))

    async def scenario() -> Response:
        async def handler(call: AdmittedRequest) -> ComposedAnswer:
            return await view(call)

        door = Gateway([Route("GET", "/", handler)], authenticate=authenticate, timeout=1)
        return await door.handle(ask("/"))

    response = holds(play, scenario).result
    assert response.status == 200
    assert response.body == ComposedAnswer({"a": 1}, {"b": FieldError("timed out")}).as_dict()


# Errors


@everywhere
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(BackendFailed("db-7: password=hunter2"), 502, "failed"), (KeyError("hunter2"), 500, "internal error")],
)
def test_no_words_of_an_exception_reach_the_client(
    play: Play, error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A code and the request's id, by which the rest is found in the log and the trace."""
    caplog.set_level(logging.CRITICAL + 1)

    async def scenario() -> Response:
        return await gateway(Shop(says=error)).handle(ask(id="r77"))

    trace = holds(play, scenario)
    assert trace.result.status == status
    assert trace.result.body == {"error": code, "request": "r77"}
    assert "hunter2" in trace.filter("failed", where="gateway")[0].data["error"]


@everywhere
def test_a_cancelled_request_is_cancelled(play: Play) -> None:
    """It comes out as cancellation, and frees its place."""

    async def scenario() -> int:
        door = gateway(Shop(5))
        async with anyio.create_task_group() as group:
            group.start_soon(door.handle, ask())
            await anyio.sleep(0.1)
            group.cancel_scope.cancel()
        return door.under_way

    trace = holds(play, scenario)
    assert (trace.result, trace.count("cancelled", where="gateway")) == (0, 1)


# Sharing


@everywhere
def test_equal_requests_of_one_user_share_a_call(play: Play) -> None:
    """On routes that say so: per user, path, query, and headers that a backend may see."""
    shop = Shop(0.5)

    async def scenario() -> list[Any]:
        got: list[Any] = []

        async def client(token: str, path: str, query: str, language: str = "en") -> None:
            headers = [("authorization", token), ("accept-language", language)]
            response = await door.handle(ask(path, headers, query=query))
            got.append(response.body["who"])

        async with gateway(shop, coalesce=True) as door, anyio.create_task_group() as group:
            for token, path, query in [
                ("Bearer ann", "/prices", ""),
                ("Bearer ann", "/prices/", ""),
                ("Bearer bob", "/prices", ""),
                ("Bearer ann", "/prices", "of=tea"),
            ]:
                group.start_soon(client, token, path, query)
            group.start_soon(client, "Bearer ann", "/prices", "", "fr")
        return sorted(got)

    assert holds(play, scenario).result == ["ann", "ann", "ann", "ann", "bob"]
    assert len(shop.calls) == 4


@pytest.mark.parametrize("body", [b"[" * 60_000, b"NaN", b"{", b"\xff", b'{"a": "\\ud800"}'])
async def test_a_handler_that_reads_a_body_refuses_what_is_no_json(body: bytes) -> None:
    """400 at once, however deep; the same rule for every handler."""

    def handler(call: AdmittedRequest) -> Any:
        return call.json()

    door = Gateway([Route("POST", "/a", handler)], authenticate=authenticate, timeout=1)
    assert (await door.handle(ask("/a", method="POST", body=body))).status == 400
    assert (await door.handle(ask("/a", method="POST", body=b'{"a": [1]}'))).body == {"a": [1]}


@pytest.mark.parametrize(
    ("error", "logged"),
    [(BackendFailed("a"), True), (RequiredFailed("a", KeyError("b")), True), (NotFound("a"), False),
     (BulkheadFull("a"), False), (CallRejected("users", "is open"), False), (KeyError("a"), True)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_a_failure_behind_the_gateway_is_in_the_log(
    error: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback and the request's id; what was refused, or was the client's, is not."""

    def handler(call: AdmittedRequest) -> None:
        raise error

    door = Gateway([Route("GET", "/a", handler)], authenticate=authenticate, timeout=1)
    await door.handle(ask("/a", id="r77"))
    found = [record.exc_info[1] for record in caplog.records if record.exc_info and "r77" in record.message]
    assert found == ([error] if logged else [])


async def test_the_answer_names_the_required_field_that_has_no_value() -> None:
    """So the client learns what failed, if not why."""
    orders = dict[str, str]()
    view = FanOut(Branch("order", lambda request: orders["17"], required=True), timeout=0.5)
    door = Gateway([Route("GET", "/a", view)], authenticate=authenticate, timeout=1)
    assert (await door.handle(ask("/a", id="r77"))).body == {
        "error": "failed",
        "request": "r77",
        "field": "order",
    }


async def test_what_a_request_leads_to_is_told_as_done_by_who_brought_it_or_by_the_gateway() -> None:
    """Whoever stands at the door, a server or nobody."""
    route = Route("GET", "/a", lambda call: record("note", "orders", text="asked"))
    door = Gateway([route], authenticate=authenticate, timeout=1)
    await door.handle(ask("/a"))
    with acting("server"):
        await door.handle(ask("/a"))
    assert [fact.who for fact in recorded().filter("note")] == ["gateway", "server"]


# Every way out is the gateway's own


async def test_a_check_may_be_async() -> None:
    """An `async def` that says no is a no; its coroutine alone would be a yes."""

    async def nobody(identity: Identity, path_params: Mapping[str, str]) -> bool:
        return False

    shop = Shop()
    door = Gateway([Route("GET", "/a", shop, allow=nobody)], authenticate=authenticate, timeout=1)
    assert (await door.handle(ask("/a"))).status == 403
    assert shop.calls == []


async def test_a_handler_may_be_a_plain_function() -> None:
    """Whoever has nothing to wait for need not pretend."""
    door = Gateway([Route("GET", "/a", lambda call: {"a": 1})], authenticate=authenticate, timeout=1)
    assert (await door.handle(ask("/a"))).body == {"a": 1}


async def test_nothing_is_no_value_of_a_place() -> None:
    """The root is another path than `/{user}`."""
    door = Gateway([Route("GET", "/{user}", Shop())], authenticate=authenticate, timeout=1)
    assert [(await door.handle(ask(path))).status for path in ("/", "/ann")] == [404, 200]


async def test_a_wrong_method_hears_which_are_right() -> None:
    """405 with Allow, RFC 9110, section 15.5.6."""
    response = await gateway(Shop()).handle(ask("/orders/17", method="DELETE"))
    assert (response.status, ("allow", "GET") in response.headers) == (405, True)


async def test_a_handler_that_calls_a_backend_itself_is_told_like_a_fan_out() -> None:
    """503 and when to come back, while its breaker is open."""
    breaker = CircuitBreaker("stock breaker", policy=ConsecutiveFailures(1), open_duration=OpenDuration(7))
    breaker.admit().failure()
    stock = Backend("stock", timeout=1, breaker=breaker)
    door = Gateway(
        [Route("GET", "/a", lambda call: stock.call(anyio.sleep, 0))], authenticate=authenticate, timeout=1
    )
    response = await door.handle(ask("/a"))
    assert (response.status, response.body["error"]) == (503, "unavailable")
    assert dict(response.headers)["retry-after"] == "8"  # strictly after 7 seconds, in whole ones


@pytest.mark.parametrize("answer", [float("nan"), "\ud800", {1: "one"}, (1, 2), object()])
async def test_an_answer_that_is_no_json_is_a_failure_in_the_gateways_form(answer: Any) -> None:
    """With the request's id, and none of its words."""
    door = Gateway([Route("GET", "/a", lambda call: answer)], authenticate=authenticate, timeout=1)
    response = await door.handle(ask("/a"))
    assert response.status == 502
    assert set(response.body) == {"error", "request"}
