"""Who makes a request, as far as its credentials have shown."""

from dataclasses import dataclass

from core.errors import Forbidden
from domain.api_keys import ALL_SCOPES, Scope
from domain.payment_keys import PaymentKey
from domain.roles import ADMINS, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """An account that was authenticated, with its role at this moment."""

    account_id: str
    role: Role
    session_id: str | None = None
    """The session that the access token belongs to; None where only an API key was shown."""
    api_key_id: str | None = None
    """The API key that was shown; None where only an access token was."""
    payment_key: PaymentKey | None = None
    """The payment key that was shown in place of the account's own credentials."""
    scopes: frozenset[Scope] = ALL_SCOPES
    """What the API key that was shown opens. Other credentials have no scopes: they open all that is theirs."""
    request_id: str | None = None
    """The id of the request, as it may be written down: what it causes carries it on."""

    @property
    def is_admin(self) -> bool:
        return self.role in ADMINS

    @property
    def idempotency_scope(self) -> str:
        """Whose idempotency keys these are: a payment key can neither read nor claim those of its account."""
        return self.account_id if self.payment_key is None else self.payment_key.id


class CallerRefused(Forbidden):
    """The credentials are right, and open nothing in this way. `caller` is for the audit log and the request log."""

    def __init__(self, message: str, caller: Caller):
        super().__init__(message)
        self.caller = caller
