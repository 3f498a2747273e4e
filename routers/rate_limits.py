"""How often what may be asked: the one table of limits, and whose requests count together."""

from collections.abc import Mapping

from fastapi import Request
from starlette.types import Scope

from domain.addresses import place_of
from domain.rate_limits import By, Policy
from routers.forwarded import client_address
from routers.roles import API, ROLE_TABLE, Needs
from services.caller import Caller
from services.rate_limits import RateLimits

_HEADERS = "psp.rate_limit_headers"

PAYMENTS = Policy("payments", quota=300, window_s=60, by=By.KEY)
READS = Policy("reads", quota=600, window_s=60, by=By.ACCOUNT)
WRITES = Policy("writes", quota=120, window_s=60, by=By.ACCOUNT)
SECRETS = Policy("secrets", quota=30, window_s=60, by=By.ACCOUNT)
INCOMING = Policy("incoming-webhooks", quota=600, window_s=60, by=By.KEY)
LOGINS = Policy("logins", quota=30, window_s=60, by=By.ADDRESS)
REGISTRATIONS = Policy("registrations", quota=50, window_s=3600, by=By.ADDRESS)
PAGES = Policy("pages", quota=120, window_s=60, by=By.ADDRESS)
UNAUTHENTICATED = Policy("unauthenticated", quota=60, window_s=60, by=By.ADDRESS)
"""Requests that end before anybody knows whose they are: with wrong credentials, or a body that cannot be read."""

_NAMED: Mapping[tuple[str, str], Policy | None] = {
    # A monitor is always answered, by the database or without it.
    ("GET", "/metrics"): None,
    ("GET", "/health/live"): None,
    ("GET", "/health/ready"): None,
    ("GET", f"{API}/status"): None,
    ("POST", f"{API}/users/register"): REGISTRATIONS,
    ("POST", f"{API}/users/login"): LOGINS,
    ("POST", f"{API}/auth/token"): LOGINS,
    ("POST", f"{API}/users/refresh"): LOGINS,
    ("POST", f"{API}/users/me/password"): SECRETS,
    ("POST", f"{API}/users/me/webhook-secret/rotate"): SECRETS,
    ("POST", f"{API}/api-keys"): SECRETS,
    ("POST", f"{API}/api-keys/{{api_key_id}}/rotate"): SECRETS,
    ("GET", f"{API}/webhook-endpoints/{{endpoint_id}}/secret"): SECRETS,
    ("POST", f"{API}/webhook-endpoints/{{endpoint_id}}/rotate"): SECRETS,
    ("POST", f"{API}/payments/charge"): PAYMENTS,
    ("POST", f"{API}/customers/{{customer_id}}/payments"): PAYMENTS,
    ("PATCH", f"{API}/payments/{{payment_id}}"): PAYMENTS,
    ("POST", f"{API}/payments/{{payment_id}}/cancel"): PAYMENTS,
    ("POST", f"{API}/payments/{{payment_id}}/capture"): PAYMENTS,
    ("POST", f"{API}/payments/{{payment_id}}/authenticate"): PAYMENTS,
    ("POST", f"{API}/refunds"): PAYMENTS,
    ("POST", f"{API}/tokens"): PAYMENTS,
    ("POST", f"{API}/webhook-receive"): INCOMING,
}
assert _NAMED.keys() <= ROLE_TABLE.keys()


def policy_of(method: str, path: str) -> Policy | None:
    """Under which limit a route of the role table is; None where it is under none."""
    if (method, path) in _NAMED:
        return _NAMED[method, path]
    if ROLE_TABLE[method, path].needs is Needs.NOTHING:
        return PAGES
    return READS if method == "GET" else WRITES


async def count(limits: RateLimits, policy: Policy, request: Request, caller: Caller | None) -> None:
    """Count the request, and have its answer say where the client stands. Raises RateLimited, DatabaseUnavailable."""
    standing = await limits.count(policy, _source(policy.by, request, caller))
    request.scope[_HEADERS] = [(name.lower().encode(), value.encode()) for name, value in standing.headers.items()]


def rate_limit_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """What the answer to this request has to say of its limit."""
    headers: list[tuple[bytes, bytes]] = scope.get(_HEADERS, [])
    return headers


def _source(by: By, request: Request, caller: Caller | None) -> str:
    if caller is None:
        return f"address {place_of(client_address(request.scope))}"
    if by is By.KEY and caller.payment_key is not None:
        return f"key {caller.payment_key.id}"
    if by is By.KEY and caller.api_key_id is not None:
        return f"key {caller.api_key_id}"
    return f"account {caller.account_id}"
