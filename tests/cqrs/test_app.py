"""The web application of CQRS: REST commands, GraphQL queries and the stream, in process and on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from eip_ref.apps.loopback import serving
from eip_ref.apps.shop_dashboard.graphql import ALIASES, GRAPHQL, Loads, schema
from eip_ref.apps.shop_dashboard.request_parsing import MAX_TIMEOUT
from eip_ref.apps.shop_dashboard.serve import application
from eip_ref.apps.shop_dashboard.shop import ShopSystem
from eip_ref.apps.shop_dashboard.stream import Stream
from eip_ref.field.doctor import INSTALL
from eip_ref.message import Message
from tests import slow_client
from tests.backends import virtual_time_only

LONG = 8.0  #: never reached; a test that would wait so long has failed
ANN = {"id": "ann", "name": 'Ann "the cat" Lee', "email": "ann@shop"}


def run(scenario: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Run on asyncio with the real clock."""

    async def main() -> Any:
        with anyio.fail_after(LONG):
            return await scenario(*args)

    return anyio.run(main)


@asynccontextmanager
async def in_process(
    folder: Path, kafka: str | None = None
) -> AsyncIterator[tuple[ShopSystem, httpx.AsyncClient]]:
    """The application without a server."""
    async with ShopSystem(folder, kafka=kafka, synchronous="OFF") as shop:
        transport = httpx.ASGITransport(application(shop, hosts=("shop",)))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            yield shop, client


@asynccontextmanager
async def online(folder: Path) -> AsyncIterator[tuple[ShopSystem, str]]:
    """The application on a free port of this machine."""
    async with ShopSystem(folder, synchronous="OFF") as shop, serving(application(shop)) as url:
        yield shop, url.partition("//")[2]


# The guard before all doors

DOORS = [
    ("POST", "/rebuild"),
    ("PUT", "/slow"),
    ("PUT", "/parts/relay"),
    ("POST", "/faults/poison"),
    ("POST", "/users"),
    ("PATCH", "/users/ann"),
    ("POST", "/graphql"),
    ("POST", "/nowhere"),
]


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_a_page_of_another_site_changes_nothing(tmp_path: Path, method: str, path: str) -> None:
    """A form can be sent without asking first; the browser says where it comes from, and that is refused."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            for origin in ("http://evil", "null", "http://shop:81", "http://["):
                form = {"Origin": origin, "Content-Type": "text/plain"}
                refused = await client.request(method, path, content="x", headers=form)
                assert (refused.status_code, refused.json()["error"]) == (403, "ForeignOrigin"), origin
            own = await client.request(method, path, content="x", headers={"Origin": "http://shop"})
            assert own.status_code != 403

    run(scenario)


@pytest.mark.parametrize("host", ["evil", "shop.evil", "shop@evil", "[", ""])
def test_a_name_that_is_not_ours_opens_no_door(tmp_path: Path, host: str) -> None:
    """Another site can make its own name lead to this machine, and would then be of the same origin."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client), anyio.create_task_group() as group:
            for method, path in (("GET", "/"), ("GET", "/users"), *DOORS):
                headers = {"Host": host, "Origin": f"http://{host}"}
                assert (await client.request(method, path, headers=headers)).status_code == 421
            one = Socket(shop, host=host)
            group.start_soon(one.serve)
            assert (await one.next())["type"] == "websocket.close"

    run(scenario)


# What is too long, too deep or too wide

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_every_door_refuses_what_is_too_long_before_it_is_read(
    tmp_path: Path, method: str, path: str
) -> None:
    """One bound for all: the body of a command, of a query, and of what no door takes."""

    async def scenario() -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"#" * 10_000

        async with in_process(tmp_path) as (_, client):
            body = await client.request(method, path, content=endless(), headers=JSON)
            assert (body.status_code, body.json()["error"]) == (413, "TooLong")
            address = await client.request(method, path + "/" + "x" * 40_000, params={"q": "x" * 40_000})
            assert (address.status_code, address.json()["error"]) == (414, "TooLong")

    run(scenario)


