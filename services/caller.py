"""Who makes a request, as far as its credentials have shown."""

from dataclasses import dataclass

from domain.roles import ADMINS, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """An account that was authenticated, with its role at this moment."""

    account_id: str
    role: Role
    session_id: str | None = None
    """The session that the access token belongs to; None where only an API key was shown."""

    @property
    def is_admin(self) -> bool:
        return self.role in ADMINS
