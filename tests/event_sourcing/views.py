"""What a view shows at a moment, copied out of its transaction."""

from __future__ import annotations

from typing import Any, NamedTuple

from eip_ref.event_sourcing import Parked, View, live_generation, query
from eip_ref.storage import Store


class Copy(NamedTuple):
    """All that a view holds."""

    position: int
    documents: dict[str, Any]
    parked: list[Parked]

    def items(self) -> list[tuple[str, Any]]:
        return list(self.documents.items())

    def get(self, key: str, default: Any = None) -> Any:
        return self.documents.get(key, default)


def _copy(view: View) -> Copy:
    return Copy(view.position, dict(view.items()), view.parked)


def live_view(views: Store, name: str) -> Copy:
    """The live view of a projection."""
    with query(views, name) as view:
        return _copy(view)


def view_named(views: Store, name: str) -> Copy:
    """One generation of a view, such as 'total.1'."""
    with views.reading() as transaction:
        return _copy(View(transaction, name))


def live(views: Store, name: str) -> int:
    """The generation of the live view."""
    with views.reading() as transaction:
        return live_generation(transaction, name)
