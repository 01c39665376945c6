"""The pages of the real systems say what the last run has stored."""

from __future__ import annotations

from pathlib import Path

from eip_ref.field import doctor, faults, table
from eip_ref.field.servers import SERVERS
from eip_ref.trace import Event, Kind

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_stored_table() -> None:
    """Whoever changes the one makes the other: `python -m eip_ref.field.table`."""
    assert (table.PAGES / "README.md").read_text(encoding="utf-8") == table.page(table.load(), faults.load())


def test_each_cell_leads_to_a_test_that_is_there() -> None:
    """By its file and its name."""
    for each in table.load():
        for (system, promise), cell in each.cells.items():
            file, _, name = cell.test.partition("::")
            assert name == f"{promise}[{system}]"
            assert f"async def {promise}(" in (ROOT / file).read_text(encoding="utf-8")


def test_what_a_fault_costs_is_counted_from_the_trace() -> None:
    """One message of each kind: lost, doubled, reordered, unsure, and unsure that came."""
    sent = ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    facts = [(Kind.SENT, id) for id in sent] + [(Kind.ACCEPTED, id) for id in sent[:4]]
    for id in ("0-1", "0-0", "1-1"):
        facts += [(Kind.DELIVERED, id), (Kind.FINISHED, id), (Kind.ACKED, id)]
    facts += [(Kind.DELIVERED, "0-1"), (Kind.DELIVERED, "1-0"), (Kind.DELIVERED, "0-2")]
    facts += [(Kind.FINISHED, "0-2")]
    counts = faults.counted(Event(0, kind, "orders", id, "", {}) for kind, id in facts)
    assert counts == faults.Counts(confirmed=4, lost=1, doubled=1, reordered=2, unsure=2, came=1)


def test_each_run_with_a_fault_leads_to_its_test() -> None:
    """By its file, and by its fault; what was promised had come true."""
    for row in faults.load():
        file, _, name = row.test.partition("::")
        assert name.startswith(f"test_a_fault_under_load[{row.fault}-")
        assert "def test_a_fault_under_load(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_doctor_names_each_system_and_what_brings_it() -> None:
    """Also where none of them is installed."""
    lines = doctor.report().splitlines()
    assert len(lines) == 1 + len(SERVERS)
    for server, line in zip(SERVERS, lines[1:], strict=True):
        assert server.name in line
        assert line.startswith("missing" if server.missing() else "ready")
        assert server.install in line or not server.missing()


def test_the_page_says_its_verdicts_in_words() -> None:
    """A screen reader calls an emoji by its own name, such as wrench, and not by what it stands for."""
    page = table.page(table.load(), faults.load())
    assert not {sign for sign in page if sign.isprintable() and ord(sign) >= 0x2600}
    assert all(f"[{found}](../../" in page for found in table.MARKS)