@pytest.mark.parametrize("body", [b"[" * 60_000, b"9" * 5_000, b"\xff", b'"\\ud800"', b"NaN"], ids=repr)
@pytest.mark.parametrize("path", ["/users", "/graphql"])
def test_what_is_no_json_that_could_be_kept_is_400_at_every_door(
    tmp_path: Path, path: str, body: bytes
) -> None:
    """However deep or large it is, and inside the fields of a request as well as alone."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            for sent in (
                body,
                b'{"name": "a", "email": "b", "query": "{lag{last}}", "variables": %b}' % body,
            ):
                assert (await client.post(path, content=sent, headers=JSON)).status_code == 400

    run(scenario)


SPREADS = " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(40))
TOO_WIDE = {
    "wide": "{ customers { customer { ledger(first: 100) { customer { ledger(first: 100) { cents } } } } } }",
    "by variables": "query($n: Int = 100) { customers { customer { ledger(first: $n) { cents what } } } }",
    "in fragments": "{ ...f0 } fragment f40 on Query { lag { last } } " + SPREADS,
    "named again": "{ " + "customers { id } " * 20 + "}",
    "many operations": " ".join(f"query q{n} {{ customers {{ id }} }}" for n in range(20)),
}


@pytest.mark.parametrize("query", TOO_WIDE.values(), ids=TOO_WIDE)
def test_a_query_whose_answer_could_be_too_large_is_refused_before_it_is_looked_at(
    tmp_path: Path, query: str
) -> None:
    """The bound is on the product of depth and width, so neighbours do not wait for anybody's answer."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            refused = await ask(client, query, operationName="q0" if "q0" in query else None)
            assert refused.status_code == 400
            assert "could have more than 2,000 fields" in refused.json()["errors"][0]["message"]
            fits = await ask(client, "{ customers { customer { name ledger { cents customer { name } } } } }")
            assert fits.status_code == 200

    run(scenario)


def test_fragments_that_spread_each_other_are_told_so(tmp_path: Path) -> None:
    """Counting them ends, and the rule of GraphQL speaks."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            circle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"
            answer = await ask(client, circle)
            assert (answer.status_code, "spread" in answer.text) == (400, True)

    run(scenario)


@pytest.mark.parametrize("path", ["/stream", "/graphql"])
def test_a_socket_that_says_too_much_at_a_time_is_closed(tmp_path: Path, path: str) -> None:
    """At both doors for sockets, with 1009, and nothing of it stays."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, _), anyio.create_task_group() as group:
            one = Socket(shop, path=path)
            group.start_soon(one.serve)
            assert (await one.next())["type"] == "websocket.accept"
            await one.to_app.send({"type": "websocket.receive", "text": "x" * 70_000})
            while (said := await one.next()).get("type") != "websocket.close":
                assert said["kind"] in ("begin", "live")
            assert said["code"] == 1009
            while shop.dashboard.listeners:
                await anyio.sleep(0.01)

    run(scenario)


def test_a_socket_whose_message_is_too_deep_is_closed(tmp_path: Path) -> None:
    """As one that says no JSON at all."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, _), anyio.create_task_group() as group:
            one = Socket(shop, path="/graphql")
            group.start_soon(one.serve)
            assert (await one.next())["type"] == "websocket.accept"
            await one.to_app.send({"type": "websocket.receive", "text": "[" * 60_000})
            assert (await one.next())["code"] == 4400

    run(scenario)


# Commands


def test_a_command_answers_201_and_its_location_answers_at_once(tmp_path: Path) -> None:
    """Honest: the GET waits for the version that the POST made, and is no 404."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client):
            shop.slow = 0.05
            made = await client.post("/users", json=ANN)
            assert (made.status_code, made.json()) == (201, {"id": "ann", "version": 1, "repeated": False})
            got = await client.get(made.headers["Location"])
            assert (got.status_code, got.json()["row"]["name"]) == (200, ANN["name"])
            assert (got.json()["stale"], got.json()["versions"]) == (False, {"users/ann": 1})
            changed = await client.patch("/users/ann", json={"name": "Anna"})
            assert (changed.status_code, changed.json()["version"]) == (200, 2)
            charged = await client.post("/billing/ann/charges", json={"cents": 300})
            paid = await client.post("/billing/ann/payments", json={"cents": 100})
            got = await client.get(f"/users/ann?users=2&billing={paid.json()['version']}")
            assert charged.status_code == paid.status_code == 200
            assert got.json()["row"] == {
                "name": "Anna",
                "email": "ann@shop",
                "charges": 1,
                "charged": 300,
                "paid": 100,
            }

    run(scenario)


