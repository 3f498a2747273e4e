"""Payment keys: publishable keys that open charges and nothing else."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class PaymentKey:
    id: str
    owner_id: str
    hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    max_uses: int | None = 1
    """How many payments it opens; None for any number."""
    amount_minor: int | None = None
    currency: str | None = None
    """Where set, it opens payments of just this amount and currency."""
    revoked: bool = False

    @property
    def prefix(self) -> str:
        """Enough to recognise a key by."""
        return f"{self.id[: len('pk_') + 10]}…"
