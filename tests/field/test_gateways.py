"""The promises of an API gateway, asked over HTTP: of ours, and of Envoy before the same services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from starlette.responses import JSONResponse, Response

from eip_ref.field.envoy import gateway

from .promises import SOON, Site, promise
from .services import Answer, Asked, Service, served, well

ANN, BOB = ({"authorization": f"Bearer key-of-{name}"} for name in ("ann", "bob"))
LEFT = {"request-timeout": 1.0, "x-envoy-expected-rq-timeout-ms": 0.001}  #: seconds in one of its units


async def hang(asked: Asked) -> Response:
    await anyio.sleep_forever()
    raise AssertionError


async def fail(asked: Asked) -> Response:
    return Response("our database is at 10.0.0.7", 500)


@asynccontextmanager
async def behind(site: Site, *, settings: Any = None, **answers: Answer) -> AsyncIterator[Door]:
    """A door before the services that answer so; the settings are those of the system's `open`."""
    async with served(**answers) as services:
        urls = {name: service.url for name, service in services.items()}
        chosen = {"timeouts": dict.fromkeys(urls, SOON), **(settings or {})}
        async with (
            site.open(
                "door", services=urls, clients={"key-of-ann": "ann", "key-of-bob": "bob"}, **chosen
            ) as url,
            httpx.AsyncClient(base_url=url, headers=ANN, timeout=3 * SOON, trust_env=False) as client,
        ):
            yield Door(client, services)


class Door:
    """What a client sees of a gateway, and what the services behind it see."""

    def __init__(self, client: httpx.AsyncClient, services: dict[str, Service]) -> None:
        self.client, self.services = client, services
        self.get, self.post = client.get, client.post

    @property
    def asked(self) -> dict[str, int]:
        return {name: len(service.asked) for name, service in self.services.items()}

    async def statuses(self, path: str, times: int, **more: Any) -> list[int]:
        """Those of one request after the other."""
        return [(await self.get(path, **more)).status_code for _ in range(times)]


def heard(asked: Asked) -> dict[str, str]:
    """The headers, by names in which an underscore is as good as a hyphen."""
    return {name.replace("_", "-"): value for name, value in asked.headers}


# Routes


@promise
async def test_a_path_leads_to_its_service(site: Site) -> None:
    """And to no other."""
    async with behind(site, orders=well, billing=well) as door:
        for path in ("/orders/17", "/billing/17"):
            answer = await door.get(path)
            assert (answer.status_code, answer.json()) == (200, {"path": path})
        assert door.asked == {"orders": 1, "billing": 1}


@promise
async def test_an_unknown_path_is_a_404(site: Site) -> None:
    """No service is asked, even where a name begins like theirs."""
    async with behind(site, orders=well) as door:
        for path in ("/", "/ordersandmore/17", "/users/1"):
            assert (await door.get(path)).status_code == 404
        assert door.asked == {"orders": 0}


@promise
async def test_a_path_has_one_spelling_for_gateway_and_service(site: Site) -> None:
    """What could be read as another path is refused, or written plainly before anybody reads it."""
    odd = (b"/orders/../billing/1", b"/orders/%2e%2e/billing/1", b"//billing/1", b"/orders/..%2fbilling/1")
    async with behind(site, orders=well, billing=well) as door:
        for path in odd:
            await door.get("/", extensions={"target": path})
        for name, service in door.services.items():
            assert {asked.path for asked in service.asked} <= {f"/{name}/1"}


# Time, repetition and bounds


@promise
async def test_a_service_that_hangs_is_a_504_after_the_timeout_of_its_route(site: Site) -> None:
    """Another route may take longer."""

    async def slow(asked: Asked) -> Response:
        await anyio.sleep(site.unit * 2)
        return await well(asked)

    limits = {"timeouts": {"orders": site.unit, "reports": SOON}}
    async with behind(site, settings=limits, orders=hang, reports=slow) as door:
        start = anyio.current_time()
        assert (await door.get("/orders/17")).status_code == 504
        assert site.unit * 0.95 <= anyio.current_time() - start < SOON
        assert (await door.get("/reports/17")).status_code == 200