def test_a_repetition_with_its_key_gets_the_first_answer(tmp_path: Path) -> None:
    """Also when the server chose the id."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client):
            ask = {"json": {"name": "Ann", "email": "a@b"}, "headers": {"Idempotency-Key": "k"}}
            first, again = [await client.post("/users", **ask) for _ in range(2)]  # type: ignore[arg-type]
            assert (first.status_code, again.status_code) == (201, 201)
            assert first.json()["id"] == again.json()["id"]
            assert (first.json()["repeated"], again.json()["repeated"]) == (False, True)
            other = await client.post("/users", json={"name": "Bob", "email": "a@b"}, headers=ask["headers"])
            assert (other.status_code, other.json()["error"]) == (422, "IdempotencyKeyReused")
            assert shop.services["users"].state(first.json()["id"])[0] == 1

    run(scenario)


def test_a_conflict_is_409_with_the_actual_version(tmp_path: Path) -> None:
    """The client expected another version, or made what is there."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            await client.post("/users", json=ANN)
            await client.patch("/users/ann", json={"name": "A"}, headers={"Expected-Version": "1"})
            late = await client.patch("/users/ann", json={"name": "B"}, headers={"Expected-Version": "1"})
            assert (late.status_code, late.json()["error"], late.json()["version"]) == (
                409,
                "WrongExpectedVersion",
                2,
            )
            twice = await client.post("/users", json=ANN)
            assert (twice.status_code, twice.json()["error"]) == (409, "CommandRejected")

    run(scenario)


def test_202_says_accepted_and_names_where_the_outcome_will_be(tmp_path: Path) -> None:
    """Pending at first; then done with the version, or refused in words."""

    async def outcome(client: httpx.AsyncClient, place: str) -> Any:
        while (told := (await client.get(place)).json())["state"] == "pending":
            await anyio.sleep(0.01)
        return told

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            later = {"Prefer": "respond-async", "Idempotency-Key": "c1"}
            accepted = await client.post("/billing/ann/charges", json={"cents": 5}, headers=later)
            assert (accepted.status_code, accepted.headers["Preference-Applied"]) == (202, "respond-async")
            assert accepted.headers["Location"] == "/commands/billing/c1"
            done = await outcome(client, accepted.headers["Location"])
            assert done == {"state": "done", "id": "ann", "version": 1}
            refused = await client.post(
                "/billing/ann/payments", json={"cents": 9}, headers=later | {"Idempotency-Key": "c2"}
            )
            told = await outcome(client, refused.headers["Location"])
            assert told["says"] == "CommandRejected: ann owes 5 cents, and cannot pay 9"
            odd = later | {"Idempotency-Key": "a b/c?d"}
            again = await client.post("/billing/ann/charges", json={"cents": 5}, headers=odd)
            assert (await outcome(client, again.headers["Location"]))["version"] == 2
            assert (await client.get("/commands/billing/none")).status_code == 404
            assert (await client.get("/commands/nobody/c1")).status_code == 404

    run(scenario)


