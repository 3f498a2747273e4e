"""The audit log, as admins see it."""

from typing import Any

from pydantic import Field
from pydantic.alias_generators import to_camel

from core.clock import rfc3339
from domain.audit import Action, AuditOutcome, AuditRow, State
from domain.roles import Role
from schemas.common import Moment, MomentGiven, ObjectId, RequestModel, ResponseModel

_CHANGE: dict[str, Any] = {"description": "By name; never a secret", "examples": [{"role": "user"}]}


class AuditRowOut(ResponseModel):
    id: str = Field(examples=["aud_06gztrpz170we29n8r9na1k3t0"])
    created_at: Moment
    actor_id: str | None = Field(
        description="The account whose credentials were shown; null where nobody's were, or wrong ones",
        examples=["user_06gztrpz170we29n8r9na1k3t0"],
    )
    actor_role: Role | None = Field(description="Of that account at that time")
    api_key_id: str | None = Field(description="The API key that was shown")
    session_id: str | None = Field(description="The session whose token was shown, or that it is about")
    action: Action
    target_id: str | None = Field(description="What it was done to", examples=["user_06gztrpz170we29n8r9na1k3t0"])
    outcome: AuditOutcome
    before: dict[str, str | None] | None = Field(**_CHANGE)
    after: dict[str, str | None] | None = Field(**_CHANGE)
    route: str | None = Field(description="Of a denial: what was asked for", examples=["GET /api/v1/users"])
    request_id: str | None = Field(description="Null where it came from the command line")
    address: str | None = Field(description="Where the request came from", examples=["203.0.113.7"])
    sequence: int | None = Field(description="Its place in the hash chain; null until it is linked, a moment later")
    hash: str | None = Field(description="Its link of the chain, hex; null until it is linked")


class AuditPage(ResponseModel):
    audit_rows: list[AuditRowOut]
    total_audit_rows: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(description="True where there are more than 1,000")
    has_more: bool
    next_cursor: str | None


class AuditQuery(RequestModel):
    actor_id: ObjectId | None = Field(None, description="Who did it")
    action: Action | None = Field(None, description="What was done")
    target_id: ObjectId | None = Field(None, description="What it was done to")
    outcome: AuditOutcome | None = Field(None, description="How it ended")
    created_from: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


def audit_row_out(row: AuditRow) -> AuditRowOut:
    return AuditRowOut(
        id=row.id,
        created_at=row.at,
        actor_id=row.account_id,
        actor_role=row.role,
        api_key_id=row.api_key_id,
        session_id=row.session_id,
        action=row.action,
        target_id=row.target_id,
        outcome=row.outcome,
        before=_shown(row.before),
        after=_shown(row.after),
        route=row.route,
        request_id=row.request_id,
        address=row.address,
        sequence=row.sequence,
        hash=row.hash,
    )


def _shown(state: State | None) -> dict[str, str | None] | None:
    if state is None:
        return None
    return {
        to_camel(name): value if value is None or isinstance(value, str) else rfc3339(value)
        for name, value in state.items()
    }
