"""Who may call what: the one table from which the guard, the documentation and a test are made.

A route that is not in it keeps the application from being built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from domain.roles import ADMINS, EVERYONE, MERCHANTS, Role

API = "/api/v1"


class Needs(StrEnum):
    """The credentials that a route asks for."""

    NOTHING = "nothing"
    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    API_KEY = "api_key"
    BOTH = "both"
    """API key and token of the same account."""
    PAYMENT_KEY = "api_key_or_payment_key"
    """API key, or in its place a payment key."""
    EITHER = "either"
    """API key or token; where both are sent, both must be right and of the same account."""


@dataclass(frozen=True, slots=True)
class Access:
    needs: Needs
    roles: tuple[Role, ...] = EVERYONE
    refusal: str | None = None
    """What a caller without the role reads, where the contract has a sentence of its own."""

    @property
    def refusal_message(self) -> str:
        return self.refusal or f"Access denied. Allowed roles: {tuple(role.value for role in self.roles)}"


ANYONE = Access(Needs.NOTHING)
TOKEN = Access(Needs.TOKEN)
API_KEY = Access(Needs.API_KEY)
KEY_AND_TOKEN = Access(Needs.BOTH)
ADMIN = Access(Needs.TOKEN, ADMINS)
CHARGE = Access(Needs.PAYMENT_KEY)
OWNER = Access(Needs.EITHER)
MERCHANT = Access(Needs.EITHER, MERCHANTS)

ROLE_TABLE: Mapping[tuple[str, str], Access] = {
    ("GET", "/"): ANYONE,
    ("GET", "/docs"): ANYONE,
    ("GET", "/docs/oauth2-redirect"): ANYONE,
    ("GET", "/redoc"): ANYONE,
    ("GET", "/openapi.json"): ANYONE,
    ("GET", f"{API}/status"): ANYONE,
    ("GET", f"{API}/bank/scenarios"): ANYONE,
    ("POST", f"{API}/users/register"): ANYONE,
    ("POST", f"{API}/users/login"): ANYONE,
    ("POST", f"{API}/auth/token"): ANYONE,
    ("POST", f"{API}/users/refresh"): ANYONE,
    ("POST", f"{API}/users/logout"): TOKEN,
    ("GET", f"{API}/sessions"): TOKEN,
    ("DELETE", f"{API}/sessions"): TOKEN,
    ("DELETE", f"{API}/sessions/{{session_id}}"): TOKEN,
    ("POST", f"{API}/users/me/password"): TOKEN,
    ("GET", f"{API}/users/me"): TOKEN,
    ("POST", f"{API}/users/me/webhook-secret/rotate"): OWNER,
    ("GET", f"{API}/users"): ADMIN,
    ("GET", f"{API}/users/{{user_id}}"): ADMIN,
    ("PATCH", f"{API}/users/{{user_id}}/role"): Access(
        Needs.TOKEN, (Role.SYSTEM_ADMIN,), "Only system_admin can change user roles."
    ),
    ("GET", f"{API}/protected"): TOKEN,
    ("GET", f"{API}/admin/dashboard"): ADMIN,
    ("GET", f"{API}/admin/payments"): ADMIN,
    ("POST", f"{API}/payments/charge"): CHARGE,
    ("GET", f"{API}/payments/all"): API_KEY,
    ("GET", f"{API}/payments/query"): KEY_AND_TOKEN,
    ("GET", f"{API}/payments/{{payment_id}}"): API_KEY,
    ("PATCH", f"{API}/payments/{{payment_id}}"): API_KEY,
    ("POST", f"{API}/payments/{{payment_id}}/cancel"): API_KEY,
    ("POST", f"{API}/payments/{{payment_id}}/capture"): Access(Needs.API_KEY, MERCHANTS),
    ("POST", f"{API}/payments/{{payment_id}}/authenticate"): API_KEY,
    ("POST", f"{API}/refunds"): MERCHANT,
    ("GET", f"{API}/refunds"): MERCHANT,
    ("GET", f"{API}/refunds/{{refund_id}}"): MERCHANT,
    ("POST", f"{API}/tokens"): API_KEY,
    ("POST", f"{API}/payment-keys"): MERCHANT,
    ("GET", f"{API}/payment-keys"): MERCHANT,
    ("GET", f"{API}/payment-keys/{{payment_key_id}}"): MERCHANT,
    ("DELETE", f"{API}/payment-keys/{{payment_key_id}}"): MERCHANT,
    # Who knows the page's address may answer: it ends in a proof that only we can make (services/challenges.py).
    ("GET", "/3ds/{payment_id}/{proof}"): ANYONE,
    ("POST", "/3ds/{payment_id}/{proof}"): ANYONE,
    ("POST", f"{API}/webhook-receive"): API_KEY,
    ("POST", f"{API}/webhook-endpoints"): MERCHANT,
    ("GET", f"{API}/webhook-endpoints"): MERCHANT,
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}"): MERCHANT,
    ("PATCH", f"{API}/webhook-endpoints/{{endpoint_id}}"): MERCHANT,
    ("DELETE", f"{API}/webhook-endpoints/{{endpoint_id}}"): MERCHANT,
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}/secret"): MERCHANT,
    ("POST", f"{API}/webhook-endpoints/{{endpoint_id}}/rotate"): MERCHANT,
    ("POST", f"{API}/webhook-endpoints/{{endpoint_id}}/test"): MERCHANT,
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}/deliveries"): MERCHANT,
    ("GET", f"{API}/deliveries"): OWNER,
    ("GET", f"{API}/deliveries/{{delivery_id}}"): OWNER,
    ("POST", f"{API}/deliveries/{{delivery_id}}/resend"): OWNER,
    ("POST", f"{API}/events/{{event_id}}/resend"): OWNER,
    ("POST", f"{API}/resend-jobs"): OWNER,
    ("GET", f"{API}/resend-jobs"): OWNER,
    ("GET", f"{API}/resend-jobs/{{job_id}}"): OWNER,
    ("POST", f"{API}/resend-jobs/{{job_id}}/cancel"): OWNER,
    ("GET", f"{API}/events"): OWNER,
    ("GET", f"{API}/events/{{event_id}}"): OWNER,
    ("GET", f"{API}/incoming-webhooks"): OWNER,
    ("GET", f"{API}/incoming-webhooks/{{webhook_id}}"): OWNER,
    ("POST", f"{API}/customers"): MERCHANT,
    ("GET", f"{API}/customers"): MERCHANT,
    ("GET", f"{API}/customers/{{customer_id}}"): MERCHANT,
    ("PUT", f"{API}/customers/{{customer_id}}"): MERCHANT,
    ("PATCH", f"{API}/customers/{{customer_id}}"): MERCHANT,
    ("DELETE", f"{API}/customers/{{customer_id}}"): MERCHANT,
    ("POST", f"{API}/customers/{{customer_id}}/cards"): MERCHANT,
    ("GET", f"{API}/customers/{{customer_id}}/cards"): MERCHANT,
    ("DELETE", f"{API}/customers/{{customer_id}}/cards/{{card_id}}"): MERCHANT,
    ("POST", f"{API}/customers/{{customer_id}}/payments"): MERCHANT,
    ("GET", f"{API}/customers/{{customer_id}}/payments"): MERCHANT,
    ("GET", f"{API}/customers/{{customer_id}}/payments/{{payment_id}}"): MERCHANT,
    # Who may delete what depends on the object, so the service decides (services/payments.py, services/accounts.py).
    ("DELETE", f"{API}/{{resource}}/{{resource_id}}"): TOKEN,
}

LITERAL_PATHS = frozenset(path for _, path in ROLE_TABLE if "{" not in path)