@pytest.mark.parametrize(
    ("path", "send", "status"),
    [
        ("/users", {"json": {"name": "Ann"}}, 422),
        ("/users", {"json": {"name": "Ann", "email": "a@b", "id": "../x"}}, 400),
        ("/users", {"json": {"name": "Ann", "email": "a@b", "id": 7}}, 400),
        ("/users", {"json": {"name": "Ann", "email": "a@b", "id": "é"}}, 400),
        ("/users", {"json": ANN, "headers": {"Idempotency-Key": "k" * 201}}, 400),
        ("/users", {"json": ["Ann"]}, 400),
        ("/users", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("/users", {"content": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
        ("/users", {"data": {"name": "Ann"}}, 415),
        ("/users", {"json": {"name": "A" * 70_000, "email": "a@b"}}, 413),
        ("/users", {"json": ANN, "headers": {"Expected-Version": "new"}}, 400),
        (
            "/users",
            {
                "content": rb'{"name": "\ud800", "email": "a@b"}',
                "headers": {"Content-Type": "application/json"},
            },
            400,
        ),
        ("/billing/ann/charges", {"json": {"cents": 1.5}}, 422),
        ("/billing/ann/charges", {"json": {"cents": True}}, 422),
        ("/billing/ann/payments", {"json": {"cents": 1}}, 409),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    tmp_path: Path, path: str, send: dict[str, Any], status: int
) -> None:
    """By its status and in words; nothing has changed."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client):
            answer = await client.post(path, **send)
            assert (answer.status_code, len(answer.json()["says"]) > 5) == (status, True)
            assert len(shop.services["users"].outbox) == shop.channel.end == 0

    run(scenario)


# Reads


def test_a_read_that_waited_in_vain_is_stale_or_503(tmp_path: Path) -> None:
    """As the client wishes; and one without versions answers at once, 404 when there is nobody."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_shop, client):
            await client.post("/users", json=ANN)
            await client.get("/users/ann?users=1")
            stale = await client.get("/users/ann?users=9&timeout=0.01")
            assert (stale.status_code, stale.json()["stale"], stale.json()["row"]["name"]) == (
                200,
                True,
                ANN["name"],
            )
            late = await client.get("/users/ann?users=9&timeout=0.01&late=refuse")
            assert (late.status_code, late.headers["Retry-After"], late.json()["version"]) == (503, "1", 1)
            assert (await client.get("/users/bob")).status_code == 404
            assert (await client.get("/users")).json().keys() == {"ann"}
            for wrong in ("users=-1", "timeout=99", "timeout=x", "timeout=nan", "late=never"):
                assert (await client.get(f"/users/ann?{wrong}")).status_code == 400

    run(scenario)


def test_the_standing_shows_the_lag_and_the_view_can_be_rebuilt(tmp_path: Path) -> None:
    """What is behind is counted while the projector is slow; a rebuild gives the same rows."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_shop, client):
            assert (await client.put("/slow", json={"seconds": 0.05})).json() == {"slow": 0.05}
            assert (await client.put("/slow", json={"seconds": -1})).status_code == 400
            for _ in range(4):
                last = await client.post("/billing/ann/charges", json={"cents": 1})
            while (standing := (await client.get("/standing")).json())["log"] < 4:
                await anyio.sleep(0.01)
            assert standing["behind"] + standing["projected"] == standing["log"] == 4
            await client.get(f"/users/ann?billing={last.json()['version']}&timeout=9")
            standing = (await client.get("/standing")).json()
            assert standing["largest"] >= standing["lag"] > 0.05
            before = (await client.get("/users")).json()
            assert (await client.post("/rebuild")).json() == {"rebuilt": 1}
            assert (await client.get("/users")).json() == before

    run(scenario)


def test_the_shop_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Users, debts, views and their order survive; a command of before is known by its key."""

    async def scenario() -> None:
        key = {"Idempotency-Key": "k"}
        async with in_process(tmp_path) as (_, client):
            await client.post("/users", json=ANN, headers=key)
        async with in_process(tmp_path) as (shop, client):
            again = await client.post("/users", json=ANN, headers=key)
            assert again.json()["repeated"]
            assert (await client.get("/users/ann?users=1")).json()["row"]["name"] == ANN["name"]
            assert shop.channel.end == 1

    run(scenario)


def test_a_fault_in_the_middle_of_what_was_read_loses_none_of_it(tmp_path: Path) -> None:
    """The projector begins again after its last commit, and not after all that it had read."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client):
            faults = iter([None, sqlite3.OperationalError("disk I/O error")])
            take = shop.dashboard.handle

            def handle(message: Message) -> bool:
                if fault := next(faults, None):
                    raise fault
                return take(message)

            shop.kill("projector")
            for _ in range(4):
                last = await client.post("/billing/ann/charges", json={"cents": 1})
            while (await client.get("/standing")).json()["log"] < 4:
                await anyio.sleep(0.01)
            with pytest.MonkeyPatch.context() as broken:
                broken.setattr(shop.dashboard, "handle", handle)
                shop.start("projector")
                found = await client.get(f"/users/ann?billing={last.json()['version']}&timeout=5")
            assert not found.json()["stale"]
            assert (found.json()["row"]["charges"], shop.known) == (4, 0)

    run(scenario)


# GraphQL


async def ask(client: httpx.AsyncClient, query: str, accept: str = GRAPHQL, **more: Any) -> httpx.Response:
    return await client.post("/graphql", json={"query": query, **more}, headers={"Accept": accept})


async def filled(client: httpx.AsyncClient) -> None:
    for id in ("ann", "bob"):
        await client.post("/users", json={**ANN, "id": id, "name": id})
        await client.post(f"/billing/{id}/charges", json={"cents": 300})
        await client.post(f"/billing/{id}/payments", json={"cents": 100})
        await client.get(f"/users/{id}?users=1&billing=2&timeout=9")
    while (await client.get("/standing")).json()["projected"] != 6:
        await anyio.sleep(0.01)


def test_a_query_joins_the_services_and_reads_what_was_written(tmp_path: Path) -> None:
    """With the versions of the commands it waits for them; without them it says how stale it is."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            await filled(client)
            query = """query($id: ID!, $users: Int!) {
                customer(id: $id, users: $users, billing: 2, timeout: 0.01) {
                    stale customer { id name charged paid owed ledger(first: 1) { what cents } } } }"""
            answer = await ask(client, query, variables={"id": "ann", "users": 1})
            assert answer.json()["data"]["customer"] == {
                "stale": False,
                "customer": {
                    "id": "ann",
                    "name": "ann",
                    "charged": 300,
                    "paid": 100,
                    "owed": 200,
                    "ledger": [{"what": "Paid", "cents": -100}],
                },
            }
            stale = await ask(client, query, variables={"id": "ann", "users": 9})
            assert stale.json()["data"]["customer"]["stale"]
            refused = await ask(
                client, '{ customer(id: "ann", users: 9, timeout: 0.01, orStale: false) { stale } }'
            )
            assert refused.json()["errors"][0]["extensions"] == {"code": "NOT_YET"}

    run(scenario)


def test_loads_are_batched(tmp_path: Path) -> None:
    """However many customers and lines: one look for the customers, one for their ledgers."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client):
            await filled(client)
            loads = Loads(shop)
            query = "{ customers { customer { name ledger { cents customer { name } } } } }"
            result = await schema.execute(query, context_value={"loads": loads})
            assert result.errors is None
            assert result.data is not None
            assert [len(c["customer"]["ledger"]) for c in result.data["customers"]] == [2, 2]
            assert loads.batches == [("dashboard", 2), ("ledger", 2)]

    run(scenario)


def test_a_field_that_fails_leaves_its_neighbours(tmp_path: Path) -> None:
    """Partial data with errors: null where it failed, an entry with its path, and 200."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            await filled(client)
            answer = await ask(client, '{ customers(ids: ["ann", "nobody"]) { id customer { name } } }')
            body = answer.json()
            assert answer.status_code == 200
            assert body["data"]["customers"] == [
                {"id": "ann", "customer": {"name": "ann"}},
                {"id": "nobody", "customer": None},
            ]
            assert body["errors"][0]["path"] == ["customers", 1, "customer"]
            assert body["errors"][0]["message"] == "there is no customer nobody"

    run(scenario)


DEEP = (
    "{ customers(ids: [1]) { customer "
    + "{ ledger(first: 1) { customer " * 3
    + "{ id }"
    + " } }" * 3
    + " } }"
)
WIDE = "{" + " ".join(f"a{n}: lag {{ last }}" for n in range(ALIASES + 1)) + "}"
LONG_QUERY = "{ lag { " + "last " * 2_100 + "} }"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (DEEP, "exceeds maximum operation depth"),
        (WIDE, "aliases"),
        (LONG_QUERY, "Syntax Error"),
        ("{ nothing }", "Cannot query field"),
        ("{", "Syntax Error"),
        ("mutation { register }", "not configured|mutation|not support"),
    ],
    ids=["deep", "wide", "long", "unknown", "broken", "mutation"],
)
def test_a_request_that_cannot_begin_is_400_or_200_by_its_media_type(
    tmp_path: Path, query: str, words: str
) -> None:
    """GraphQL-over-HTTP: 400 without data for the new type; the old type has no other way than 200."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            new = await ask(client, query)
            old = await ask(client, query, "application/json")
            assert (new.status_code, old.status_code) == (400, 200), new.text
            assert new.headers["Content-Type"].startswith(GRAPHQL)
            assert old.headers["Content-Type"].startswith("application/json")
            assert "data" not in new.json()
            assert re.search(words, new.json()["errors"][0]["message"])

    run(scenario)


def test_graphql_keeps_to_the_rules_of_http(tmp_path: Path) -> None:
    """GET for queries; no other method; a body that is no request is 400; without Accept it is JSON."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (_, client):
            got = await client.get("/graphql", params={"query": "{ lag { behind } }"})
            assert (got.status_code, got.json()) == (200, {"data": {"lag": {"behind": 0}}})
            assert got.headers["Content-Type"].startswith("application/json")
            assert (await client.put("/graphql", json={"query": "{ lag { behind } }"})).status_code == 405
            wrongs: list[dict[str, Any]] = [
                {"content": b"{"},
                {"json": {"query": 7}},
                {"json": {}},
                {"json": {"query": "{a}", "variables": 7}},
            ]
            for wrong in wrongs:
                headers = {"Content-Type": "application/json"}
                assert (await client.post("/graphql", headers=headers, **wrong)).status_code == 400
            both = await ask(client, "{ lag { behind } }", f"{GRAPHQL}, application/json;q=0.9")
            assert both.headers["Content-Type"].startswith(GRAPHQL)

    run(scenario)


def test_a_subscription_gives_the_rows_and_then_the_changes(tmp_path: Path) -> None:
    """It resumes after a position, and ends with its listener."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client):
            await filled(client)
            query = "subscription { changes(after: 5) { epoch position id customer { owed } } }"
            stream: Any = await schema.subscribe(query, context_value={"loads": Loads(shop)})
            first = (await anext(stream)).data["changes"]
            await client.post("/billing/bob/charges", json={"cents": 7})
            second = (await anext(stream)).data["changes"]
            await stream.aclose()
            assert (first["position"], second["position"]) == (6, 7)
            assert second["customer"] == {"owed": 207}
            assert first["epoch"] == second["epoch"] == shop.dashboard.epoch
            while shop.dashboard.listeners:
                await anyio.sleep(0.01)

    run(scenario)


# The stream


class Socket:
    """A client of the ASGI application, which reads when it is told to."""

    def __init__(
        self,
        shop: ShopSystem,
        query: str = "",
        stream: Stream | None = None,
        origin: str = "",
        host: str = "shop",
        path: str = "/stream",
    ) -> None:
        self.to_app, self._receive = anyio.create_memory_object_stream[dict[str, Any]](10)
        self._send, self.from_app = anyio.create_memory_object_stream[dict[str, Any]](0)
        headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
        self._scope = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [] if path == "/stream" else ["graphql-transport-ws"],
            "scheme": "ws",
        }
        self._app = application(shop, stream=stream, hosts=("shop",))

    async def serve(self) -> None:
        async with self.to_app, self._receive, self._send, self.from_app:
            await self.to_app.send({"type": "websocket.connect"})
            await self._app(self._scope, self._receive.receive, self._send.send)  # type: ignore[arg-type]

    async def next(self) -> Any:
        """What the application sent: a JSON message, or the event itself."""
        event = await self.from_app.receive()
        return json.loads(event["text"]) if event["type"] == "websocket.send" else event

    async def until_live(self) -> list[int]:
        assert (await self.next())["type"] == "websocket.accept"
        self.begin = await self.next()
        assert self.begin["kind"] == "begin"
        positions = []
        while (message := await self.next())["kind"] != "live":
            positions.append(message["position"])
        return positions


def test_a_socket_gets_the_snapshot_and_every_change_and_resumes(tmp_path: Path) -> None:
    """Without a gap and without an overlap, also over a lost connection; a disconnect frees everything."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client), anyio.create_task_group() as group:
            await filled(client)
            one = Socket(shop)
            group.start_soon(one.serve)
            assert await one.until_live() == [3, 6]
            await client.post("/billing/ann/charges", json={"cents": 7})
            change = await one.next()
            assert (change["position"], change["id"], change["row"]["charged"]) == (7, "ann", 307)
            await one.to_app.send({"type": "websocket.disconnect", "code": 1006})
            while shop.dashboard.listeners:
                await anyio.sleep(0.01)
            last = await client.post("/billing/ann/charges", json={"cents": 7})
            await client.get(f"/users/ann?billing={last.json()['version']}")
            back = Socket(shop, "after=7")
            group.start_soon(back.serve)
            assert await back.until_live() == [8]
            group.cancel_scope.cancel()

    run(scenario)


def test_a_page_that_stays_open_over_a_new_history_begins_again(tmp_path: Path) -> None:
    """The application starts again, in the same folder and in a new one: only there the position is void."""

    async def scenario() -> None:
        begun, got, ask = [], [], ""
        for folder in ("old", "old", "new"):
            async with in_process(tmp_path / folder) as (shop, client), anyio.create_task_group() as group:
                if not ask or folder == "new":
                    await filled(client)
                one = Socket(shop, ask)
                group.start_soon(one.serve)
                got.append(await one.until_live())
                begun.append(one.begin["after"])
                ask = f"after=6&epoch={one.begin['epoch']}"
                group.cancel_scope.cancel()
        assert (begun, got) == ([0, 6, 0], [[3, 6], [], [3, 6]])

    run(scenario)


def test_each_socket_gets_everything_and_a_slow_one_delays_nobody(tmp_path: Path) -> None:
    """Not a part each (E5); the one that does not read drops to the latest."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client), anyio.create_task_group() as group:
            stream = Stream(shop, capacity=3)
            sockets = [Socket(shop, stream=stream) for _ in range(3)]
            for one in sockets:
                group.start_soon(one.serve)
                assert await one.until_live() == []
            got: list[list[int]] = [[], []]
            for n in range(1, 11):
                await client.post("/billing/ann/charges", json={"cents": 1})
                for mine, one in zip(got, sockets, strict=False):
                    mine.append((await one.next())["row"]["charges"])
                assert got[0][-1] == n
            assert got[0] == got[1] == list(range(1, 11))
            slow: list[Any] = []
            while not slow or slow[-1]["row"]["charges"] < 10:
                slow.append(await sockets[2].next())
            assert len(slow) < 10
            assert slow[-1]["skipped"] >= 1
            group.cancel_scope.cancel()

    run(scenario)


@pytest.mark.parametrize("query", ["when_slow=close", "when_slow=latest"])
def test_a_socket_that_is_too_slow_is_closed_with_1013(tmp_path: Path, query: str) -> None:
    """When its buffer is full, by its own wish; or when it takes nothing at all for too long."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, client), anyio.create_task_group() as group:
            patience = LONG if "close" in query else 0.05
            slow = Socket(shop, query, Stream(shop, capacity=2, patience=patience))
            group.start_soon(slow.serve)
            await slow.until_live()
            for _ in range(6):
                last = await client.post("/billing/ann/charges", json={"cents": 1})
            await client.get(f"/users/ann?billing={last.json()['version']}")
            if "close" in query:
                assert [(await slow.next())["position"] for _ in range(3)] == [1, 2, 3]
            while shop.dashboard.listeners:
                await anyio.sleep(0.01)
            assert (await slow.next())["code"] == 1013
            group.cancel_scope.cancel()

    run(scenario)


@pytest.mark.parametrize(
    ("query", "origin"), [("after=-1", ""), ("after=x", ""), ("when_slow=wait", ""), ("", "http://evil")]
)
def test_a_socket_that_makes_no_sense_or_comes_from_elsewhere_is_refused(
    tmp_path: Path, query: str, origin: str
) -> None:
    """Before it is accepted."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, _), anyio.create_task_group() as group:
            one = Socket(shop, query, origin=origin)
            group.start_soon(one.serve)
            assert (await one.next())["type"] == "websocket.close"
            assert not shop.dashboard.listeners

    run(scenario)


def test_the_number_of_sockets_is_bounded(tmp_path: Path) -> None:
    """One more is told to try again later."""

    async def scenario() -> None:
        async with in_process(tmp_path) as (shop, _), anyio.create_task_group() as group:
            stream = Stream(shop, max_sockets=1)
            one, two = Socket(shop, stream=stream), Socket(shop, stream=stream)
            group.start_soon(one.serve)
            await one.until_live()
            group.start_soon(two.serve)
            await two.next()
            assert (await two.next())["code"] == 1013
            group.cancel_scope.cancel()

    run(scenario)


# The real thing


async def forever(step: Callable[[], Awaitable[object]]) -> None:
    """Take the step until it raises."""
    while True:
        await step()


def test_over_real_sockets_it_is_the_same(tmp_path: Path) -> None:
    """uvicorn on loopback, a WebSocket client that goes away, and GraphQL over graphql-transport-ws."""

    async def scenario() -> None:
        async with online(tmp_path) as (shop, place), httpx.AsyncClient(base_url=f"http://{place}") as client:
            assert "Users and billing" in (await client.get("/")).text
            made = await client.post("/users", json=ANN)
            assert (await client.get(made.headers["Location"])).status_code == 200
            async with connect(f"ws://{place}/stream") as stream:
                kinds = [json.loads(await stream.recv())["kind"] for _ in range(3)]
                assert kinds == ["begin", "change", "live"]
                await client.post("/billing/ann/charges", json={"cents": 5})
                assert json.loads(await stream.recv())["row"]["charged"] == 5
            while shop.dashboard.listeners:
                await anyio.sleep(0.01)
            spoken: Any = {"subprotocols": ["graphql-transport-ws"], "origin": "http://evil"}
            for door in ("stream", "graphql"):
                with pytest.raises(InvalidStatus):
                    await connect(f"ws://{place}/{door}", **spoken)
            async with connect(f"ws://{place}/graphql", subprotocols=["graphql-transport-ws"]) as ws:  # type: ignore[list-item]
                await ws.send('{"type": "connection_init"}')
                assert json.loads(await ws.recv())["type"] == "connection_ack"
                query = "subscription { changes { position customer { owed } } }"
                await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
                told = json.loads(await ws.recv())["payload"]["data"]["changes"]
                assert told == {"position": 2, "customer": {"owed": 5}}
            while shop.dashboard.listeners:
                await anyio.sleep(0.01)
            open_at_the_end = await connect(f"ws://{place}/stream")
        with pytest.raises(ConnectionClosed):
            await forever(open_at_the_end.recv)

    run(scenario)


def test_the_pattern_loads_no_web_library() -> None:
    """`import eip_ref.cqrs` is anyio and the standard library; the application comes when it is asked for."""
    web = "('starlette', 'strawberry', 'uvicorn')"
    code = f"import sys, eip_ref.cqrs; print([name for name in {web} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kept", [False, True])
def test_the_command_says_where_the_page_and_its_data_are_and_cleans_up(
    signum: int, kept: bool, tmp_path: Path
) -> None:
    """`eip app dashboard`: a URL that answers, and files that stay where that was said, and nowhere else."""
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "eip_ref.autograder.cli", "app", "dashboard"]
    command += ["--folder", str(data)] if kept else []
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(elsewhere)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        page = httpx.get(lines[0].split()[-1], trust_env=False)
        assert (page.status_code, lines[1].strip() in page.text) == (200, True)
        process.send_signal(signum)
        assert process.stdout.read() == "stopped\n"
        assert process.wait(30) == 0
    assert lines[1] == (f"Its data are in {data}.\n" if kept else "Its data are removed when it stops.\n")
    assert [*elsewhere.iterdir()] == []
    assert data.exists() == kept


def eip(*arguments: str) -> tuple[int, str, str]:
    """The exit code of a command that cannot begin, and what it says and complains."""
    command = [sys.executable, "-m", "eip_ref.autograder.cli", "app", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_folder_with_the_files_of_another_program_is_refused_in_one_line(tmp_path: Path) -> None:
    """They stay as they are."""
    with closing(sqlite3.connect(tmp_path / "users.db")) as theirs:
        theirs.execute("CREATE TABLE theirs (x)")
    code, said, complained = eip("dashboard", "--folder", str(tmp_path))
    assert (code, said, complained.count("\n")) == (1, "", 1)
    assert complained.startswith(f"{tmp_path / 'users.db'} is the file of another program")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--port", "65536"),
        ("--port", "-1"),
        ("--port", "x"),
        ("--slow", "-1"),
        ("--slow", "nan"),
        ("--kafka", "localhost"),
        ("--kafka", ":9092"),
        ("--kafka", "localhost:0"),
        ("--kafka", "localhost:x"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_its_name(option: str, value: str) -> None:
    """Before anything is started."""
    code, said, complained = eip("dashboard", f"{option}={value}")
    assert (code, said) == (2, "")
    assert f"argument {option}: " in complained.splitlines()[-1]
    assert repr(value) in complained.splitlines()[-1]


@pytest.mark.parametrize("application", ["dashboard", "gateway"])
def test_help_starts_nothing(application: str) -> None:
    """It says the options, and ends."""
    code, said, _ = eip(application, "--help")
    assert (code, "--port" in said) == (0, True)


@pytest.mark.parametrize(
    ("library", "settings", "command"),
    [
        ("strawberry", "", 'python -m pip install -e ".[course]"'),
        ("confluent_kafka", ", kafka='localhost:9092'", INSTALL),
    ],
)
def test_a_missing_library_is_said_in_one_line_with_the_extra_that_has_it(
    library: str, settings: str, command: str
) -> None:
    """And not as a traceback."""
    hidden = f"import sys; sys.modules[{library!r}] = None; from eip_ref.apps import start"
    done = subprocess.run(
        [sys.executable, "-c", f"{hidden}; sys.exit(start('dashboard', 0{settings}))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{library} is missing; install it with: {command}\n"


def test_the_application_loads_no_client_of_kafka_by_itself() -> None:
    """Who never names a Kafka need not have the extra `field`."""
    code = "import sys, eip_ref.apps.shop_dashboard.serve; print('confluent_kafka' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@virtual_time_only
async def test_a_client_that_sends_its_body_slowly_is_refused(tmp_path: Path) -> None:
    """It holds its place for no longer than a read may wait."""
    app = application(ShopSystem(tmp_path))
    status, headers, seconds = await slow_client.answer(app, "/users", host="localhost")
    assert (status, headers["connection"], seconds) == (408, "close", MAX_TIMEOUT)
