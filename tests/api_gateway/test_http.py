"""The gateway over HTTP: in one process without sockets, once over loopback, and once as the command."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.responses import Response as HttpResponse
from starlette.routing import Route as HttpRoute

from eip_ref.api_gateway import (
    AdmittedRequest,
    Backend,
    BackendFailed,
    Gateway,
    GatewayTimeout,
    NotFound,
    Request,
)
from eip_ref.api_gateway.http_edge import TIMEOUT, HttpBackend, application
from eip_ref.apps import start
from eip_ref.apps.gateway_shop.serve import opened
from eip_ref.apps.gateway_shop.shop import TOKENS, authenticate, gateway, services
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.trace import Trace, recording
from tests import slow_client
from tests.backends import recorded, virtual_time_only

ANN = {"Authorization": "Bearer demo-ann"}
STAFF = {"Authorization": "Bearer demo-staff"}
URLS = {name: f"http://{name}.test" for name in services()}


def run(scenario: Callable[[], Awaitable[Any]]) -> Trace:
    """Run on asyncio with the real clock, and judge the trace."""

    async def main() -> Trace:
        with recording() as recorder, anyio.fail_after(30):
            result = await scenario()
        return Trace(recorder.events, result=result)

    trace = anyio.run(main)
    assert fan_out_budget(trace) == []
    return trace


@asynccontextmanager
async def to(app: Any, url: str = "http://gateway.test") -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url) as client:
        yield client


@asynccontextmanager
async def in_process(timeout: float = 20.0) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the demo's gateway, with the services behind it and no socket anywhere."""
    mounts = {url: httpx.ASGITransport(services()[name]) for name, url in URLS.items()}
    async with (
        httpx.AsyncClient(mounts=mounts) as behind,
        gateway(URLS, behind, timeout=timeout) as door,
        to(application(door)) as client,
    ):
        yield client


def test_one_request_brings_one_answer_out_of_three_services() -> None:
    """Aggregation over HTTP: the user is the order's, and all is there."""

    async def scenario() -> httpx.Response:
        async with in_process() as client:
            return await client.get("/orders/17", headers=ANN)

    trace = run(scenario)
    assert trace.result.status_code == 200
    assert trace.result.json() == {
        "data": {
            "order": {"id": "17", "user": "ann", "items": ["tea", "bread"]},
            "user": {"name": "Ann"},
            "invoices": [{"total": 7, "paid": True}],
        },
        "complete": True,
        "errors": {},
    }


