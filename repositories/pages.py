"""Cursor pages: stable while rows are added, at a cost that does not grow with the collection."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Generic, TypeVar

from core import json_codec
from core.database import ASCENDING, DESCENDING, Collection, Document

EXACT_TOTAL = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


class CursorInvalid(ValueError):
    """The cursor is none that this list gave out, with these filters and in this order."""


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort key, made unique by the id that follows it."""

    field: str
    descending: bool

    @property
    def keys(self) -> list[tuple[str, int]]:
        direction = DESCENDING if self.descending else ASCENDING
        return [(self.field, direction), ("_id", direction)]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: list[T]
    total: int
    total_is_lower_bound: bool
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class RivalIndexes:
    """Two indexes of which one finds quickly what the filter wants, and the other is in the order of the list.

    Which is better depends on how much there is to find: a few rows are found and then sorted, many are met soon in
    the list's order. MongoDB would keep one plan for both kinds of question, and at nearly every question try all of
    its plans again, which costs more than the page.
    """

    of_filter: str
    of_sort: str


async def read_page(
    collection: Collection,
    wanted: Document,
    sort: Sort,
    *,
    limit: int,
    cursor: str | None,
    build: Callable[[Document], T],
    projection: Document | None = None,
    index: str | None = None,
    rival_indexes: RivalIndexes | None = None,
) -> Page[T]:
    """One page and the total. `index` names the one to read where MongoDB is not to choose. Raises CursorInvalid."""
    mark = _mark(collection, wanted, sort)
    position = _after(mark, sort, cursor) if cursor is not None else {}
    conditions = {"$and": [wanted, position]} if position else wanted
    total = None
    if rival_indexes is not None:
        total = await collection.count_documents(wanted, limit=EXACT_TOTAL + 1, hint=rival_indexes.of_filter)
        index = rival_indexes.of_filter if total <= EXACT_TOTAL else rival_indexes.of_sort
    found = collection.find(conditions, projection, hint=index)
    # One row more than asked for tells whether there is another page.
    rows = await found.sort(sort.keys).limit(limit + 1).to_list(limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    if total is None:
        few = cursor is None and not more
        hint: Document = {} if index is None else {"hint": index}
        total = len(rows) if few else await collection.count_documents(wanted, limit=EXACT_TOTAL + 1, **hint)
    return Page(
        [build(row) for row in rows],
        min(total, EXACT_TOTAL),
        total > EXACT_TOTAL,
        _cursor(mark, sort, rows[-1]) if more else None,
    )


def _mark(collection: Collection, wanted: Document, sort: Sort) -> str:
    """What tells a list's cursors from those of others, the same in every process: no typo in a filter between two
    pages passes silently."""
    return sha256(ascii((collection.name, wanted, sort)).encode()).hexdigest()[:16]


def _cursor(mark: str, sort: Sort, row: Document) -> str:
    value = row[sort.field]
    number = (value - _EPOCH) // timedelta(milliseconds=1) if isinstance(value, datetime) else value
    position = json_codec.dumps([mark, number, row["_id"]])
    return urlsafe_b64encode(position).decode("ascii").rstrip("=")


def _after(mark: str, sort: Sort, cursor: str) -> Document:
    marked, number, last_id = _decode(cursor)
    if marked != mark:
        raise CursorInvalid("The cursor belongs to another list, or to other filters or another order of this one")
    value: Any = number
    if sort.field.rpartition("_")[2] == "at":
        try:
            value = _EPOCH + timedelta(milliseconds=number)
        except OverflowError:
            raise CursorInvalid("The cursor is not one that this list gave out") from None
    beyond, until = ("$lt", "$lte") if sort.descending else ("$gt", "$gte")
    # The plain bound on the sort key lets the index begin at the right place; the rest settles equal keys.
    return {sort.field: {until: value}, "$or": [{sort.field: {beyond: value}}, {"_id": {beyond: last_id}}]}


def _decode(cursor: str) -> tuple[str, int, str]:
    try:
        mark, number, last_id = json_codec.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, TypeError):
        raise CursorInvalid("The cursor is not one that this list gave out") from None
    if (type(mark), type(number), type(last_id)) != (str, int, str) or abs(number) >= 2**63:
        raise CursorInvalid("The cursor is not one that this list gave out")
    return mark, number, last_id