@promise
async def test_the_service_hears_how_much_time_is_left(site: Site) -> None:
    """In seconds, or in thousandths of them, which no clock is needed to understand."""
    async with behind(site, settings={"timeouts": {"orders": 5.0}}, orders=well) as door:
        await door.get("/orders/17")
        headers = heard(door.services["orders"].asked[0])
    left = [float(headers[name]) * unit for name, unit in LEFT.items() if name in headers]
    assert left, "it hears nothing of it"
    assert 0 < left[0] <= 5


@promise
async def test_only_what_only_reads_is_tried_again(site: Site) -> None:
    """The second attempt at a GET brings the answer; a POST that failed may have happened."""

    async def fails_first(asked: Asked) -> Response:
        return await (fail if len(door.services["orders"].asked) == 1 else well)(asked)

    for method, wanted, asked in (("GET", 200, 2), ("POST", 502, 1)):
        async with behind(site, settings={"retries": 2}, orders=fails_first) as door:
            answer = await door.client.request(method, "/orders/17")
            assert (answer.status_code, door.asked["orders"]) == (wanted, asked)


@promise
async def test_a_sick_service_gets_only_a_few_repetitions(site: Site) -> None:
    """Three and a tenth of the calls, however they come: here, one after the other."""
    async with behind(site, settings={"retries": 1}, orders=fail) as door:
        await door.statuses("/orders/17", 30)
        assert 30 <= door.asked["orders"] <= 30 + 3 + 3, f"{door.asked['orders']} calls for 30 requests"


@promise
async def test_a_service_that_hangs_fills_only_its_own_bound(site: Site) -> None:
    """As many may be under way, and wait; more are refused at once with 503. Another route feels nothing."""
    go_on = anyio.Event()

    async def wait(asked: Asked) -> Response:
        await go_on.wait()
        return await well(asked)

    found: list[int] = []

    async def ask() -> None:
        found.append((await door.get("/orders/17")).status_code)

    async with behind(site, settings={"max_concurrent": 2}, orders=wait, billing=well) as door:
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(ask)
            with anyio.move_on_after(site.unit * 5):
                while len(found) < 12 - 4:
                    await anyio.sleep(0.01)
            at_once, under_way = [*found], door.services["orders"].under_way
            other = await door.get("/billing/17")
            go_on.set()
        assert other.status_code == 200
        assert under_way <= 2, "more calls are under way than may be"
        assert at_once.count(503) >= 12 - 4, f"of twelve were refused at once: {at_once}"


@promise
async def test_a_body_that_is_too_long_is_a_413(site: Site) -> None:
    """Nothing of it reaches a service."""
    async with behind(site, settings={"max_body": 1_000}, orders=well) as door:
        assert (await door.post("/orders/17", content=b"x" * 1_000)).status_code == 200
        assert (await door.post("/orders/17", content=b"x" * 5_000)).status_code == 413
        assert door.asked == {"orders": 1}


# Who asks


@promise
async def test_whoever_is_unknown_is_a_401(site: Site) -> None:
    """And no service hears of it."""
    async with behind(site, orders=well) as door:
        for key in ("", "Bearer key-of-eve"):
            assert (await door.get("/orders/17", headers={"authorization": key})).status_code == 401
        assert door.asked == {"orders": 0}


@promise
async def test_the_service_hears_who_asks_and_not_who_they_say_they_are(site: Site) -> None:
    """The key itself ends at the gateway."""
    async with behind(site, orders=well) as door:
        await door.get("/orders/17", headers={**ANN, "x-identity-subject": "the owner"})
        headers = heard(door.services["orders"].asked[0])
    assert headers["x-identity-subject"] == "ann"
    assert "authorization" not in headers


@promise
async def test_internal_headers_of_a_client_do_not_pass(site: Site) -> None:
    """Services believe them, since only the gateway can set them."""
    async with behind(site, orders=well) as door:
        await door.get("/orders/17", headers={**ANN, "x-identity-roles": "owner", "x-internal-debug": "1"})
        headers = heard(door.services["orders"].asked[0])
    assert headers.get("x-identity-roles") != "owner"
    assert "x-internal-debug" not in headers


