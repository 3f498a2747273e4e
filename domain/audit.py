"""What the audit log is made of: the catalogue of actions, and a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.roles import Role


class Action(StrEnum):
    """The catalogue of what leaves a row. api_documentation.md says of each who does it, and to what."""

    LOGGED_IN = "session.login"
    LOGGED_OUT = "session.logout"
    SESSION_ENDED = "session.ended"
    ALL_SESSIONS_ENDED = "session.all_ended"
    REFRESH_TOKEN_REUSED = "session.refresh_token_reused"  # noqa: S105 - a name
    ACCOUNT_REGISTERED = "account.registered"
    ACCOUNT_READ = "account.read"
    ACCOUNTS_LISTED = "account.listed"
    ROLE_CHANGED = "account.role_changed"
    PASSWORD_CHANGED = "account.password_changed"  # noqa: S105 - a name
    ACCOUNT_SECRET_ROTATED = "account.webhook_secret_rotated"  # noqa: S105 - a name
    ACCOUNT_DELETED = "account.deleted"
    API_KEY_MADE = "api_key.made"
    API_KEY_ROTATED = "api_key.rotated"
    API_KEY_REVOKED = "api_key.revoked"
    PAYMENT_KEY_MADE = "payment_key.made"
    PAYMENT_KEY_REVOKED = "payment_key.revoked"
    ENDPOINT_MADE = "webhook_endpoint.made"
    ENDPOINT_CHANGED = "webhook_endpoint.changed"
    ENDPOINT_DELETED = "webhook_endpoint.deleted"
    ENDPOINT_SECRET_READ = "webhook_secret.read"  # noqa: S105 - a name
    ENDPOINT_SECRET_ROTATED = "webhook_secret.rotated"  # noqa: S105 - a name
    PAYMENTS_LISTED = "payment.listed"
    PAYMENT_DELETED = "payment.deleted"
    AUDIT_READ = "audit.read"
    DATA_RESET = "data.reset"
    ACCESS_DENIED = "access.denied"


class AuditOutcome(StrEnum):
    SUCCESS = "success"
    DENIED = "denied"
    """Credentials were right, and open no such thing; or nobody may show them any more."""
    FAILED = "failed"
    """Credentials were wrong."""


State = Mapping[str, datetime | str | None]


@dataclass(frozen=True, slots=True)
class AuditRow:
    id: str
    at: datetime
    account_id: str | None
    """Whose credentials were shown; None where nobody's were, or wrong ones."""
    role: Role | None
    """Of that account at that time."""
    api_key_id: str | None
    session_id: str | None
    action: Action
    target_id: str | None
    """What it was done to; the id's prefix tells its kind."""
    outcome: AuditOutcome
    before: State | None
    """What the action changed, as it was; never a secret. None where nothing was changed."""
    after: State | None
    request_id: str | None
    """None where it came with no request, but from the command line."""
    address: str | None
    """Where the request came from, as far as the server knows."""
    route: str | None = None
    """Of a denial: what was asked for."""
    sequence: int | None = None
    """Its place in the chain; None until it is linked."""
    hash: str | None = None
    """Its link of the chain, in hex; None until it is linked."""
