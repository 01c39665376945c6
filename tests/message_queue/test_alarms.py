"""The alarms of a queue: none is late, and those that became pointless take no room for long."""

from __future__ import annotations

from eip_ref.message_queue.alarms import Alarm, Alarms


def test_alarms_ring_in_order_at_their_very_instant() -> None:
    """What is due by now, earliest first, and nothing twice."""
    alarms = Alarms(lambda alarm: True)
    for when in (3.0, 1.0, 2.0):
        alarms.set(Alarm(when, 1, 0))
    assert [alarm.when for alarm in alarms.due(2.0)] == [1.0, 2.0]
    assert [alarm.when for alarm in alarms.due(2.0)] == []


def test_pointless_alarms_are_thrown_out_and_live_ones_kept() -> None:
    """The memory follows the open leases, not all leases that ever were."""
    live = {0, 5_000}
    alarms = Alarms(lambda alarm: alarm.place in live)
    for place in range(10_000):
        alarms.set(Alarm(float(place), place, 0))
    assert len(alarms) < 200
    assert {alarm.place for alarm in alarms.due(10_000.0)} == live
