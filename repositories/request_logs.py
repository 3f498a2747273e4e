"""The request log: what each account asked of the API, without secrets. Rows go by themselves (indexes.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from core.database import Database, Document
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("created_at", descending=True)
_SUMMARY: Document = {"request_body": 0, "response_body": 0}


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """Every text of it is without secrets already."""

    id: str
    owner_id: str
    created_at: datetime
    """When it arrived."""
    duration_ms: int
    """Until its answer was sent."""
    method: str
    route: str
    """The template of its path."""
    path: str
    """As it was sent, with the query."""
    status: int
    request_id: str
    idempotency_key: str | None
    api_key_id: str | None
    session_id: str | None
    payment_key_id: str | None
    address: str | None
    request_body: str = ""
    response_body: str = ""


_FIELDS = tuple(field.name for field in fields(LoggedRequest) if field.name != "id")


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which of an account's requests a list shows; a field that is None filters nothing."""

    owner_id: str
    method: str | None = None
    route: str | None = None
    lowest_status: int | None = None
    highest_status: int | None = None
    request_id: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class RequestLogRepository:
    def __init__(self, database: Database):
        self._rows = database["request_logs"]

    async def insert(self, requests: Sequence[LoggedRequest]) -> None:
        documents = [{"_id": request.id, **{name: getattr(request, name) for name in _FIELDS}} for request in requests]
        await self._rows.insert_many(documents, ordered=False)

    async def get(self, owner_id: str, log_id: str) -> LoggedRequest | None:
        """One of the owner's requests, with its bodies."""
        row = await self._rows.find_one({"_id": log_id, "owner_id": owner_id})
        return _from_document(row) if row else None

    async def page(self, wanted: RequestFilter, *, limit: int, cursor: str | None) -> Page[LoggedRequest]:
        """Without bodies, newest first. Raises CursorInvalid."""
        return await read_page(
            self._rows,
            _conditions(wanted),
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            projection=_SUMMARY,
            index="by_time" if wanted.request_id is None else "by_request_id",
        )


def _conditions(wanted: RequestFilter) -> Document:
    equal = {"method": wanted.method, "route": wanted.route, "request_id": wanted.request_id}
    conditions: Document = {"owner_id": wanted.owner_id}
    conditions.update({field: value for field, value in equal.items() if value is not None})
    bounds = (
        ("status", "$gte", wanted.lowest_status),
        ("status", "$lte", wanted.highest_status),
        ("created_at", "$gte", wanted.created_from),
        ("created_at", "$lte", wanted.created_to),
    )
    for field, operator, bound in bounds:
        if bound is not None:
            conditions.setdefault(field, {})[operator] = bound
    return conditions


def _from_document(row: Document) -> LoggedRequest:
    return LoggedRequest(id=row["_id"], **{field: value for field, value in row.items() if field != "_id"})