@promise
async def test_internal_headers_do_not_pass_with_underscores_either(site: Site) -> None:
    """To many a service both are the same name."""
    async with behind(site, orders=well) as door:
        await door.get("/orders/17", headers={**ANN, "x_identity_roles": "owner", "x_internal_debug": "1"})
        for asked in door.services["orders"].asked:
            assert heard(asked).get("x-identity-roles") != "owner"
            assert "x-internal-debug" not in heard(asked)


@promise
async def test_headers_of_one_connection_end_with_it(site: Site) -> None:
    """Those that are always such, and those that the client names as such."""
    async with behind(site, orders=well) as door:
        sent = {"connection": "keep-alive, x-hop", "x-hop": "1", "keep-alive": "timeout=5", "x-end": "1"}
        await door.get("/orders/17", headers={**ANN, **sent})
        headers = heard(door.services["orders"].asked[0])
    assert "x-end" in headers
    assert not {"x-hop", "keep-alive"} & set(headers), "they passed"


@promise
async def test_the_words_of_a_failure_stay_inside(site: Site) -> None:
    """The client is told that it failed, and not what the service said."""
    async with behind(site, orders=fail) as door:
        answer = await door.get("/orders/17")
        assert answer.status_code in (500, 502)
        assert "10.0.0.7" not in answer.text


# Rates


@pytest.mark.parametrize(
    "ignored", [{"burst": 5}, {"bucket_of_each": False}, {"retry_after": False}, {"retry_by_method": False}]
)
def test_a_setting_of_envoy_that_would_be_ignored_is_refused(ignored: dict[str, Any]) -> None:
    """What is about a rate, or about retries, where there are none."""
    with pytest.raises(ValueError, match=next(iter(ignored))):
        gateway(80, {}, clients={}, timeouts={}, **ignored)


RATE = {"rate": 1.0, "burst": 3}


@promise
async def test_a_client_over_its_rate_is_told_429(site: Site) -> None:
    """The requests that are refused reach no service."""
    async with behind(site, settings=RATE, orders=well) as door:
        found = await door.statuses("/orders/17", 8)
        assert found[:3] == [200] * 3
        assert 429 in found
        assert found.count(200) == door.asked["orders"] == 8 - found.count(429)


@promise
async def test_who_is_over_its_rate_is_told_when_to_come_again(site: Site) -> None:
    """Retry-After: after so many seconds there is room for one."""
    async with behind(site, settings=RATE, orders=well) as door:
        while (refused := await door.get("/orders/17")).status_code != 429:
            pass
        assert "retry-after" in refused.headers, "it is not told"
        await anyio.sleep(float(refused.headers["retry-after"]) * 1.05)
        assert (await door.get("/orders/17")).status_code == 200


@promise
async def test_a_client_uses_up_only_its_own_rate(site: Site) -> None:
    """The other is answered at the same time."""
    async with behind(site, settings=RATE, orders=well) as door:
        assert 429 in await door.statuses("/orders/17", 8)
        assert await door.statuses("/orders/17", 3, headers=BOB) == [200] * 3


# One answer of several


@promise
async def test_equal_requests_of_a_client_share_a_call(site: Site) -> None:
    """While it is under way: who asks for the same gets the same answer."""

    async def slow(asked: Asked) -> Response:
        await anyio.sleep(site.unit)
        return await well(asked)

    found: list[int] = []

    async def ask() -> None:
        found.append((await door.get("/orders/17")).status_code)

    async with behind(site, settings={"coalesce": True}, orders=slow) as door:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
        assert found == [200] * 5
        assert door.asked == {"orders": 1}


@promise
async def test_one_answer_is_made_of_several_services(site: Site) -> None:
    """With a word on the part that did not come in time."""

    async def total(asked: Asked) -> Response:
        return JSONResponse(7)

    limits = {"compose": True, "timeouts": {"orders": site.unit, "billing": site.unit}}
    async with behind(site, settings=limits, orders=hang, billing=total) as door:
        answer = await door.get("/all/17")
        assert answer.status_code == 200, f"such a path is a {answer.status_code}"
        assert answer.json()["data"] == {"billing": 7}
        assert answer.json()["errors"] == {"orders": {"code": "timed out"}}
        assert answer.json()["complete"] is False
