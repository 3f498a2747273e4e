"""Who may call what: the one table from which the guard, the documentation and a test are made.

A route that is not in it keeps the application from being built.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from domain.api_keys import Scope
from domain.roles import ADMINS, EVERYONE, MERCHANTS, Role, denial

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
    METRICS_TOKEN = "metrics_token"  # noqa: S105 - a kind, not a secret
    """METRICS_TOKEN, where one is set."""
    EITHER = "either"
    """API key or token; where both are sent, both must be right and of the same account."""


@dataclass(frozen=True, slots=True)
class Access:
    needs: Needs
    roles: tuple[Role, ...] = EVERYONE
    refusal: str | None = None
    """What a caller without the role reads, where the contract has a sentence of its own."""
    scope: Scope | None = None
    """What an API key has to have; other credentials have no scopes."""

    def __post_init__(self) -> None:
        if (self.scope is None) is not (self.needs in (Needs.NOTHING, Needs.TOKEN, Needs.METRICS_TOKEN)):
            raise ValueError("a scope is what a route asks of API keys: each that takes one has one, and no other")

    @property
    def refusal_message(self) -> str:
        return self.refusal or denial(self.roles)


ANYONE = Access(Needs.NOTHING)
TOKEN = Access(Needs.TOKEN)
ADMIN = Access(Needs.TOKEN, ADMINS)


def _key(scope: Scope) -> Access:
    return Access(Needs.API_KEY, scope=scope)


def _owner(scope: Scope) -> Access:
    return Access(Needs.EITHER, scope=scope)


def _merchant(scope: Scope) -> Access:
    return Access(Needs.EITHER, MERCHANTS, scope=scope)


ROLE_TABLE: Mapping[tuple[str, str], Access] = {
    ("GET", "/"): ANYONE,
    ("GET", "/docs"): ANYONE,
    ("GET", "/docs/oauth2-redirect"): ANYONE,
    ("GET", "/redoc"): ANYONE,
    ("GET", "/openapi.json"): ANYONE,
    ("GET", "/health/live"): ANYONE,
    ("GET", "/health/ready"): ANYONE,
    ("GET", "/metrics"): Access(Needs.METRICS_TOKEN),
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
    # No API key opens it: it tells of what other keys, with other scopes, were used for.
    ("GET", f"{API}/request-logs"): TOKEN,
    ("GET", f"{API}/request-logs/{{log_id}}"): TOKEN,
    # A user makes no further one than that of the registration (services/api_keys.py).
    ("POST", f"{API}/api-keys"): _owner(Scope.API_KEYS),
    ("GET", f"{API}/api-keys"): _owner(Scope.API_KEYS),
    ("POST", f"{API}/api-keys/{{api_key_id}}/rotate"): _owner(Scope.API_KEYS),
    ("DELETE", f"{API}/api-keys/{{api_key_id}}"): _owner(Scope.API_KEYS),
    ("POST", f"{API}/users/me/password"): TOKEN,
    ("GET", f"{API}/users/me"): TOKEN,
    ("POST", f"{API}/users/me/webhook-secret/rotate"): _owner(Scope.WEBHOOKS),
    ("GET", f"{API}/users"): ADMIN,
    ("GET", f"{API}/users/{{user_id}}"): ADMIN,
    ("PATCH", f"{API}/users/{{user_id}}/role"): Access(
        Needs.TOKEN, (Role.SYSTEM_ADMIN,), "Only system_admin can change user roles."
    ),
    ("GET", f"{API}/protected"): TOKEN,
    ("GET", f"{API}/admin/dashboard"): ADMIN,
    ("GET", f"{API}/admin/payments"): ADMIN,
    ("POST", f"{API}/admin/reset"): Access(Needs.TOKEN, (Role.SYSTEM_ADMIN,)),
    ("GET", f"{API}/audit"): ADMIN,
    ("POST", f"{API}/payments/charge"): Access(Needs.PAYMENT_KEY, scope=Scope.PAYMENTS_WRITE),
    ("GET", f"{API}/payments/all"): _key(Scope.PAYMENTS_READ),
    ("GET", f"{API}/payments/query"): Access(Needs.BOTH, scope=Scope.PAYMENTS_READ),
    ("GET", f"{API}/payments/{{payment_id}}"): _key(Scope.PAYMENTS_READ),
    ("PATCH", f"{API}/payments/{{payment_id}}"): _key(Scope.PAYMENTS_WRITE),
    ("POST", f"{API}/payments/{{payment_id}}/cancel"): _key(Scope.PAYMENTS_WRITE),
    ("POST", f"{API}/payments/{{payment_id}}/capture"): Access(Needs.API_KEY, MERCHANTS, scope=Scope.PAYMENTS_WRITE),
    ("POST", f"{API}/payments/{{payment_id}}/authenticate"): _key(Scope.PAYMENTS_WRITE),
    ("POST", f"{API}/refunds"): _merchant(Scope.REFUNDS_WRITE),
    ("GET", f"{API}/refunds"): _merchant(Scope.PAYMENTS_READ),
    ("GET", f"{API}/refunds/{{refund_id}}"): _merchant(Scope.PAYMENTS_READ),
    ("POST", f"{API}/tokens"): _key(Scope.PAYMENTS_WRITE),
    ("POST", f"{API}/payment-keys"): _merchant(Scope.PAYMENT_KEYS),
    ("GET", f"{API}/payment-keys"): _merchant(Scope.PAYMENT_KEYS),
    ("GET", f"{API}/payment-keys/{{payment_key_id}}"): _merchant(Scope.PAYMENT_KEYS),
    ("DELETE", f"{API}/payment-keys/{{payment_key_id}}"): _merchant(Scope.PAYMENT_KEYS),
    # Who knows the page's address may answer: it ends in a proof that only we can make (services/challenges.py).
    ("GET", "/3ds/{payment_id}/{proof}"): ANYONE,
    ("POST", "/3ds/{payment_id}/{proof}"): ANYONE,
    ("POST", f"{API}/webhook-receive"): _key(Scope.WEBHOOKS_RECEIVE),
    ("POST", f"{API}/webhook-endpoints"): _merchant(Scope.WEBHOOKS),
    ("GET", f"{API}/webhook-endpoints"): _merchant(Scope.WEBHOOKS),
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}"): _merchant(Scope.WEBHOOKS),
    ("PATCH", f"{API}/webhook-endpoints/{{endpoint_id}}"): _merchant(Scope.WEBHOOKS),
    ("DELETE", f"{API}/webhook-endpoints/{{endpoint_id}}"): _merchant(Scope.WEBHOOKS),
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}/secret"): _merchant(Scope.WEBHOOKS),
    ("POST", f"{API}/webhook-endpoints/{{endpoint_id}}/rotate"): _merchant(Scope.WEBHOOKS),
    ("POST", f"{API}/webhook-endpoints/{{endpoint_id}}/test"): _merchant(Scope.WEBHOOKS),
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}/deliveries"): _merchant(Scope.WEBHOOKS),
    ("GET", f"{API}/deliveries"): _owner(Scope.WEBHOOKS),
    ("GET", f"{API}/deliveries/{{delivery_id}}"): _owner(Scope.WEBHOOKS),
    ("POST", f"{API}/deliveries/{{delivery_id}}/resend"): _owner(Scope.WEBHOOKS),
    ("POST", f"{API}/events/{{event_id}}/resend"): _owner(Scope.WEBHOOKS),
    ("POST", f"{API}/resend-jobs"): _owner(Scope.WEBHOOKS),
    ("GET", f"{API}/resend-jobs"): _owner(Scope.WEBHOOKS),
    ("GET", f"{API}/resend-jobs/{{job_id}}"): _owner(Scope.WEBHOOKS),
    ("POST", f"{API}/resend-jobs/{{job_id}}/cancel"): _owner(Scope.WEBHOOKS),
    ("GET", f"{API}/events"): _owner(Scope.EVENTS_READ),
    ("GET", f"{API}/events/{{event_id}}"): _owner(Scope.EVENTS_READ),
    ("GET", f"{API}/incoming-webhooks"): _owner(Scope.WEBHOOKS),
    ("GET", f"{API}/incoming-webhooks/{{webhook_id}}"): _owner(Scope.WEBHOOKS),
    ("POST", f"{API}/customers"): _merchant(Scope.CUSTOMERS_WRITE),
    ("GET", f"{API}/customers"): _merchant(Scope.CUSTOMERS_READ),
    ("GET", f"{API}/customers/{{customer_id}}"): _merchant(Scope.CUSTOMERS_READ),
    ("PUT", f"{API}/customers/{{customer_id}}"): _merchant(Scope.CUSTOMERS_WRITE),
    ("PATCH", f"{API}/customers/{{customer_id}}"): _merchant(Scope.CUSTOMERS_WRITE),
    ("DELETE", f"{API}/customers/{{customer_id}}"): _merchant(Scope.CUSTOMERS_WRITE),
    ("POST", f"{API}/customers/{{customer_id}}/cards"): _merchant(Scope.CUSTOMERS_WRITE),
    ("GET", f"{API}/customers/{{customer_id}}/cards"): _merchant(Scope.CUSTOMERS_READ),
    ("DELETE", f"{API}/customers/{{customer_id}}/cards/{{card_id}}"): _merchant(Scope.CUSTOMERS_WRITE),
    ("POST", f"{API}/customers/{{customer_id}}/payments"): _merchant(Scope.PAYMENTS_WRITE),
    ("GET", f"{API}/customers/{{customer_id}}/payments"): _merchant(Scope.PAYMENTS_READ),
    ("GET", f"{API}/customers/{{customer_id}}/payments/{{payment_id}}"): _merchant(Scope.PAYMENTS_READ),
    # Who may delete what depends on the object, so the service decides (services/payments.py, services/accounts.py).
    ("DELETE", f"{API}/{{resource}}/{{resource_id}}"): TOKEN,
}

LITERAL_PATHS = frozenset(path for _, path in ROLE_TABLE if "{" not in path)
