"""Envoy's configuration as a gateway and as a breaker: the settings that ours have, in Envoy's words.

`Envoy.reconfigure(gateway(server.port, services, …))` starts it so. What Envoy does not do by
itself has a keyword here, so that a test can take it away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from ..api_gateway import SUBJECT
from .servers.server import HOST

__all__ = ["REFUSED", "breaker", "gateway"]

Config = dict[str, Any]

_V3 = "type.googleapis.com/envoy.extensions.filters.http"
_ALL = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
REFUSED = "x-refused"  #: a header of its answer when no host is left to ask
INTERNAL = ("x-identity-roles", "x-internal-debug")  #: headers that a client must not set


def gateway(
    port: int,
    services: Mapping[str, str],
    *,
    clients: Mapping[str, str],
    timeouts: Mapping[str, float],
    max_concurrent: int | None = 10,
    retries: int = 0,
    rate: float | None = None,
    burst: int | None = None,
    max_body: int | None = 64 * 1024,
    normalise: bool = True,
    retry_by_method: bool = True,
    bucket_of_each: bool = True,
    retry_after: bool = True,
    internal: Sequence[str] = INTERNAL,
    underscores: str = "DROP_HEADER",
    own_words: bool = True,
) -> Config:
    """The path `/name` and what is below it lead to the service of that name, at its URL.

    `clients` are names by key. `timeouts` are seconds by service; `rate` is requests a second of each client,
    and `burst` how many it may make at once, by default one. Raises ValueError for what is about a rate, or
    about retries, where there are none.
    """
    if rate is None and not (burst is None and bucket_of_each and retry_after):
        raise ValueError("burst, bucket_of_each and retry_after are about a rate: give one")
    if not retries and not retry_by_method:
        raise ValueError("retry_by_method is about retries: give some")
    own = clients.values() if bucket_of_each else ()
    wanted = [
        (own_words, _own_words()),
        (True, _known(clients)),
        (
            rate is not None,
            _limited(own, rate or 1, burst or 1, retry_after),
        ),
        (max_body is not None, _filter("buffer", "buffer.v3.Buffer", max_request_bytes=max_body)),
        (True, _filter("router", "router.v3.Router")),
    ]
    routes = [_routes(name, timeouts[name], retries, by_method=retry_by_method) for name in services]
    host: Config = {"routes": [*chain(*routes)], "request_headers_to_remove": [*internal]}
    if rate is not None:
        by_client = {"request_headers": {"header_name": SUBJECT, "descriptor_key": "client"}}
        host["rate_limits"] = [{"actions": [by_client]}]
    paths: Config = {"normalize_path": normalise, "merge_slashes": normalise}
    if normalise:
        paths["path_with_escaped_slashes_action"] = "REJECT_REQUEST"
    names = {"common_http_protocol_options": {"headers_with_underscores_action": underscores}}
    clusters = [_cluster(name, [url], **_bounded(max_concurrent)) for name, url in services.items()]
    door = _listener(port, host, [each for wants, each in wanted if wants], **paths, **names)
    return {"listeners": [door], "clusters": clusters}


def _routes(name: str, timeout: float, retries: int, *, by_method: bool) -> list[Config]:
    """The route of a service; a retry policy looks at no method, so reading has a route of its own."""
    match = {"path_separated_prefix": f"/{name}"}
    once: Config = {"cluster": name, "timeout": f"{timeout}s"}
    again = {**once, "retry_policy": {"retry_on": "5xx", "num_retries": retries}}
    if not retries:
        return [{"match": match, "route": once}]
    if not by_method:
        return [{"match": match, "route": again}]
    reads = {**match, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
    return [{"match": reads, "route": again}, {"match": match, "route": once}]


def breaker(
    port: int,
    urls: Sequence[str],
    *,
    failures: int,
    open_for: float,
    timeout: float,
    rate: float | None = None,
    panic: float = 0,
    marked: bool = True,
    interval: float = 1.0,
    merge_window: float = 0,
) -> Config:
    """All paths lead to the hosts at these URLs, of which *outlier detection* ejects those that fail.

    A host is ejected at so many failures in a row; with `rate`, when at least this share of ten or more
    requests of an interval failed. It is taken back at the end of an interval, `open_for` seconds later; and
    later each time, where it failed again within an interval.
    """
    detection: Config = {
        "consecutive_5xx": failures,
        "enforcing_consecutive_5xx": 100 if rate is None else 0,
        "interval": f"{interval}s",
        "base_ejection_time": f"{open_for}s",
        "max_ejection_percent": 100,
    }
    if rate is not None:
        names = ("failure_percentage_threshold", "enforcing_failure_percentage")
        detection |= dict(zip(names, (round(rate * 100), 100), strict=True))
        detection |= {"failure_percentage_minimum_hosts": 1, "failure_percentage_request_volume": 10}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "hosts", "timeout": f"{timeout}s"}}
    told = {"header": {"key": REFUSED, "value": "no host is left"}}
    nobody = {"response_flag_filter": {"flags": ["UH"]}}
    mappers = [{"filter": nobody, "headers_to_add": [told]}] if marked else []
    replies = {"local_reply_config": {"mappers": mappers}}
    balancing = {
        "healthy_panic_threshold": {"value": panic},
        "update_merge_window": f"{merge_window}s",
    }
    hosts = _cluster("hosts", urls, outlier_detection=detection, common_lb_config=balancing)
    door = _listener(port, {"routes": [route]}, [_filter("router", "router.v3.Router")], **replies)
    return {"listeners": [door], "clusters": [hosts]}


# Filters, in their order


def _own_words() -> Config:
    """Another answer in place of a service's 5xx; Envoy's own ones have no time of a service."""
    inputs = "type.googleapis.com/envoy.type.matcher.v3"
    status = _typed(inputs, "HttpResponseStatusCodeClassMatchInput")
    served = _typed(inputs, "HttpResponseHeaderMatchInput", header_name="x-envoy-upstream-service-time")
    policy = "type.googleapis.com/envoy.extensions.http.custom_response.local_response_policy.v3"
    answer = _typed(policy, "LocalResponsePolicy", status_code=502, body={"inline_string": "failed"})
    fits = [
        {"single_predicate": {"input": status, "value_match": {"exact": "5xx"}}},
        {
            "single_predicate": {
                "input": served,
                "value_match": {"safe_regex": {"google_re2": {}, "regex": ".+"}},
            }
        },
    ]
    matcher = {"predicate": {"and_matcher": {"predicate": fits}}, "on_match": {"action": answer}}
    return _filter(
        "custom_response",
        "custom_response.v3.CustomResponse",
        custom_response_matcher={"matcher_list": {"matchers": [matcher]}},
    )


def _known(clients: Mapping[str, str]) -> Config:
    """Nobody without a key; the service hears whose it was."""
    return _filter(
        "api_key_auth",
        "api_key_auth.v3.ApiKeyAuth",
        credentials=[{"key": key, "client": client} for key, client in clients.items()],
        key_sources=[{"header": "Authorization"}],
        forwarding={"header": SUBJECT, "hide_credentials": True},
    )


def _limited(clients: Iterable[str], rate: float, burst: int, retry_after: bool) -> Config:
    """A bucket for each of these clients, and one for all others."""
    bucket = {"max_tokens": burst, "tokens_per_fill": 1, "fill_interval": f"{1 / rate:g}s"}
    own = [{"entries": [{"key": "client", "value": client}], "token_bucket": bucket} for client in clients]
    told = [{"header": {"key": "retry-after", "value": f"{1 / rate:g}"}}] if retry_after else []
    return _filter(
        "local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix="rate",
        token_bucket=bucket,
        filter_enabled=_ALL,
        filter_enforced=_ALL,
        descriptors=own,
        always_consume_default_token_bucket=not own,
        response_headers_to_add=told,
    )


# The parts of every configuration


def _filter(name: str, kind: str, **settings: Any) -> Config:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": f"{_V3}.{kind}", **settings}}


def _typed(package: str, kind: str, **settings: Any) -> Config:
    return {"name": kind, "typed_config": {"@type": f"{package}.{kind}", **settings}}


def _listener(port: int, host: Config, filters: Sequence[Config], **http: Any) -> Config:
    kind = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], **host}]}
    settings = {"stat_prefix": "door", "http_filters": filters, "route_config": routes, **http}
    manager = {"filters": [_typed(kind, "HttpConnectionManager", **settings)]}
    return {"name": "door", "address": _address(HOST, port), "filter_chains": [manager]}


def _cluster(name: str, urls: Sequence[str], **settings: Any) -> Config:
    hosts = [
        {"endpoint": {"address": _address(at.hostname or HOST, at.port or 80)}} for at in map(urlsplit, urls)
    ]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return {"name": name, "connect_timeout": "1s", "load_assignment": assignment, **settings}


def _bounded(max_concurrent: int | None) -> Config:
    """At most so many requests at a time, and as many wait, since one that opens a connection waits for it.

    Of those under way a tenth may be repeated, or one.
    """
    bounds: Config = {"retry_budget": {"budget_percent": {"value": 10}, "min_retry_concurrency": 1}}
    if max_concurrent is not None:
        bounds |= {
            "max_requests": max_concurrent,
            "max_connections": max_concurrent,
            "max_pending_requests": 1,
        }
    return {"circuit_breakers": {"thresholds": [bounds]}}


def _address(host: str, port: int) -> Config:
    return {"socket_address": {"address": host, "port_value": port}}
