"""The scenarios of lessons on real systems: each shows what its lesson says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from eip_ref.course.api_gateway import users_pages
from eip_ref.course.api_gateway.in_the_field import pages_on_envoy
from eip_ref.course.cqrs import pages
from eip_ref.course.cqrs.in_the_field import a_hundred_sign_ups_on_kafka
from eip_ref.course.durable_queue.in_the_field import a_week_on_redis
from eip_ref.course.event_sourcing.in_the_field import four_tills_on_postgresql
from eip_ref.course.message_queue.in_the_field import several_workers_on_rabbitmq
from eip_ref.course.publish_subscribe.in_the_field import ten_orders_on_nats
from eip_ref.course.request_reply.in_the_field import paid_twice_on_nats
from eip_ref.field.real_runs import RealScenario
from eip_ref.lab import invariants
from eip_ref.lab.figures.offsets import tracks
from eip_ref.trace import Trace


def _starts_in_order_and_ends_not(trace: Trace) -> None:
    """Each order is packed once; what the queue keeps in order are the starts."""
    orders = [f"m{number}" for number in range(1, 9)]
    assert trace.messages("started") == orders
    assert sorted(trace.messages("effect")) == orders
    assert trace.messages("acked") == trace.messages("effect")
    assert invariants.check(trace, invariants.conservation, invariants.lease_fencing) == []
    assert invariants.check(trace, invariants.fifo(kind="effect")) != []


def _only_a_file_keeps_what_was_confirmed(trace: Trace) -> None:
    """And what was not committed comes again: the invariants say so, and the picture reads the same."""
    lost = invariants.check(trace, invariants.nothing_acked_lost)
    twice = invariants.check(trace, invariants.no_duplicate_effect)
    assert [each.events[0].where for each in lost] == ["log in memory"] * 2
    assert [each.events[0].where for each in twice] == ["billing, log in a file"] * 2
    logs = tracks(trace)
    assert {name: log.end for name, log in logs.items()} == {"log in memory": 1, "log in a file": 7}
    readers = {name: log.readers["billing"] for name, log in logs.items()}
    assert {name: reader.again for name, reader in readers.items()} == {
        "log in memory": 0,
        "log in a file": 2,
    }
    assert all(reader.committed[-1].offset == logs[name].end for name, reader in readers.items())


def _mail_misses_three(trace: Trace) -> None:
    """And nothing in the trace is an error."""
    assert trace.count("sent") == trace.count("effect", where="stock") == 10
    assert trace.count("effect", where="mail") == 7
    assert trace.count("dropped") == trace.count("refused") == 0


def _a_key_charges_once(trace: Trace) -> None:
    """Without one, each order is charged twice; and without a bank it is told at once."""
    charged = Counter(event.data["effect"] for event in trace.filter("effect"))
    for number in range(1, 4):
        assert charged[f"charged order {number}, no key"] == 2
        assert charged[f"charged order {number}, one key"] == 1
    assert trace.count("timed out") == 6
    assert trace.count("note") == 1


def _a_lock_skips_no_sale(trace: Trace) -> None:
    """Without one a reader may skip some, and a short run may be lucky."""
    for name in ("no lock", "a lock"):
        assert trace.count("accepted", where=name) == 100
    read, kept = (trace.messages(kind, where="a lock") for kind in ("delivered", "accepted"))
    assert sorted(read) == sorted(kept)


def _by_version_all_are_shown(trace: Trace) -> None:
    """At once most are not, whatever the log: and each event came from the outbox by the log to the view."""
    assert pages(trace, "page at once")["404"] > 90
    assert pages(trace, "page by version")["shown"] == 100
    streams = [f"users/customer-{number}" for number in range(1, 101)]
    for kind, where in (("acked", "users.outbox"), ("accepted", "events"), ("delivered", "events")):
        found = [event.message for event in trace.filter(kind, where=where)]
        assert sorted(found) == sorted(f"{stream}/1" for stream in streams)


def _invoices_take_the_places_of_users(trace: Trace) -> None:
    """Many pages of users fail, which never asked for an invoice."""
    assert 50 < users_shown(trace) < 180


def _invoices_leave_users_alone(trace: Trace) -> None:
    """A busy machine may cost some of the 200."""
    assert users_shown(trace) >= 190


def users_shown(trace: Trace) -> int:
    assert users_pages(trace).endswith(" of 200 users' pages shown")
    return int(users_pages(trace).split()[0])


SCENARIOS = {
    several_workers_on_rabbitmq: _starts_in_order_and_ends_not,
    a_week_on_redis: _only_a_file_keeps_what_was_confirmed,
    ten_orders_on_nats: _mail_misses_three,
    four_tills_on_postgresql: _a_lock_skips_no_sale,
    paid_twice_on_nats: _a_key_charges_once,
    a_hundred_sign_ups_on_kafka: _by_version_all_are_shown,
    pages_on_envoy["ten for all"]: _invoices_take_the_places_of_users,
    pages_on_envoy["five each"]: _invoices_leave_users_alone,
}


@pytest.mark.parametrize(("scenario", "shows"), SCENARIOS.items(), ids=lambda each: getattr(each, "name", ""))
def test_a_lessons_scenario_on_a_real_system(
    scenario: RealScenario, shows: Callable[[Trace], None], request: pytest.FixtureRequest
) -> None:
    """It shows the same as the stored run, which a learner without the system sees."""
    if missing := scenario.server.no_fresh_one():
        pytest.skip(missing)
    run = scenario.run_now()
    shows(run.trace)
    if request.config.getoption("runs"):
        scenario.store(run)
    shows(scenario.stored().trace)
