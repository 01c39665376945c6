"""Crypto-shredding: who forgets the key of a person cannot read it any more, anywhere."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from eip_ref.event_sourcing import (
    FORGOTTEN,
    EventTypes,
    Fold,
    Forgotten,
    MemoryEventStore,
    MemoryKeys,
    MemorySnapshots,
    Projection,
    Projector,
    Recorded,
    Repository,
    Shredder,
    SQLiteEventStore,
    SQLiteKeys,
    SQLiteSnapshots,
    SQLiteViews,
    Tampered,
    View,
    rebuild,
)
from eip_ref.lab.clock import simulate
from eip_ref.message import Message

pytest.importorskip("cryptography", reason="crypto-shredding needs: pip install cryptography")

ANNA, BERT = "Anna Andersson", "Bert Bergstroem"


@dataclass(frozen=True)
class Registered:
    customer: str
    name: str
    email: str | None = None


@dataclass(frozen=True)
class Moved:
    city: str


@dataclass(frozen=True)
class Customer:
    customer: str = ""
    name: str | None = None
    city: str = ""


def apply(state: Customer, event: object) -> Customer:
    match event:
        case Registered():
            return replace(state, customer=event.customer, name=event.name)
        case Moved():
            return replace(state, city=event.city)
    raise AssertionError(event)


def shop_types(keys: Any) -> EventTypes:
    types = EventTypes(shredder=Shredder(keys))
    types.register("CustomerRegistered", personal=("name", "email"), subject="customer")(Registered)
    types.register("CustomerMoved")(Moved)
    types.register("Customer", personal=("name",), subject="customer")(Customer)
    return types


FOLD = Fold(Customer(), apply)


def show(view: View, event: Recorded) -> None:
    view.set(event.stream, event.message.body["name"])


def files_that_hold(folder: Path, words: str | bytes) -> list[str]:
    """The files in which these bytes stand."""
    sought = words.encode() if isinstance(words, str) else words
    return sorted(path.name for path in folder.iterdir() if sought in path.read_bytes())


def test_forgetting_a_key_makes_a_person_unreadable_everywhere(tmp_path: Path) -> None:
    """In the log, in snapshots, and in projections after a rebuild; nobody else is touched."""

    async def scenario() -> None:
        keys, views = SQLiteKeys(tmp_path / "keys.db"), SQLiteViews(tmp_path / "views.db")
        async with SQLiteEventStore(tmp_path / "shop.db") as store:
            with keys, views:
                types, snapshots = shop_types(keys), SQLiteSnapshots(store.database)
                customers = Repository(store, types, FOLD, snapshots=snapshots, every=1)
                for stream, name in (("anna", ANNA), ("bert", BERT)):
                    await customers.save(
                        stream, [Registered(stream, name, "a@b.c"), Moved("Lund")], expected=0
                    )
                    assert (await customers.load(stream)).state == Customer(stream, name, "Lund")
                    assert (await customers.load(stream)).state == Customer(stream, name, "Lund")
                names = Projection("names", {"CustomerRegistered": show}, types=types)
                await Projector(store, views, names).catch_up()
                assert views.query("names").items() == [("anna", ANNA), ("bert", BERT)]
                before = await store.read_all()
                assert set(files_that_hold(tmp_path, ANNA)) == {"views.db-wal"}

                keys.forget("anna")
                assert await store.read_all() == before
                assert (await customers.load("anna")).state == Customer("anna", FORGOTTEN, "Lund")
                snapshots.drop()
                assert (await customers.load("anna")).state == Customer("anna", FORGOTTEN, "Lund")
                assert (await customers.load("bert")).state == Customer("bert", BERT, "Lund")
                await rebuild(Projector(store, views, replace(names, generation=2)))
                assert views.query("names").items() == [("anna", FORGOTTEN), ("bert", BERT)]
                assert files_that_hold(tmp_path, ANNA) == []
                assert files_that_hold(tmp_path, BERT) != []
        assert files_that_hold(tmp_path, ANNA) == []

    simulate(scenario)


@pytest.fixture(params=[MemoryKeys, SQLiteKeys])
def make_keys(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return MemoryKeys if request.param is MemoryKeys else lambda: SQLiteKeys(tmp_path / "keys.db")


def test_a_forgotten_subject_stays_forgotten(make_keys: Any) -> None:
    """No new key is made under its id, so nothing personal is written about it again. Idempotent."""

    async def scenario() -> None:
        keys = make_keys()
        if isinstance(keys, SQLiteKeys):
            keys.__enter__()
        assert keys.get("anna") is None
        key = keys.get_or_make("anna")
        assert keys.get_or_make("anna") == keys.get("anna") == key
        assert len(key) == 32
        assert keys.get_or_make("bert") != key
        for _ in range(2):
            keys.forget("anna")
            assert keys.get("anna") is None
            with pytest.raises(Forgotten, match="anna"):
                keys.get_or_make("anna")
        keys.forget("nobody yet")
        with pytest.raises(Forgotten):
            shop_types(keys).encode(Registered("nobody yet", "Nina"))
        assert keys.get("bert") is not None

    simulate(scenario)


def test_a_forgotten_key_is_gone_from_the_disk(tmp_path: Path) -> None:
    """Neither the file nor its write-ahead log has its bytes any more."""

    async def scenario() -> bytes:
        with SQLiteKeys(tmp_path / "keys.db") as keys:
            key = keys.get_or_make("anna")
            assert files_that_hold(tmp_path, key) != []
            keys.forget("anna")
            assert files_that_hold(tmp_path, key) == []
        with SQLiteKeys(tmp_path / "keys.db") as keys, pytest.raises(Forgotten):
            keys.get_or_make("anna")
        return key

    simulate(scenario)


def test_only_personal_fields_are_encrypted_and_none_stays_none() -> None:
    """What is not personal can be queried in the store; a value that is not there is no secret."""
    types = shop_types(MemoryKeys())
    message = types.encode(Registered("anna", ANNA))
    assert message.body["customer"] == "anna"
    assert message.body["email"] is None
    assert ANNA not in str(message)
    assert types.decode(message) == Registered("anna", ANNA)
    assert types.upcast(message).body["name"] == ANNA
    assert types.upcast(Message({"city": "Lund"}, "CustomerMoved")).body == {"city": "Lund"}
    assert types.upcast(Message(17, "CustomerMoved")).body == 17


def test_a_personal_field_that_has_been_renamed_is_still_read() -> None:
    """A value is bound to the name that its field had, so it is opened before it is upcast."""
    old = Message({"customer": "anna", "called": ANNA}, "CustomerRegistered")
    keys = MemoryKeys()
    types = EventTypes(shredder=Shredder(keys))
    types.register("CustomerRegistered", 2, personal=("name",), subject="customer")(Registered)

    @types.upcaster("CustomerRegistered", 1)
    def _(body: dict[str, Any]) -> dict[str, Any]:
        return {"customer": body["customer"], "name": body["called"]}

    stored = Shredder(keys).seal(old, "anna", ("called",))
    assert types.decode(stored) == Registered("anna", ANNA)
    keys.forget("anna")
    assert types.decode(stored) == Registered("anna", FORGOTTEN)


def test_a_value_that_was_moved_or_changed_is_detected() -> None:
    """Each is bound to its event and its field."""
    types = shop_types(MemoryKeys())
    anna = types.encode(Registered("anna", ANNA, "a@b.c"))
    other = types.encode(Registered("anna", "Anna B."))
    with pytest.raises(Tampered, match="name"):
        types.decode(replace(anna, body=anna.body | {"name": other.body["name"]}))
    with pytest.raises(Tampered, match="name"):
        types.decode(replace(anna, body=anna.body | {"name": anna.body["email"]}))
    with pytest.raises(Tampered):
        types.decode(anna.copy(id="another event"))


def test_an_event_that_is_encrypted_again_is_the_same_event() -> None:
    """A retry has other bytes and the same id: it is a repetition."""

    async def scenario() -> None:
        store, types = MemoryEventStore(), shop_types(MemoryKeys())
        for repeated in (False, True):
            message = types.encode(Registered("anna", ANNA), id="a")
            assert (await store.append("anna", [message], expected=0)).repeated == repeated

    simulate(scenario)


def test_no_snapshot_is_made_of_a_forgotten_person() -> None:
    """Its state can be folded from what is left, and nothing new is written about it."""

    async def scenario() -> None:
        store, keys, snapshots = MemoryEventStore(), MemoryKeys(), MemorySnapshots()
        customers = Repository(store, shop_types(keys), FOLD, snapshots=snapshots, every=1)
        await customers.save("anna", [Registered("anna", ANNA)], expected=0)
        keys.forget("anna")
        assert (await customers.load("anna")).state.name == FORGOTTEN
        assert snapshots.get("anna") is None

    simulate(scenario)


def test_personal_fields_without_a_shredder_are_refused() -> None:
    """Nothing that is declared personal is written in the clear by mistake."""
    types = EventTypes()
    types.register("CustomerRegistered", personal=("name",), subject="customer")(Registered)
    with pytest.raises(ValueError, match="no shredder"):
        types.encode(Registered("anna", ANNA))


def test_the_library_is_loaded_only_when_something_is_encrypted() -> None:
    """And when it is not installed, the error says what to do."""
    code = (
        "import sys; sys.modules['cryptography.hazmat.primitives.ciphers'] = None\n"
        "from eip_ref.event_sourcing import MemoryKeys, Shredder\n"
        "from eip_ref.message import Message\n"
        "assert 'cryptography' not in sys.modules\n"
        "try: Shredder(MemoryKeys()).seal(Message({'name': 'Anna'}), 'anna', ('name',))\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "crypto-shredding needs the library: pip install cryptography\n"
