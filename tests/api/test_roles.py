"""Who may call what: the whole role table, with every kind of credential."""

import re
from collections.abc import Mapping

import httpx
import pytest
from fastapi import APIRouter
from starlette.routing import Route

import main  # noqa: TID251 - the application itself is looked at here
from routers.roles import API, ROLE_TABLE, Access, Needs
from routers.route import PspRoute
from tests.factories import Account, Psp
from tests.scale import FULL

NO_KEY = (401, "Invalid or missing X-API-Key. Access denied.")
NO_TOKEN = (401, "Authorization header missing.")
NO_BEARER = (401, "Invalid authorization header format.")
BAD_TOKEN = (401, "Invalid or expired token.")
NOT_ONE_ACCOUNT = (403, "Access denied. API key and token belong to different accounts.")

# What each caller shows, and what it is worth: the role behind the key (None where none is sent) and the role behind
# the token, or why not.
CALLERS: Mapping[str, tuple[str | tuple[int, str] | None, str | tuple[int, str]]] = {
    "anonymous": (None, NO_TOKEN),
    "user": (None, "user"),
    "merchant": (None, "merchant"),
    "admin": (None, "admin"),
    "system_admin": (None, "system_admin"),
    "key of user": ("user", NO_TOKEN),
    "key of merchant": ("merchant", NO_TOKEN),
    "key of admin": ("admin", NO_TOKEN),
    "key and token of user": ("user", "user"),
    "key and token of merchant": ("merchant", "merchant"),
    "key and token of admin": ("admin", "admin"),
    "key of user, token of merchant": ("user", "merchant"),
    "key of user, garbage token": ("user", BAD_TOKEN),
    "key of merchant, garbage token": ("merchant", BAD_TOKEN),
    "key of merchant, wrong scheme": ("merchant", NO_BEARER),
    "garbage key": (NO_KEY, NO_TOKEN),
    "empty key": (NO_KEY, NO_TOKEN),
    "garbage key, token of merchant": (NO_KEY, "merchant"),
    "garbage key, garbage token": (NO_KEY, BAD_TOKEN),
    "garbage token": (None, BAD_TOKEN),
    "wrong scheme": (None, NO_BEARER),
    "scheme alone": (None, NO_BEARER),
    "two tokens": (None, NO_BEARER),
    "payment key": (None, NO_TOKEN),
}
EVERYWHERE = ("anonymous", "user", "merchant", "admin", "system_admin")
EVERYWHERE += ("key of user", "key of merchant", "key of admin", "payment key")
"""Who asks every route. All others ask, of the routes that need the same, one: it is the need that refuses them."""
ASKED_BY_ALL = set(ROLE_TABLE) if FULL else {access.needs: route for route, access in ROLE_TABLE.items()}.values()
OPEN_TO_ALL = ("api-keys", "deliveries", "events", "incoming-webhooks", "resend-jobs", "users/me/")
ADMINS = {"admin", "system_admin"}
DOCUMENTATION = {"/", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"}


def refusal(access: Access, caller: str) -> tuple[int, str] | None:
    """What the contract makes of this caller, before anything else of the request counts."""
    key, token = CALLERS[caller]
    # Where either will do, what is sent counts; a key is what is missed where nothing is.
    either = access.needs is Needs.EITHER
    by_token = access.needs in (Needs.TOKEN, Needs.BOTH) or (either and token != NO_TOKEN)
    if access.needs is Needs.PAYMENT_KEY and caller == "payment key":
        return None
    by_key = access.needs in (Needs.API_KEY, Needs.PAYMENT_KEY, Needs.BOTH) or (
        either and (key is not None or not by_token)
    )
    if by_key and not isinstance(key, str):
        return NO_KEY
    if by_token and isinstance(token, tuple):
        return token
    if by_key and by_token and key != token:
        return NOT_ONE_ACCOUNT
    role = token if by_token else key
    if access.needs not in (Needs.NOTHING, Needs.METRICS_TOKEN) and role not in {role.value for role in access.roles}:
        allowed = tuple(role.value for role in access.roles)
        return 403, access.refusal or f"Access denied. Allowed roles: {allowed}"
    return None


@pytest.fixture(scope="module")
def headers(
    shared_psp: Psp, user: Account, merchant: Account, admin: Account, root: dict[str, str]
) -> Mapping[str, dict[str, str]]:
    payment_key = shared_psp.post("/payment-keys", json={"maxUses": None}, headers=merchant.key).json()["paymentKey"]
    return {
        "anonymous": {},
        "user": user.bearer,
        "merchant": merchant.bearer,
        "admin": admin.bearer,
        "system_admin": root,
        "key of user": user.key,
        "key of merchant": merchant.key,
        "key of admin": admin.key,
        "key and token of user": user.both,
        "key and token of merchant": merchant.both,
        "key and token of admin": admin.both,
        "key of user, token of merchant": {**user.key, **merchant.bearer},
        "key of user, garbage token": {**user.key, "Authorization": "Bearer garbage"},
        "key of merchant, garbage token": {**merchant.key, "Authorization": "Bearer garbage"},
        "key of merchant, wrong scheme": {**merchant.key, "Authorization": f"Basic {merchant.token}"},
        "garbage key": {"X-API-Key": "garbage"},
        "empty key": {"X-API-Key": ""},
        "garbage key, token of merchant": {"X-API-Key": "garbage", **merchant.bearer},
        "garbage key, garbage token": {"X-API-Key": "garbage", "Authorization": "Bearer garbage"},
        "garbage token": {"Authorization": "Bearer garbage"},
        "wrong scheme": {"Authorization": f"Basic {user.token}"},
        "scheme alone": {"Authorization": "Bearer"},
        "two tokens": {"Authorization": f"Bearer {user.token} {user.token}"},
        "payment key": {"X-Payment-Key": payment_key},
    }


@pytest.mark.scaled
@pytest.mark.parametrize("route", ROLE_TABLE, ids=" ".join)
def test_a_route_opens_to_its_roles_and_tells_all_others_why_not(
    shared_psp: Psp, headers: Mapping[str, dict[str, str]], route: tuple[str, str]
) -> None:
    """Every request has an unknown parameter: whoever is let in reads about that, and nothing is changed."""
    method, path = route
    url = re.sub(r"\{\w+\}", "none", path.replace("{resource}", "transactions"))

    wrong = {}
    for caller in CALLERS if route in ASKED_BY_ALL else EVERYWHERE:
        answer = shared_psp.client.request(method, url, params={"nonsense": "1"}, headers=headers[caller])
        if not is_right(answer, ROLE_TABLE[route], path, caller):
            wrong[caller] = f"{answer.status_code} {answer.text[:200]}"
    assert not wrong


def is_right(answer: httpx.Response, access: Access, path: str, caller: str) -> bool:
    if (refused := refusal(access, caller)) is not None:
        return (answer.status_code, answer.json()["detail"]) == refused
    if path in DOCUMENTATION:
        return answer.status_code in (200, 307)
    return answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["query", "nonsense"]


def test_the_role_table_is_that_of_the_contract() -> None:
    by_need = {need: set[str]() for need in Needs}
    for (method, path), access in ROLE_TABLE.items():
        by_need[access.needs].add(f"{method} {path.removeprefix(API)}")

    assert by_need[Needs.NOTHING] == {f"GET {path}" for path in DOCUMENTATION} | {
        "GET /status",
        "GET /health/live",
        "GET /health/ready",
        "POST /users/register",
        "POST /users/login",
        "POST /auth/token",
        "POST /users/refresh",
        "GET /bank/scenarios",
        "GET /3ds/{payment_id}/{proof}",
        "POST /3ds/{payment_id}/{proof}",
    }
    assert by_need[Needs.METRICS_TOKEN] == {"GET /metrics"}
    assert by_need[Needs.PAYMENT_KEY] == {"POST /payments/charge"}
    assert by_need[Needs.BOTH] == {"GET /payments/query"}
    assert {path.split()[1].split("/")[1] for path in by_need[Needs.API_KEY]} == {
        "payments",
        "tokens",
        "webhook-receive",
    }
    assert {path.split()[1].split("/")[1] for path in by_need[Needs.EITHER]} == {
        "api-keys",
        "customers",
        "deliveries",
        "events",
        "incoming-webhooks",
        "payment-keys",
        "refunds",
        "resend-jobs",
        "users",
        "webhook-endpoints",
    }
    for (_, path), access in ROLE_TABLE.items():
        roles = {role.value for role in access.roles}
        if path.endswith(("/role", "/admin/reset")):
            assert roles == {"system_admin"}
        elif path.startswith(f"{API}/admin/") or path in (
            *(f"{API}/users", f"{API}/users/{{user_id}}", f"{API}/audit"),
        ):
            assert roles == ADMINS
        elif path.startswith(tuple(f"{API}/{name}" for name in OPEN_TO_ALL)):
            assert roles == ADMINS | {"user", "merchant"}
        elif access.needs is Needs.EITHER or path.endswith("/capture"):
            assert roles == ADMINS | {"merchant"}
        else:
            assert roles == ADMINS | {"user", "merchant"}


def test_every_route_of_the_application_stands_in_the_table_and_nothing_else_does() -> None:
    routes = [route for route in main.create_app().routes if isinstance(route, Route)]

    served = {(method, route.path) for route in routes for method in (route.methods or set()) - {"HEAD"}}

    assert served == set(ROLE_TABLE)


def test_a_route_that_is_in_no_table_cannot_be_defined() -> None:
    router = APIRouter(prefix=API, route_class=PspRoute)

    with pytest.raises(LookupError, match="GET /api/v1/forgotten stands in no role table"):
        router.add_api_route("/forgotten", lambda: None, methods=["GET"])


@pytest.mark.parametrize("route", [("GET", f"{API}/status"), ("GET", "/docs")])
def test_a_route_that_is_in_no_table_keeps_the_application_from_being_built(
    monkeypatch: pytest.MonkeyPatch, route: tuple[str, str]
) -> None:
    monkeypatch.setattr(main, "ROLE_TABLE", {kept: access for kept, access in ROLE_TABLE.items() if kept != route})

    with pytest.raises(LookupError, match="stands in no role table"):
        main.create_app()
