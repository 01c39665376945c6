"""Queries in GraphQL, on the views only: there are no mutations, since commands have a door of their own.

Loads are batched: the ledgers of all customers of a query are one look into the view. A query is bounded
in depth, aliases and tokens, and in the number of fields that its answer may have, which is the product
of depth and width; that is counted first, because it bounds the work of the other checks. A field that
fails is null and has an entry in `errors`; its neighbours are there. Over HTTP it keeps to the rules of
GraphQL-over-HTTP: a client that accepts `application/graphql-response+json` gets 400 for a request that
could not be begun, and 200 for one that was; a client that wants `application/json` gets 200 for both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    SelectionNode,
    SelectionSetNode,
    value_from_ast_untyped,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter, SchemaExtension
from strawberry.http import GraphQLHTTPResponse
from strawberry.schema.config import StrawberryConfig

from ...cqrs import Feed, NotYet, TooSlow, read
from .request_parsing import MAX_TIMEOUT, json_of
from .shop import LINES, ShopSystem
from .stream import MAX_FOLLOWERS

__all__ = ["GraphQLDoor", "schema"]

DEPTH, ALIASES, TOKENS, FIELDS = 6, 20, 1_000, 2_000
IDS, FIRST = 100, 5  #: customers at a time; entries of a ledger, unless more are asked for
GRAPHQL = "application/graphql-response+json"


class Loads:
    """The rows that one request has loaded: each once, and all that it needs together."""

    def __init__(self, shop: ShopSystem) -> None:
        self.shop = shop
        self.batches: list[tuple[str, int]] = []  #: which view was looked into, and for how many rows
        self.customers: DataLoader[str, Any] = DataLoader(self._customers)
        self.ledgers: DataLoader[str, Any] = DataLoader(self._ledgers)

    async def _customers(self, keys: list[str]) -> list[Any]:
        self.batches.append(("dashboard", len(keys)))
        rows = self.shop.dashboard.get_many(keys)
        return [rows.get(key) or GraphQLError(f"there is no customer {key}") for key in keys]

    async def _ledgers(self, keys: list[str]) -> list[Any]:
        self.batches.append(("ledger", len(keys)))
        rows = self.shop.ledger.get_many(keys)
        return [rows.get(key, []) for key in keys]


def _loads(info: strawberry.Info[Any, Any]) -> Loads:
    loads: Loads = info.context["loads"]
    return loads


@strawberry.type(description="A charge, or with a negative sum a payment.")
class Line:
    what: str
    cents: int
    of: strawberry.Private[str]

    @strawberry.field
    async def customer(self, info: strawberry.Info) -> Annotated[Customer, strawberry.lazy(__name__)] | None:
        return _customer(self.of, await _loads(info).customers.load(self.of))


@strawberry.type(description="What users and billing have said about one customer. Either may be first.")
class Customer:
    id: strawberry.ID
    name: str | None
    email: str | None
    charges: int
    charged: int = strawberry.field(description="In cents.")
    paid: int = strawberry.field(description="In cents.")

    @strawberry.field
    def owed(self) -> int:
        return self.charged - self.paid

    @strawberry.field
    async def ledger(self, info: strawberry.Info, first: int = FIRST) -> list[Line] | None:
        if not 0 <= first <= IDS:
            raise GraphQLError(f"first must be from 0 to {IDS}")
        lines = await _loads(info).ledgers.load(str(self.id))
        return [Line(what=line["what"], cents=line["cents"], of=str(self.id)) for line in lines[:first]]


def _customer(id: str, row: dict[str, Any]) -> Customer:
    return Customer(id=strawberry.ID(id), **row)


@strawberry.type(description="A customer, and whether that is as new as was asked for.")
class CustomerReading:
    customer: Customer | None
    stale: bool


@strawberry.type(description="How far the view is behind, in seconds.")
class DashboardLag:
    last: float
    largest: float
    behind: int = strawberry.field(description="Events in the log that are not on the view yet.")


@strawberry.type(description="A customer after a change; null when it was removed.")
class CustomerChange:
    epoch: str = strawberry.field(description="Of the position; after a change of it begin again.")
    position: int
    id: strawberry.ID
    customer: Customer | None


@strawberry.type
class Query:
    @strawberry.field
    async def customers(
        self, info: strawberry.Info, ids: list[strawberry.ID] | None = None
    ) -> list[PerhapsCustomer]:
        if ids is not None and len(ids) > IDS:
            raise GraphQLError(f"at most {IDS} ids can be asked for at a time")
        keys = sorted(_loads(info).shop.dashboard.rows())[:IDS] if ids is None else [str(id) for id in ids]
        return [PerhapsCustomer(id=strawberry.ID(key)) for key in keys]

    @strawberry.field
    async def customer(
        self,
        info: strawberry.Info,
        id: strawberry.ID,
        users: int = 0,
        billing: int = 0,
        timeout: float = 2.0,
        or_stale: bool = True,
    ) -> CustomerReading | None:
        if users < 0 or billing < 0 or not 0 <= timeout <= MAX_TIMEOUT:
            raise GraphQLError(f"versions are at least 0, and timeout is from 0 to {MAX_TIMEOUT:g} seconds")
        wanted = {f"users/{id}": users, f"billing/{id}": billing}
        late = "stale" if or_stale else "refuse"
        try:
            got = await read(
                _loads(info).shop.dashboard, str(id), at_least=wanted, timeout=timeout, late=late
            )
        except NotYet as error:
            raise GraphQLError(str(error), extensions={"code": "NOT_YET"}) from error
        return CustomerReading(customer=_customer(str(id), got.row) if got.row else None, stale=got.stale)

    @strawberry.field
    async def lag(self, info: strawberry.Info) -> DashboardLag:
        standing = _loads(info).shop.standing()
        return DashboardLag(last=standing["lag"], largest=standing["largest"], behind=standing["behind"])


@strawberry.type(description="A place in a list of customers.")
class PerhapsCustomer:
    id: strawberry.ID

    @strawberry.field
    async def customer(self, info: strawberry.Info) -> Customer | None:
        return _customer(str(self.id), await _loads(info).customers.load(str(self.id)))


@strawberry.type(name="Subscription")
class CustomerChanges:
    @strawberry.subscription
    async def changes(
        self, info: strawberry.Info, after: int = 0, epoch: str = ""
    ) -> AsyncIterator[CustomerChange]:
        if after < 0:
            raise GraphQLError("a position is at least 0")
        if len(_loads(info).shop.dashboard.listeners) >= MAX_FOLLOWERS:
            raise GraphQLError("too many follow this view; try again later")
        with Feed(_loads(info).shop.dashboard, after=after, epoch=epoch, name="subscription") as feed:
            try:
                async for position, key, row in feed:
                    customer = None if row is None else _customer(key, row)
                    yield CustomerChange(
                        epoch=feed.epoch, position=position, id=strawberry.ID(key), customer=customer
                    )
            except TooSlow as error:
                raise GraphQLError(str(error)) from error


class AnswerLimiter(SchemaExtension):
    """Refuses a document whose answer could have more than `FIELDS` fields, before anything else."""

    def on_validate(self) -> Iterator[None]:
        document = self.execution_context.graphql_document
        assert document is not None, "it has been parsed"
        if _Fields(document, self.execution_context.variables or {}).all() > FIELDS:
            words = f"the answer could have more than {FIELDS:,} fields; ask for fewer at a time"
            self.execution_context.pre_execution_errors = [GraphQLError(words)]
        yield


class _Fields:
    """Counts the fields that the answer to a document may have; each fragment is counted once."""

    def __init__(self, document: DocumentNode, variables: dict[str, Any]) -> None:
        self._variables = variables
        self._roots = [d.selection_set for d in document.definitions if hasattr(d, "selection_set")]
        fragments = (d for d in document.definitions if isinstance(d, FragmentDefinitionNode))
        self._bodies = {fragment.name.value: fragment.selection_set for fragment in fragments}
        self._counted: dict[str, int] = {}

    def all(self) -> int:
        """The sum over all operations and fragments, used or not: whoever validates looks at each."""
        return sum(map(self._of, self._roots))

    def _of(self, chosen: SelectionSetNode | None) -> int:
        return sum(map(self._selected, chosen.selections)) if chosen else 0

    def _selected(self, node: SelectionNode) -> int:
        if isinstance(node, FragmentSpreadNode):
            return self._fragment(node.name.value)
        inside = self._of(node.selection_set)  # type: ignore[attr-defined]
        return 1 + self._times(node) * inside if isinstance(node, FieldNode) else inside

    def _fragment(self, name: str) -> int:
        if name not in self._counted:
            self._counted[name] = 0  # one that spreads itself is refused by the rules of GraphQL
            self._counted[name] = self._of(self._bodies.get(name))
        return self._counted[name]

    def _times(self, node: FieldNode) -> int:
        """The number of entries that the list of this field may have; 1 when it is none."""
        given = {a.name.value: value_from_ast_untyped(a.value, self._variables) for a in node.arguments or ()}
        match node.name.value, given:
            case "customers", {"ids": list(ids)}:
                return min(len(ids), IDS)
            case "customers", _:
                return IDS
            case "ledger", _:
                first = given.get("first", FIRST)
                return max(0, min(first, LINES)) if isinstance(first, int) else LINES
        return 1


schema = strawberry.Schema(
    Query,
    subscription=CustomerChanges,
    config=StrawberryConfig(disable_field_suggestions=True),
    extensions=[
        AnswerLimiter,
        lambda: QueryDepthLimiter(max_depth=DEPTH),
        lambda: MaxAliasesLimiter(max_alias_count=ALIASES),
        lambda: MaxTokensLimiter(max_token_count=TOKENS),
    ],
)


class GraphQLDoor(GraphQL[Any, None]):
    """The endpoint, with a `Loads` for each request."""

    def __init__(self, shop: ShopSystem) -> None:
        super().__init__(schema, graphql_ide=None, subscription_protocols=["graphql-transport-ws"])
        self._shop = shop

    def decode_json(self, data: str | bytes) -> object:
        """The JSON value, under the rule of all doors. Raises JSONDecodeError."""
        return json_of(data)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Any:
        return {"request": request, "response": response, "loads": Loads(self._shop)}

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        response = await super().get_sub_response(request)
        response.media_type = GRAPHQL if _accepts_graphql(request.headers.get("accept", "")) else None
        return response

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        if sub_response.media_type is None:
            return super().create_response(response_data, sub_response)
        begun = isinstance(response_data, dict) and response_data.get("data") is not None
        if isinstance(response_data, dict) and not begun:
            response_data.pop("data", None)
        return Response(self.encode_json(response_data), 200 if begun else 400, media_type=GRAPHQL)


def _accepts_graphql(accept: str) -> bool:
    """True when the newer media type is asked for, and not placed behind the older one."""
    types = [part.partition(";")[0].strip() for part in accept.split(",")]
    if GRAPHQL not in types:
        return False
    return "application/json" not in types or types.index(GRAPHQL) < types.index("application/json")
