"""The audit log: who did what that needs a witness. Rows are inserted as things happen, and never changed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from core.database import Database, Session
from domain.roles import Role


class Action(StrEnum):
    ACCOUNT_SECRET_ROTATED = "account.webhook_secret_rotated"  # noqa: S105 - a name, not a secret
    API_KEY_MADE = "api_key.made"
    API_KEY_ROTATED = "api_key.rotated"
    API_KEY_REVOKED = "api_key.revoked"
    PASSWORD_CHANGED = "account.password_changed"  # noqa: S105
    ENDPOINT_SECRET_READ = "webhook_secret.read"  # noqa: S105
    ENDPOINT_SECRET_ROTATED = "webhook_secret.rotated"  # noqa: S105


class AuditOutcome(StrEnum):
    SUCCESS = "success"


State = Mapping[str, datetime | str | None]


@dataclass(frozen=True, slots=True)
class AuditRow:
    id: str
    at: datetime
    account_id: str
    """Whose credentials were shown."""
    role: Role
    """Of that account at that time."""
    api_key_id: str | None
    session_id: str | None
    action: Action
    target_id: str
    """What it was done to; the id's prefix tells its kind."""
    outcome: AuditOutcome
    before: State | None
    """What the action changed, as it was; never a secret. None where nothing was changed."""
    after: State | None
    request_id: str
    address: str | None
    """Where the request came from, as far as the server knows."""


class AuditRepository:
    def __init__(self, database: Database):
        self._rows = database["audit"]

    async def insert(self, row: AuditRow, session: Session | None = None) -> None:
        fields = asdict(row)
        # `linked` is for the job that links the rows: partial indexes can ask for a value, not for a missing field.
        await self._rows.insert_one({"_id": fields.pop("id"), **fields, "linked": False}, session=session)
