"""The pages of the real systems say what the last run has stored."""

from __future__ import annotations

from pathlib import Path

from eip_ref.field import doctor, table
from eip_ref.field.servers import SERVERS

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_stored_table() -> None:
    """Whoever changes the one makes the other: `python -m eip_ref.field.table`."""
    assert (table.PAGES / "README.md").read_text(encoding="utf-8") == table.page(table.load())


def test_each_cell_leads_to_a_test_that_is_there() -> None:
    """By its file and its name."""
    for each in table.load():
        for (system, promise), cell in each.cells.items():
            file, _, name = cell.test.partition("::")
            assert name == f"{promise}[{system}]"
            assert f"async def {promise}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_doctor_names_each_system_and_what_brings_it() -> None:
    """Also where none of them is installed."""
    lines = doctor.report().splitlines()
    assert len(lines) == 1 + len(SERVERS)
    for server, line in zip(SERVERS, lines[1:], strict=True):
        assert server.name in line
        assert line.startswith("ready" if server.program() else "missing")
        assert server.install in line or not server.missing()
