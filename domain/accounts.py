"""An account: who it is, what it may do, and the API keys that act for it. One document in the database."""

from dataclasses import dataclass, field
from datetime import datetime

from domain.api_keys import ApiKey
from domain.roles import Role


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    name: str
    email: str
    role: Role
    password_hash: str
    sealed_webhook_secret: bytes
    api_keys: tuple[ApiKey, ...]
    created_at: datetime
    updated_at: datetime
    credentials_version: int = 1
    """Goes up when the password changes; sessions opened under an older one are over."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """What a request needs to know of an account: whose it is and what it may do at this moment."""

    account_id: str
    role: Role
    credentials_version: int


@dataclass(frozen=True, slots=True)
class SigningAccount:
    """What signing, and verifying what was signed, needs to know of an account."""

    id: str
    sealed_secrets: bytes = field(repr=False)
    """The webhook secret and, once it was rotated, the one before it: see services/webhook_secrets.py."""
    previous_secret_ends_at: datetime | None = None
    """Until when the secret before the current one counts as well."""


def fold_email(email: str) -> str:
    """The form in which e-mail addresses are compared."""
    return email.casefold()
