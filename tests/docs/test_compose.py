"""The compose file has every real system, where its variable points to. No container is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from eip_ref.field import table
from eip_ref.field.servers import NATS, SERVERS, NotOurs, Server

COMPOSE: dict[str, Any] = yaml.safe_load((table.PAGES / "compose.yaml").read_text(encoding="utf-8"))
ADDRESSES: dict[str, str] = COMPOSE["x-addresses"]


def test_each_system_has_a_container_or_a_reason() -> None:
    """And nothing is there that the tests do not know."""
    variables = {server.variable() for server in SERVERS}
    assert set(ADDRESSES) | set(COMPOSE["x-without-container"]) == variables
    assert {f"EIP_FIELD_{name.upper()}" for name in COMPOSE["services"]} == set(ADDRESSES)


@pytest.mark.parametrize("variable", ADDRESSES)
def test_a_container_is_reached_by_its_variable_and_by_nobody_else(variable: str) -> None:
    """Its port is published on loopback alone."""
    service = COMPOSE["services"][variable.removeprefix("EIP_FIELD_").lower()]
    address = ADDRESSES[variable]
    place = urlsplit(address if "://" in address else f"//{address}")
    assert [each.rpartition(":")[0] for each in service["ports"]] == [f"127.0.0.1:{place.port}"]
    assert place.hostname == "127.0.0.1"
    assert ":" in service["image"]


@pytest.mark.parametrize("server", SERVERS, ids=lambda each: each.__name__)
def test_a_system_that_runs_already_is_used_as_it_is(
    server: type[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is not installed; and no version is told that nobody has asked."""
    monkeypatch.setenv(server.variable(), "elsewhere:1")
    with server.running() as one:
        assert one.url == "elsewhere:1"
    assert server.missing() == ""
    assert server.version_used() == f"at {server.variable()}"
    assert server.variable() in server.no_fresh_one()


def test_a_system_that_runs_already_is_not_harmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may use it."""
    monkeypatch.setenv(NATS.variable(), "elsewhere:1")
    one = NATS(tmp_path)
    for harm in (one.kill, one.freeze, one.stop, one.start):
        with pytest.raises(NotOurs, match="EIP_FIELD_NATS"):
            harm()
