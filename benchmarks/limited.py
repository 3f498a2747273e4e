"""The product with a limit that is counted like any other and that no load reaches: RATE_LIMIT=on shows its price."""

from main import app  # noqa: TID251 - what is measured is the application itself
from routers.rate_limits import PAYMENTS

__all__ = ["app"]

# Not a setting: nobody but a benchmark wants it.
object.__setattr__(PAYMENTS, "quota", 10**9)
