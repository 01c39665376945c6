"""Crypto-shredding: who forgets the key of a person cannot read it any more, anywhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
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
    Projection,
    Projector,
    Recorded,
    Repository,
    Shredder,
    Snapshots,
    SQLiteEventStore,
    Tampered,
    View,
    rebuild,
)
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, SQLiteStore, Store
from tests.backends import virtual_time_only
from tests.event_sourcing.views import live_view

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


def shop_types(keys: Store) -> EventTypes:
    types = EventTypes(shredder=Shredder(keys))
    types.register("CustomerRegistered", personal=("name", "email"), subject="customer")(Registered)
    types.register("CustomerMoved")(Moved)
    types.register("Customer", personal=("name",), subject="customer")(Customer)
    return types


FOLD = Fold(Customer(), apply)


def show(view: View, event: Recorded) -> None:
    view.put(event.stream, event.message.body["name"])


def files_that_hold(folder: Path, words: str | bytes) -> list[str]:
    """The files in which these bytes stand."""
    sought = words.encode() if isinstance(words, str) else words
    return sorted(path.name for path in folder.iterdir() if sought in path.read_bytes())


@virtual_time_only
async def test_forgetting_a_key_makes_a_person_unreadable_everywhere(tmp_path: Path) -> None:
    """In the log, in snapshots, and in projections after a rebuild; nobody else is touched."""
    keys, views = SQLiteStore(tmp_path / "keys.db"), SQLiteStore(tmp_path / "views.db")
    async with SQLiteEventStore(tmp_path / "shop.db") as store:
        with keys, views, SQLiteStore(store.database) as documents:
            types, snapshots = shop_types(keys), Snapshots(documents, interval=1)
            customers = Repository(store, types, FOLD, snapshots=snapshots)
            for stream, name in (("anna", ANNA), ("bert", BERT)):
                await customers.save(stream, [Registered(stream, name, "a@b.c"), Moved("Lund")], expected=0)
                assert (await customers.load(stream)).state == Customer(stream, name, "Lund")
                assert (await customers.load(stream)).state == Customer(stream, name, "Lund")
            names = Projection("names", {"CustomerRegistered": show}, types=types)
            await Projector(views, names).catch_up(store)
            assert live_view(views, "names").items() == [("anna", ANNA), ("bert", BERT)]
            before = await store.read_all()
            assert set(files_that_hold(tmp_path, ANNA)) == {"views.db-wal"}

            await Shredder(keys).forget("anna")
            assert await store.read_all() == before
            assert (await customers.load("anna")).state == Customer("anna", FORGOTTEN, "Lund")
            snapshots.drop()
            assert (await customers.load("anna")).state == Customer("anna", FORGOTTEN, "Lund")
            assert (await customers.load("bert")).state == Customer("bert", BERT, "Lund")
            await rebuild(Projector(views, replace(names, generation=2)), store)
            assert live_view(views, "names").items() == [("anna", FORGOTTEN), ("bert", BERT)]
            assert files_that_hold(tmp_path, ANNA) == []
            assert files_that_hold(tmp_path, BERT) != []
    assert files_that_hold(tmp_path, ANNA) == []


@pytest.fixture(params=[MemoryStore, SQLiteStore])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with MemoryStore() if request.param is MemoryStore else SQLiteStore(tmp_path / "keys.db") as store:
        yield store


def key_of_subject(keys: Store, subject: str) -> str:
    with keys.reading() as transaction:
        return str(transaction.get("keys", subject))


async def test_a_forgotten_subject_stays_forgotten(keys: Store) -> None:
    """No new key is made under its id, so nothing personal is written about it again. Idempotent."""
    types, shredder = shop_types(keys), Shredder(keys)
    anna, bert = types.encode(Registered("anna", ANNA)), types.encode(Registered("bert", BERT))
    assert types.decode(anna) == Registered("anna", ANNA)
    assert types.decode(types.encode(Registered("anna", ANNA))) == Registered("anna", ANNA)
    assert len(key_of_subject(keys, "anna")) == 64
    assert key_of_subject(keys, "anna") != key_of_subject(keys, "bert")
    for _ in range(2):
        await shredder.forget("anna")
        assert types.decode(anna) == Registered("anna", FORGOTTEN)
        with pytest.raises(Forgotten, match="anna"):
            types.encode(Registered("anna", ANNA))
    await shredder.forget("nobody yet")
    with pytest.raises(Forgotten):
        types.encode(Registered("nobody yet", "Nina"))
    assert types.decode(bert) == Registered("bert", BERT)


async def test_a_forgotten_key_is_gone_from_the_disk(tmp_path: Path) -> None:
    """Neither the file nor its write-ahead log has its bytes any more."""
    with SQLiteStore(tmp_path / "keys.db") as keys:
        shop_types(keys).encode(Registered("anna", ANNA))
        key = key_of_subject(keys, "anna")
        assert files_that_hold(tmp_path, key) != []
        await Shredder(keys).forget("anna")
        assert files_that_hold(tmp_path, key) == []
    with SQLiteStore(tmp_path / "keys.db") as keys, pytest.raises(Forgotten):
        shop_types(keys).encode(Registered("anna", ANNA))


def test_a_personal_value_that_would_come_back_changed_is_refused() -> None:
    """Encrypted or not, what is read must be what was written."""
    with pytest.raises(TypeError, match=r"personal field .*/name"):
        shop_types(MemoryStore()).encode(Registered("anna", ("Anna", "Andersson")))  # type: ignore[arg-type]


def test_only_personal_fields_are_encrypted_and_none_stays_none() -> None:
    """What is not personal can be queried in the store; a value that is not there is no secret."""
    types = shop_types(MemoryStore())
    message = types.encode(Registered("anna", ANNA))
    assert message.body["customer"] == "anna"
    assert message.body["email"] is None
    assert ANNA not in str(message)
    assert types.decode(message) == Registered("anna", ANNA)
    assert types.upcast(message).body["name"] == ANNA
    assert types.upcast(Message({"city": "Lund"}, "CustomerMoved")).body == {"city": "Lund"}
    assert types.upcast(Message(17, "CustomerMoved")).body == 17


async def test_a_personal_field_that_has_been_renamed_is_still_read() -> None:
    """A value is bound to the name that its field had, so it is opened before it is upcast."""
    old = Message({"customer": "anna", "called": ANNA}, "CustomerRegistered")
    keys = MemoryStore()
    types = EventTypes(shredder=Shredder(keys))
    types.register("CustomerRegistered", 2, personal=("name",), subject="customer")(Registered)

    @types.upcaster("CustomerRegistered", 1)
    def _(body: dict[str, Any]) -> dict[str, Any]:
        return {"customer": body["customer"], "name": body["called"]}

    stored = Shredder(keys).seal(old, "anna", ("called",))
    assert types.decode(stored) == Registered("anna", ANNA)
    await Shredder(keys).forget("anna")
    assert types.decode(stored) == Registered("anna", FORGOTTEN)


def test_a_value_that_was_moved_or_changed_is_detected() -> None:
    """Each is bound to its event and its field."""
    types = shop_types(MemoryStore())
    anna = types.encode(Registered("anna", ANNA, "a@b.c"))
    other = types.encode(Registered("anna", "Anna B."))
    with pytest.raises(Tampered, match="name"):
        types.decode(replace(anna, body=anna.body | {"name": other.body["name"]}))
    with pytest.raises(Tampered, match="name"):
        types.decode(replace(anna, body=anna.body | {"name": anna.body["email"]}))
    with pytest.raises(Tampered):
        types.decode(anna.copy(id="another event"))


@virtual_time_only
async def test_an_event_that_is_encrypted_again_is_the_same_event() -> None:
    """A retry has other bytes and the same id: it is a repetition."""
    store, types = MemoryEventStore(), shop_types(MemoryStore())
    for repeated in (False, True):
        message = types.encode(Registered("anna", ANNA), id="a")
        assert (await store.append("anna", [message], expected=0)).repeated == repeated


@virtual_time_only
async def test_no_snapshot_is_made_of_a_forgotten_person() -> None:
    """Its state can be folded from what is left, and nothing new is written about it."""
    store, keys, snapshots = MemoryEventStore(), MemoryStore(), Snapshots(MemoryStore(), interval=1)
    customers = Repository(store, shop_types(keys), FOLD, snapshots=snapshots)
    await customers.save("anna", [Registered("anna", ANNA)], expected=0)
    await Shredder(keys).forget("anna")
    assert (await customers.load("anna")).state.name == FORGOTTEN
    assert snapshots.get("anna") is None


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
        "from eip_ref.event_sourcing import Shredder\n"
        "from eip_ref.storage import MemoryStore\n"
        "from eip_ref.message import Message\n"
        "assert 'cryptography' not in sys.modules\n"
        "try: Shredder(MemoryStore()).seal(Message({'name': 'Anna'}), 'anna', ('name',))\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "crypto-shredding needs the library: pip install cryptography\n"
