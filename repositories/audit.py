"""The audit log: who did what that needs a witness. Rows are inserted as things happen, and never changed."""

from dataclasses import asdict, dataclass
from datetime import datetime

from core.database import Database, Document, Session
from domain.audit import Action, AuditOutcome, AuditRow
from domain.audit_chain import canonical, row_seal
from domain.roles import Role
from repositories.pages import Page, Sort, read_page

_NEWEST_FIRST = Sort("at", descending=True)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows a list shows; a field that is None filters nothing."""

    account_id: str | None = None
    action: Action | None = None
    target_id: str | None = None
    outcome: AuditOutcome | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


class AuditRepository:
    def __init__(self, database: Database, hash_key: bytes):
        self._rows = database["audit"]
        self._hash_key = hash_key

    async def insert(self, row: AuditRow, session: Session | None = None) -> None:
        fields = asdict(row)
        del fields["sequence"], fields["hash"]
        document = {"_id": fields.pop("id"), **fields}
        # For the job that links the rows. (`linked`: partial indexes can ask for a value, not for a missing field.)
        waiting = {"linked": False, "seal": row_seal(self._hash_key, canonical(document))}
        await self._rows.insert_one({**document, **waiting}, session=session)

    async def page(self, wanted: AuditFilter, *, limit: int, cursor: str | None) -> Page[AuditRow]:
        """Newest first. Raises CursorInvalid."""
        return await read_page(
            self._rows,
            _conditions(wanted),
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            index=_index(wanted),
        )


def _index(wanted: AuditFilter) -> str:
    if wanted.target_id is not None:
        return "by_target"
    if wanted.account_id is not None:
        return "by_account"
    return "by_time" if wanted.action is None and wanted.outcome is None else "by_action"


def _conditions(wanted: AuditFilter) -> Document:
    conditions: Document = {}
    if _index(wanted) != "by_time":
        # All of them where none is asked for: MongoDB reads the newest of each and merges them, so that one index
        # serves every combination, and no page costs more in a large log.
        conditions["action"] = {"$in": list(Action)} if wanted.action is None else wanted.action
        conditions["outcome"] = {"$in": list(AuditOutcome)} if wanted.outcome is None else wanted.outcome
    if wanted.account_id is not None:
        conditions["account_id"] = wanted.account_id
    if wanted.target_id is not None:
        conditions["target_id"] = wanted.target_id
    for operator, bound in (("$gte", wanted.created_from), ("$lte", wanted.created_to)):
        if bound is not None:
            conditions.setdefault("at", {})[operator] = bound
    return conditions


def _from_document(row: Document) -> AuditRow:
    return AuditRow(
        id=row["_id"],
        at=row["at"],
        account_id=row["account_id"],
        role=None if row["role"] is None else Role(row["role"]),
        api_key_id=row["api_key_id"],
        session_id=row["session_id"],
        action=Action(row["action"]),
        target_id=row["target_id"],
        outcome=AuditOutcome(row["outcome"]),
        before=row["before"],
        after=row["after"],
        request_id=row["request_id"],
        address=row["address"],
        # A row that an older version wrote has none.
        route=row.get("route"),
        sequence=row.get("sequence"),
        hash=row.get("hash"),
    )
