"""Envoy: as a gateway before services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread

from eip_ref.field.envoy import gateway
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

SYSTEMS = (GATEWAY,)
