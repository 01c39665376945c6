"""Envoy: as a gateway before services, and as a breaker before one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import httpx

from eip_ref.field import Unsupported
from eip_ref.field.envoy import REFUSED, breaker, gateway
from eip_ref.field.servers import Envoy

from ..verdicts import System, kept_with, not_kept

__all__ = ["SYSTEMS"]


@asynccontextmanager
async def _gateway(
    server: Envoy, name: str, *, coalesce: bool = False, compose: bool = False, **settings: Any
) -> AsyncIterator[str]:
    """Of what it has no word for, it hears nothing."""
    await anyio.to_thread.run_sync(server.reconfigure, gateway(server.port, **settings))
    yield server.url


GATEWAY = System(
    "envoy-gateway",
    "Envoy",
    "API gateway",
    Envoy,
    _gateway,
    {
        "test_a_path_has_one_spelling_for_gateway_and_service": kept_with(
            "normalize_path, merge_slashes and path_with_escaped_slashes_action", without={"normalise": False}
        ),
        "test_only_what_only_reads_is_tried_again": kept_with(
            "a route of its own for GET: a retry policy looks at no method",
            without={"retry_by_method": False},
        ),
        "test_a_sick_service_gets_only_a_few_repetitions": not_kept(
            "retry_budget is a share of the calls under way at one time: of calls one after the other, "
            "each is repeated"
        ),
        "test_a_service_that_hangs_fills_only_its_own_bound": kept_with(
            "max_requests, max_connections and max_pending_requests of its cluster: each is 1024 by itself",
            without={"max_concurrent": None},
        ),
        "test_a_body_that_is_too_long_is_a_413": kept_with("the filter buffer", without={"max_body": None}),
        "test_whoever_is_unknown_is_a_401": kept_with("the filter api_key_auth"),
        "test_the_service_hears_who_asks_and_not_who_they_say_they_are": kept_with(
            "forwarding of the filter api_key_auth"
        ),
        "test_internal_headers_of_a_client_do_not_pass": kept_with(
            "request_headers_to_remove, with each of their names", without={"internal": ()}
        ),
        "test_internal_headers_do_not_pass_with_underscores_either": kept_with(
            "headers_with_underscores_action", without={"underscores": "ALLOW"}
        ),
        "test_the_words_of_a_failure_stay_inside": kept_with(
            "the filter custom_response", without={"own_words": False}
        ),
        "test_a_client_over_its_rate_is_told_429": kept_with("the filter local_ratelimit"),
        "test_who_is_over_its_rate_is_told_when_to_come_again": kept_with(
            "a header with the same number for all", without={"retry_after": False}
        ),
        "test_a_client_uses_up_only_its_own_rate": kept_with(
            "a bucket for each client that the configuration names", without={"bucket_of_each": False}
        ),
        "test_equal_requests_of_a_client_share_a_call": not_kept("each of them is passed on"),
        "test_one_answer_is_made_of_several_services": not_kept(
            "a path leads to one service: to compose answers takes a service of one's own"
        ),
    },
)


class _Guard:
    """Calls through Envoy."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self) -> tuple[int, bool, float | None]:
        """The status; True when it is refused, and when to come again."""
        answer = await self._client.get("/", timeout=None)
        again = answer.headers.get("retry-after")
        return answer.status_code, REFUSED in answer.headers, None if again is None else float(again)

    async def force_open(self) -> None:
        raise Unsupported("there is no order that ejects a host")


@asynccontextmanager
async def _breaker(server: Envoy, name: str, **settings: Any) -> AsyncIterator[_Guard]:
    await anyio.to_thread.run_sync(server.reconfigure, breaker(server.port, **settings))
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        yield _Guard(client)


BREAKER = System(
    "envoy-outliers",
    "Envoy, outlier detection",
    "circuit breaker",
    Envoy,
    _breaker,
    {
        "test_it_opens_after_failures_in_a_row": kept_with(
            "healthy_panic_threshold = 0: by itself it asks ejected hosts too, when more than half are",
            without={"panic": 50},
        ),
        "test_a_share_of_failures_opens_it": kept_with(
            "enforcing_failure_percentage = 100, and a minimum of one host: by itself 0, and five"
        ),
        "test_what_the_caller_did_wrong_says_nothing": not_kept(
            "a 4xx is a success, and the count begins anew"
        ),
        "test_a_refusal_is_told_from_a_failure": kept_with(
            "local_reply_config adds a header to it: by itself it is a 503 as a service may send it",
            without={"marked": False},
        ),
        "test_a_refusal_says_when_to_come_again": not_kept("it says nothing of it"),
        "test_an_operator_can_open_it": not_kept("there is no order for it: who names its hosts must do it"),
        "test_half_open_lets_one_call_through": not_kept(
            "there is no half-open: after base_ejection_time all calls come through"
        ),
        "test_a_failure_after_its_time_opens_it_again": not_kept(
            "it counts to consecutive_5xx anew, and is open for longer then"
        ),
        "test_it_is_open_for_longer_each_time": kept_with(
            "an interval longer than it takes to fail again: each that ends well takes one off",
            without={"interval": 0.02},
        ),
        "test_it_opens_again_as_soon_as_at_first": kept_with(
            "update_merge_window = 0 s: by itself, news of a host may wait for a second",
            without={"merge_window": 1.0},
        ),
        "test_a_result_of_before_it_opened_counts_no_more": not_kept(
            "it counts whenever it comes, and ejects the host again"
        ),
    },
    unit=1.0,
)

SYSTEMS = (GATEWAY, BREAKER)