@virtual_time_only
async def test_a_service_that_hangs_makes_the_answer_partial() -> None:
    """The invoices of order 18 take too long: 200, with a flag and an error for that field."""
    async with in_process(timeout=1) as client:
        result = await client.get("/orders/18", headers=ANN)
    trace = recorded()
    assert fan_out_budget(trace) == []
    assert trace.end == pytest.approx(0.9)
    answer = result.json()
    assert set(answer["data"]) == {"order", "user"}
    assert (answer["complete"], answer["errors"]) == (False, {"invoices": {"code": "timed out"}})


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status"),
    [
        ("GET", "/orders/17", {}, b"", 401),
        ("GET", "/orders/17", {"Authorization": "Basic demo-ann"}, b"", 401),
        ("GET", "/orders/19", ANN, b"", 403),
        ("GET", "/orders/19", STAFF, b"", 200),
        ("GET", "/orders/99", ANN, b"", 404),
        ("GET", "/users/bob", ANN, b"", 403),
        ("GET", "/users/ann/%2e%2e/bob", ANN, b"", 403),
        ("GET", "/users/nobody", STAFF, b"", 404),
        ("DELETE", "/orders/17", ANN, b"", 405),
        ("GET", "/orders%2f17", ANN, b"", 400),
        ("POST", "/orders", ANN, b"x" * 1_001, 413),
        ("POST", "/orders", {}, b"x" * 1_001, 413),
        ("POST", "/orders", ANN, b'{"items": ["tea"]}', 201),
    ],
)
def test_the_statuses_are_those_of_the_contract(
    method: str, path: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    """400, 401, 403, 404, 405, 413, and what the services say."""

    async def scenario() -> httpx.Response:
        async with in_process() as client:
            return await client.request(method, path, headers=headers, content=content)

    assert run(scenario).result.status_code == status


def test_a_client_that_asks_too_often_gets_429_and_retry_after() -> None:
    """In the header that HTTP has for it."""

    async def scenario() -> httpx.Response:
        async with in_process() as client:
            responses = [await client.get("/users/ann", headers=ANN) for _ in range(30)]
        return next(r for r in responses if r.status_code == 429)

    assert run(scenario).result.headers["retry-after"] == "1"


def test_a_body_without_a_length_is_limited_too() -> None:
    """It is read no further than the limit."""
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 500

    async def scenario() -> httpx.Response:
        async with in_process() as client:
            return await client.post("/orders", headers=ANN, content=body())

    assert run(scenario).result.status_code == 413


# Behind the gateway


def echo(seen: list[HttpRequest], respond: Callable[[], HttpResponse]) -> Starlette:
    async def answer(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        request.scope["content"] = await request.body()
        return respond()

    return Starlette(routes=[HttpRoute("/{path:path}", answer, methods=["GET", "POST", "PUT"])])


@asynccontextmanager
async def before(app: Starlette, **how: Any) -> AsyncIterator[HttpBackend]:
    async with to(app) as client:
        backend = Backend("echo", timeout=10, pauses=[0, 0])
        yield HttpBackend(backend, client, "http://echo.test", **how)


def call(method: str = "GET", body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> AdmittedRequest:
    request = Request(method, "/a b", "of=tea", body=body)
    return AdmittedRequest(TOKENS["demo-ann"], "/a b", {}, tuple(headers), request)


def test_forwarding_passes_on_what_the_gateway_lets_through() -> None:
    """Method, path, query, body and headers there; status, body and end-to-end headers back."""
    seen: list[HttpRequest] = []

    def respond() -> HttpResponse:
        return HttpResponse("no tea", 418, {"X-Pot": "1", "Connection": "X-Hop", "X-Hop": "1", "Server": "s"})

    theirs = [("x-identity-subject", "ann"), ("request-timeout", "99")]

    async def scenario() -> Any:
        async with before(echo(seen, respond)) as backend:
            with anyio.fail_after(5):
                return await backend.forward(call("PUT", b"tea", theirs))

    response = run(scenario).result
    assert (response.status, response.body) == (418, b"no tea")
    assert {name for name, _ in response.headers} == {"x-pot"}
    (request,) = seen
    assert (request.method, request.scope["raw_path"], request.url.query) == ("PUT", b"/a%20b", "of=tea")
    assert request.scope["content"] == b"tea"
    assert request.headers["x-identity-subject"] == "ann"
    (left,) = request.headers.getlist(TIMEOUT)
    assert 0 < float(left) <= 5


def test_letters_beyond_ascii_pass_in_headers() -> None:
    """As the bytes that the client has sent."""
    seen: list[HttpRequest] = []

    async def scenario() -> Any:
        async with before(echo(seen, lambda: HttpResponse("", headers={"X-Tea": "thé"}))) as backend:
            return await backend.forward(call(headers=[("x-name", "Zoë")]))

    assert ("x-tea", "thé") in run(scenario).result.headers
    assert seen[0].headers["x-name"] == "Zoë"


def test_what_stands_in_a_path_cannot_leave_it() -> None:
    """A decoded path is encoded again: what it holds becomes neither a query nor another place."""
    seen: list[HttpRequest] = []

    async def scenario() -> None:
        async with before(echo(seen, lambda: HttpResponse("[]"))) as backend:
            await backend.get("/orders/17?user=bob#%41", call(headers=[("accept-language", "en")]))

    run(scenario)
    assert seen[0].scope["raw_path"] == b"/orders/17%3Fuser%3Dbob%23%2541"
    assert seen[0].url.query == ""
    assert "accept-language" not in seen[0].headers


@pytest.mark.parametrize(
    ("respond", "error", "calls"),
    [
        (lambda: HttpResponse("secret", 500), BackendFailed, 3),
        (lambda: HttpResponse("", 504), GatewayTimeout, 3),
        (lambda: HttpResponse("[]", 302, {"location": "http://evil.test"}), BackendFailed, 1),
        (lambda: HttpResponse("", 404), NotFound, 1),
        (lambda: HttpResponse("<html>"), BackendFailed, 1),
        (lambda: HttpResponse("x" * 101), BackendFailed, 3),
    ],
)
def test_what_a_service_says_becomes_an_error_of_the_gateway(
    respond: Callable[[], HttpResponse], error: type[Exception], calls: int
) -> None:
    """A failure is repeated for a read; an answer is not; redirects are not followed; bodies are limited."""
    seen: list[HttpRequest] = []

    async def scenario() -> None:
        async with before(echo(seen, respond), max_body=100) as backend:
            with pytest.raises(error):
                await backend.get("/a", call())

    run(scenario)
    assert len(seen) == calls


BOMB = gzip.compress(bytes(20_000_000))  # 20 kB, and a thousand times as much unpacked


@pytest.mark.parametrize("how", ["get", "forward"])
def test_nothing_that_a_service_packed_is_unpacked(how: str) -> None:
    """It is asked for bytes as they are, whatever the client takes; what comes packed has failed."""
    seen: list[HttpRequest] = []

    async def scenario() -> int:
        app = echo(seen, lambda: HttpResponse(BOMB, headers={"Content-Encoding": "gzip"}))
        async with before(app) as backend:
            tracemalloc.start()
            asked = call(headers=[("accept-encoding", "gzip")])
            with pytest.raises(BackendFailed, match="gzip"):
                await (backend.forward(asked) if how == "forward" else backend.get("/a", asked))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

    assert run(scenario).result < 5_000_000
    assert seen[0].headers.getlist("accept-encoding") == ["identity"]


@pytest.mark.parametrize("text", ["[" * 60_000, "[" * 300 + "]" * 300, "NaN", '"\\ud800"', "1" * 5_000])
def test_an_answer_that_nobody_could_write_is_a_failure_of_the_service(text: str) -> None:
    """Deep lists, NaN, half of a character, endless digits: 502 as for what is no JSON at all."""

    async def scenario() -> None:
        async with before(echo([], lambda: HttpResponse(text))) as backend:
            with pytest.raises(BackendFailed, match="no JSON"):
                await backend.get("/a", call())

    run(scenario)


@pytest.mark.parametrize(
    ("content", "headers", "path", "status"),
    [
        (b"[" * 60_000, {}, "/orders", 413),
        (b"[" * 1_000, {}, "/orders", 400),
        (b'{"items": NaN}', {}, "/orders", 400),
        (b"{}", {"X-Long": "x" * 20_000}, "/orders", 431),
        (b"{}", {}, f"/orders?{'x' * 20_000}", 431),
        (b"{}", {}, "/orders/" + "a/" * 10_000, 431),
    ],
)
def test_deep_or_huge_input_is_refused_at_once(
    content: bytes, headers: dict[str, str], path: str, status: int
) -> None:
    """In the gateway's own form or the service's, and the breaker counts no failure."""

    async def scenario() -> Any:
        async with in_process() as client:
            bad = [(await client.post(path, headers=ANN | headers, content=content)) for _ in range(5)]
            good = await client.post("/orders", headers=ANN, json={"items": ["tea"]})
            return {response.status_code for response in bad}, "error" in bad[0].json(), good.status_code

    assert run(scenario).result == ({status}, True, 201)


def test_a_write_is_sent_once() -> None:
    """A POST may not happen twice."""
    seen: list[HttpRequest] = []

    async def scenario() -> None:
        async with before(echo(seen, lambda: HttpResponse("", 500))) as backend:
            with pytest.raises(BackendFailed):
                await backend.forward(call("POST"))

    run(scenario)
    assert len(seen) == 1


def test_a_service_that_is_away_has_failed() -> None:
    """A connection that is refused is a failure of the backend."""

    async def scenario() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            nobody = HttpBackend(Backend("nobody", timeout=5), client, "http://127.0.0.1:9")
            with pytest.raises(BackendFailed):
                await nobody.get("/", call())

    run(scenario)


@pytest.mark.parametrize(
    ("header", "most"), [("50", 50), (None, 100), ("soon", 100), ("-1", 100), ("nan", 100)]
)
def test_the_time_that_a_client_will_wait_bounds_the_answer(header: str | None, most: float) -> None:
    """It travels in a header, in seconds; what makes no sense is ignored, and the gateway's own holds."""
    deadlines: list[float] = []

    async def scenario() -> None:
        async def handle(request: Request) -> Any:
            deadlines.append(request.deadline - anyio.current_time())
            return await inner(request)

        door = Gateway([], authenticate=authenticate, timeout=100)
        inner, door.handle = door.handle, handle  # type: ignore[method-assign]
        async with to(application(door)) as client:
            await client.get("/", headers={TIMEOUT: header} if header else {})

    run(scenario)
    assert most - 40 < deadlines[0] <= most


# Over loopback


def test_the_shop_runs_on_loopback() -> None:
    """Real servers and sockets: an answer, a refusal, a forwarded write."""

    async def scenario() -> list[Any]:
        async with opened() as urls, httpx.AsyncClient(base_url=urls["gateway"], trust_env=False) as client:
            whole = await client.get("/orders/17", headers={**ANN, "X-Identity-Subject": "root"})
            nobody = await client.get("/orders/17")
            made = await client.post("/orders", headers=ANN, json={"items": ["tea"]})
            return [whole.json()["complete"], nobody.status_code, made.json()["user"]]

    assert run(scenario).result == [True, 401, "ann"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to all processes of a console")
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_command_prints_where_everything_is_and_stops_when_told(told: signal.Signals) -> None:
    """`eip app gateway`: four URLs, then commands to try; and one word at the end, with no traceback."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "eip_ref.autograder.cli", "app", "gateway"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = lines[3].split()[1]
        response = httpx.get(f"{url}/orders/17", headers=ANN, trust_env=False)
        process.send_signal(told)
        assert process.stderr is not None
        rest, errors = process.stdout.read(), process.stderr.read()
        assert (process.wait(30), errors) == (0, "")
    assert [line.split()[0] for line in lines] == ["orders", "users", "invoices", "gateway"]
    assert response.json()["complete"] is True
    assert "curl" in rest
    assert rest.endswith("stopped\n")


def test_the_package_needs_no_http_library() -> None:
    """`import eip_ref.api_gateway` needs anyio alone; the modules for HTTP are asked for by name."""
    code = "import sys, json, eip_ref.api_gateway; print(json.dumps([*sys.modules]))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    top = {name.partition(".")[0] for name in json.loads(loaded)}
    assert top & {"httpx", "starlette", "uvicorn"} == set()


def test_json_answers_say_so() -> None:
    """A value becomes JSON, with its type."""

    async def scenario() -> httpx.Response:
        async with in_process() as client:
            return await client.get("/orders/17", headers=ANN)

    assert run(scenario).result.headers["content-type"] == "application/json"
    assert JSONResponse({}).media_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("TRACE", "/orders/17", 405), ("GET", "/users/ann%0a", 400)]
)
def test_what_a_framework_would_answer_itself_is_answered_in_the_gateways_form(
    method: str, path: str, status: int
) -> None:
    """With the request's id, by which its people find it."""

    async def scenario() -> Any:
        async with in_process() as client:
            return await client.request(method, path, headers=ANN)

    response = run(scenario).result
    assert (response.status_code, set(response.json())) == (status, {"error", "request"})
    assert response.headers.get("allow") == ("GET" if status == 405 else None)


def test_the_callers_own_mistake_is_no_failure_of_the_service() -> None:
    """Five bad orders are five times 400, and the breaker stays closed for others."""

    async def scenario() -> Any:
        async with in_process() as client:
            bad = [(await client.post("/orders", headers=ANN, json={})).status_code for _ in range(5)]
            good = await client.post("/orders", headers=ANN, json={"items": ["tea"]})
            return bad, good.status_code

    assert run(scenario).result == ([400] * 5, 201)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_said_in_one_line(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With the ports that there are."""
    assert start("gateway", port) == 1
    told = f"{port} is no port; choose one from 1 to 65535 with --port, or 0 for a free one\n"
    assert capsys.readouterr() == ("", told)


def test_a_library_that_is_missing_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that installs it."""
    for module in [name for name in sys.modules if name.startswith("eip_ref.apps.gateway_shop")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "eip_ref.apps.loopback")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert start("gateway", 0) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    told = 'uvicorn is missing; install it with: python -m pip install -e ".[course]"\n'
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize("application", ["dashboard", "gateway"])
def test_a_port_that_is_taken_is_said_in_one_line(application: str) -> None:
    """And no address of somebody else's page is printed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "eip_ref.autograder.cli", "app", application, "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"port {port} is taken; choose another one with --port\n"


@virtual_time_only
async def test_a_client_that_sends_its_body_slowly_is_refused_when_the_gateway_has_no_more_time() -> None:
    """A byte now and then would hold its place for ever. The connection ends too: the rest may yet come."""
    async with httpx.AsyncClient() as behind, gateway(URLS, behind, timeout=5) as door:
        status, headers, seconds = await slow_client.answer(application(door), "/orders")
    assert (status, headers["connection"], seconds) == (408, "close", 5)
    assert [event.data["status"] for event in recorded().filter("refused")] == [408]


@virtual_time_only
async def test_the_time_in_which_a_body_comes_is_a_part_of_what_its_request_has() -> None:
    """Else a client could make the gateway wait for twice as long as it says."""
    deadlines = list[float]()

    async def seen(request: Request) -> None:
        deadlines.append(request.deadline)

    async def receive() -> dict[str, Any]:
        await anyio.sleep(3)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(_: Any) -> None:
        """Nobody looks at the answer."""

    start = anyio.current_time()
    async with Gateway([], authenticate=seen, timeout=5) as door:
        await application(door)(slow_client.scope("/orders"), receive, send)
    assert deadlines == [start + 5]


# The page of the application


def test_the_page_shows_a_failing_service_and_its_breaker() -> None:
    """Three failures open it. The answers say what is missing, and the bars who was called."""

    async def scenario() -> None:
        async with opened() as urls, httpx.AsyncClient(base_url=urls["gateway"], trust_env=False) as client:
            assert "A shop behind a gateway" in (await client.get("/")).text
            switched = await client.put("/-/services/users", json={"condition": "failing"})
            assert switched.json() == {"condition": "failing"}
            for _ in range(3):
                answer = await client.get("/orders/17", headers=ANN)
                assert (answer.status_code, answer.json()["complete"]) == (200, False)
            is_now = (await client.get("/-/standing")).json()
            users = is_now["services"]["users"]
            assert (users["condition"], users["breaker"]["state"]) == ("failing", "open")
            assert users["calls"] >= 3
            assert (is_now["answers"], is_now["last"]["request"]) == ({"200": 3}, "GET /orders/17")
            assert {("users", "failed"), ("orders", "finished")} <= {
                (bar["where"], bar["end"]) for bar in is_now["last"]["bars"] if bar["call"]
            }
            calls = [bar for bar in is_now["last"]["bars"] if bar["call"]]
            assert all(bar["to"] >= bar["from"] >= 0 for bar in calls)

    run(scenario)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/-/services/bank", {"condition": "slow"}, 404),
        ("/-/services/users", {"condition": "ill"}, 400),
        ("/-/services/users", [], 400),
    ],
)
def test_a_switch_that_makes_no_sense_is_told_so(path: str, body: Any, status: int) -> None:
    """With what there is."""

    async def scenario() -> None:
        async with opened() as urls, httpx.AsyncClient(base_url=urls["gateway"], trust_env=False) as client:
            told = await client.put(path, json=body)
            assert (told.status_code, "failing" in told.text or "orders" in told.text) == (status, True)
            foreign = await client.put(path, json=body, headers={"Origin": "http://evil"})
            assert foreign.status_code == 403

    run(scenario)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/-/standing"), ("PUT", "/-/services/users")]
)
def test_a_name_that_is_not_ours_opens_no_page(method: str, path: str) -> None:
    """Another site can make its own name lead to this machine, and would then be of the same origin."""

    async def scenario() -> int:
        async with opened() as urls, httpx.AsyncClient(base_url=urls["gateway"], trust_env=False) as client:
            evil = {"Host": "evil", "Origin": "http://evil"}
            return (await client.request(method, path, json={"condition": "slow"}, headers=evil)).status_code

    assert run(scenario).result == 421
