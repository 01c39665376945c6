"""The faults that the dashboard offers: each is seen on the view, and mended or not as its pattern says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from eip_ref.apps import APPS, CannotStart, Opened
from tests.cqrs.test_app import in_process, run

Client = httpx.AsyncClient


async def standing(client: Client) -> dict[str, Any]:
    """The places where everything is."""
    found: dict[str, Any] = (await client.get("/standing")).json()
    return found


async def until(client: Client, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The standing as soon as this is so."""
    while not true(found := await standing(client)):
        await anyio.sleep(0.01)
    return found


async def charge(client: Client, who: str = "ann", cents: int = 100) -> None:
    assert (await client.post(f"/billing/{who}/charges", json={"cents": cents})).status_code == 200


def played(folder: Path, scenario: Callable[[Client], Awaitable[None]]) -> None:
    """Run the scenario on the application, in real time."""

    async def main() -> None:
        async with in_process(folder) as (_, client):
            await scenario(client)

    run(main)


@pytest.mark.parametrize(("part", "waits"), [("relay", "outbox"), ("projector", "behind")])
def test_what_is_stopped_lets_events_wait_and_catches_up_when_it_is_started(
    tmp_path: Path, part: str, waits: str
) -> None:
    """The commands go on meanwhile. Stopping twice and starting twice change nothing."""

    async def scenario(client: Client) -> None:
        await charge(client)
        await until(client, lambda now: now["shown"] == 100)
        for _ in range(2):
            stopped = await client.put(f"/parts/{part}", json={"running": False})
            assert stopped.json()["at_work"][part] is False
        for _ in range(3):
            await charge(client)
        late = await until(client, lambda now: now[waits] == 3)
        assert (late["shown"], late["books"]) == (100, 400)
        for _ in range(2):
            await client.put(f"/parts/{part}", json={"running": True})
        again = await until(client, lambda now: now["shown"] == 400 and not now["behind"])
        assert (again["outbox"], again["at_work"]) == (0, {"relay": True, "projector": True})

    played(tmp_path, scenario)


def test_a_projector_that_is_killed_at_work_repeats_and_nothing_counts_twice(tmp_path: Path) -> None:
    """It dies wherever it is: before an event, or between the view and the commit of its position."""

    async def scenario(client: Client) -> None:
        await client.put("/slow", json={"seconds": 0.01})
        for number in range(20):
            await charge(client)
            await client.put("/parts/projector", json={"running": bool(number % 2)})
        await client.put("/parts/projector", json={"running": True})
        done = await until(client, lambda now: not now["outbox"] and not now["behind"])
        assert (done["shown"], done["books"]) == (2_000, 2_000)

    played(tmp_path, scenario)


def test_events_that_come_again_are_known(tmp_path: Path) -> None:
    """No row changes, and no position of the view."""

    async def scenario(client: Client) -> None:
        for _ in range(3):
            await charge(client)
        before = await until(client, lambda now: now["projected"] == 3)
        assert (await client.post("/faults/repeat", json={"events": 5})).json() == {"again": 3}
        after = await until(client, lambda now: now["known"] == 3 and now["behind"] == 0)
        assert (after["shown"], after["position"]) == (300, before["position"])

    played(tmp_path, scenario)


def test_a_poison_event_holds_up_one_customer_until_a_handler_understands_it(tmp_path: Path) -> None:
    """Others go on. The log cannot be changed: a rebuild fails, and one with mended handlers is right."""

    async def scenario(client: Client) -> None:
        await charge(client)
        await client.post("/faults/poison", json={"id": "ann"})
        await charge(client)
        await charge(client, "ben")
        held = await until(client, lambda now: now["projected"] == 4)
        assert (held["shown"], held["books"], held["held_back"]) == (200, 800, 1)
        assert [*held["set_aside"]] == ["billing/ann/2"]
        refused = await client.post("/rebuild")
        assert (refused.status_code, "billing/ann/2" in refused.json()["says"]) == (409, True)
        assert (await standing(client))["shown"] == 200
        assert (await client.post("/faults/mend")).status_code == 200
        mended = await standing(client)
        assert (mended["shown"], mended["held_back"], mended["set_aside"]) == (800, 0, {})
        await client.post("/faults/poison", json={"id": "ben"})
        await until(client, lambda now: now["shown"] == 1_300 and not now["set_aside"])

    played(tmp_path, scenario)


def test_a_dual_write_that_dies_between_is_missing_for_ever(tmp_path: Path) -> None:
    """Nothing is on its way, no lag, no error; a rebuild finds it as little, for the log never had it."""

    async def scenario(client: Client) -> None:
        await charge(client)
        for who in ("ann", "new"):
            assert (await client.post("/faults/dual-write", json={"id": who})).status_code == 200
        await charge(client)
        lost = await until(client, lambda now: now["shown"] == 200 and not now["behind"])
        assert (lost["books"], lost["outbox"], lost["waiting"]) == (1_200, 0, 0.0)
        await client.post("/rebuild")
        assert (await standing(client))["shown"] == 200
        await charge(client, "new")
        await until(client, lambda now: (now["shown"], now["books"]) == (300, 1_300))

    played(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/parts/nobody", {"running": True}, 404),
        ("PUT", "/parts/relay", {"running": 1}, 400),
        ("POST", "/faults/repeat", {"events": 0}, 400),
        ("POST", "/faults/repeat", {"events": True}, 400),
        ("POST", "/faults/poison", {"id": "a b"}, 400),
        ("POST", "/faults/dual-write", {}, 400),
    ],
)
def test_a_fault_that_makes_no_sense_is_told_so(
    tmp_path: Path, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    """And breaks nothing."""

    async def scenario(client: Client) -> None:
        before = await standing(client)
        answer = await client.request(method, path, json=body)
        assert (answer.status_code, bool(answer.json()["says"])) == (status, True)
        assert await standing(client) == before

    played(tmp_path, scenario)


# Beside a notebook


@pytest.mark.parametrize("name", APPS)
def test_an_application_is_opened_asked_and_closed_by_plain_statements(name: str) -> None:
    """Whatever the caller waits with; after that nothing answers, and closing again changes nothing."""
    opened = Opened(name)
    assert httpx.get(opened.url, trust_env=False).status_code == 200
    assert opened.url in opened.says
    opened.close()
    opened.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(opened.url, trust_env=False)


def test_an_application_can_be_opened_where_a_loop_runs_already() -> None:
    """As in a notebook."""

    async def scenario() -> None:
        with Opened("dashboard", slow=0.5) as opened:
            async with httpx.AsyncClient(base_url=opened.url, trust_env=False) as client:
                assert (await standing(client))["slow"] == 0.5

    run(scenario)


def test_a_second_dashboard_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Two would carry the same events twice; the next one may start as soon as the first has stopped."""
    first = Opened("dashboard", folder=str(tmp_path))
    with pytest.raises(CannotStart, match=r"another dashboard works in .*; stop it"):
        Opened("dashboard", folder=str(tmp_path))
    first.close()
    Opened("dashboard", folder=str(tmp_path)).close()


def test_an_application_that_cannot_start_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """As `eip app` says it."""
    (tmp_path / "users.db").mkdir()
    with pytest.raises(CannotStart):
        Opened("dashboard", folder=str(tmp_path))
    with pytest.raises(ValueError, match="dashboard, gateway"):
        Opened("bank")
