"""The audit log's catalogue: each action leaves exactly one row, denials too, and no row holds a secret."""

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pymongo
import pytest
from bson.raw_bson import RawBSONDocument

from domain.audit import Action
from tests.factories import PASSWORD, VISA, Account, Psp, card

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
NEW_PASSWORD = "staple-of-the-battery"
NOWHERE = {"url": "http://127.0.0.1:9/hook?token=t0psecret", "events": ["payment.*"]}
ENDPOINT = {"origin": "http://127.0.0.1:9", "events": "payment.*", "status": "enabled"}


@dataclass
class Scene:
    """Whoever an act needs. What is sent with `named` is found by its request id."""

    psp: Psp
    account: Account
    admin: Account
    root: dict[str, str]
    root_id: str
    named: dict[str, str] = field(default_factory=lambda: {"X-Request-ID": secrets.token_hex(8)})

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> httpx.Response:
        send = getattr(self.psp, method)
        answer: httpx.Response = send(path, headers={**(headers or {}), **self.named}, **options)
        return answer

    def session_id(self, account: Account) -> str:
        found: str = self.psp.get("/sessions", headers=account.bearer).json()["sessions"][0]["id"]
        return found


Act = Callable[[Scene], Row]
"""Does it, and says what its row must hold beside the action and that it was a success."""


def by(account: Account, role: str | None = None) -> Row:
    return {"account_id": account.id, "role": role or account.role}


def log_in(s: Scene) -> Row:
    body = {"email": s.account.email, "password": PASSWORD}
    token = s.ask("post", "/users/login", json=body).json()["access_token"]
    sessions = s.psp.get("/sessions", headers={"Authorization": f"Bearer {token}"}).json()["sessions"]
    (session_id,) = (one["id"] for one in sessions if one["current"])
    return {**by(s.account), "target_id": s.account.id, "session_id": session_id}


def log_out(s: Scene) -> Row:
    session_id = s.session_id(s.account)
    s.ask("post", "/users/logout", s.account.bearer)
    return {**by(s.account), "target_id": session_id, "session_id": session_id}


def end_session(s: Scene) -> Row:
    session_id = s.session_id(s.account)
    s.ask("delete", f"/sessions/{session_id}", s.account.bearer)
    return {**by(s.account), "target_id": session_id}


def end_all_sessions(s: Scene) -> Row:
    s.ask("delete", "/sessions", s.account.bearer)
    return {**by(s.account), "target_id": s.account.id}


def reuse_refresh_token(s: Scene) -> Row:
    session_id = s.session_id(s.account)
    body = {"refresh_token": s.account.refresh_token}
    assert s.psp.post("/users/refresh", json=body).status_code == 200
    assert [s.ask("post", "/users/refresh", json=body).status_code for _ in range(2)] == [401, 401]
    unknown = {"account_id": None, "role": None, "outcome": "denied"}
    return {**unknown, "target_id": s.account.id, "session_id": session_id}


def register(s: Scene) -> Row:
    body = {"name": "A Person", "email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD}
    made = s.ask("post", "/users/register", json=body).json()
    assert s.psp.post("/users/register", json=body, headers=s.named).status_code == 400, "and this is no second one"
    return {"account_id": None, "role": None, "target_id": made["userId"], "after": {"role": "user"}}


def read_account(s: Scene) -> Row:
    s.ask("get", f"/users/{s.admin.id}", s.admin.bearer)
    s.ask("get", f"/users/{s.account.id}", s.admin.bearer)
    return {**by(s.admin), "target_id": s.account.id}


def list_accounts(s: Scene) -> Row:
    s.ask("get", "/users", s.admin.bearer, params={"limit": 1})
    return {**by(s.admin), "target_id": None}


def change_role(s: Scene) -> Row:
    for _ in range(2):
        s.ask("patch", f"/users/{s.account.id}/role", s.root, json={"new_role": "user"})
    change = {"before": {"role": "merchant"}, "after": {"role": "user"}}
    return {"account_id": s.root_id, "role": "system_admin", "target_id": s.account.id, **change}


def change_password(s: Scene) -> Row:
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    s.ask("post", "/users/me/password", s.account.bearer, json=body)
    return {**by(s.account), "target_id": s.account.id}


def rotate_account_secret(s: Scene) -> Row:
    s.ask("post", "/users/me/webhook-secret/rotate", s.account.bearer, json={"overlapDays": 0})
    none = {"previous_secret_ends_at": None}
    return {**by(s.account), "target_id": s.account.id, "before": none, "after": none}


def delete_account(s: Scene) -> Row:
    s.ask("delete", f"/users/{s.account.id}", s.admin.bearer)
    return {**by(s.admin), "target_id": s.account.id, "before": {"role": "merchant"}}


def make_api_key(s: Scene) -> Row:
    made = s.ask("post", "/api-keys", s.account.bearer, json={"name": "n", "scopes": ["events:read"]}).json()
    state = {"name": "n", "scopes": "events:read", "expires_at": None, "allowed_networks": None}
    return {**by(s.account), "target_id": made["id"], "after": state}


def rotate_api_key(s: Scene) -> Row:
    made = s.psp.post("/api-keys", json={"name": "n", "scopes": ["events:read"]}, headers=s.account.bearer).json()
    s.ask("post", f"/api-keys/{made['id']}/rotate", s.account.bearer)
    return {**by(s.account), "target_id": made["id"]}


def revoke_api_key(s: Scene) -> Row:
    made = s.psp.post("/api-keys", json={"name": "n", "scopes": ["events:read"]}, headers=s.account.bearer).json()
    s.ask("delete", f"/api-keys/{made['id']}", s.account.bearer)
    return {**by(s.account), "target_id": made["id"], "after": None}


def make_payment_key(s: Scene) -> Row:
    body = {"maxUses": 2, "amount": 5, "currency": "USD"}
    made = s.ask("post", "/payment-keys", s.account.key, json=body).json()
    return {**by(s.account), "target_id": made["id"], "before": None}


def revoke_payment_key(s: Scene) -> Row:
    made = s.psp.post("/payment-keys", json={}, headers=s.account.key).json()
    for _ in range(2):
        s.ask("delete", f"/payment-keys/{made['id']}", s.account.key)
    return {**by(s.account), "target_id": made["id"]}


def make_endpoint(s: Scene) -> Row:
    made = s.ask("post", "/webhook-endpoints", s.account.key, json=NOWHERE).json()
    return {**by(s.account), "target_id": made["id"], "after": ENDPOINT}


def change_endpoint(s: Scene) -> Row:
    made = s.psp.post("/webhook-endpoints", json=NOWHERE, headers=s.account.key).json()
    for _ in range(2):
        s.ask("patch", f"/webhook-endpoints/{made['id']}", s.account.key, json={"status": "disabled"})
    change = {"before": ENDPOINT, "after": {**ENDPOINT, "status": "disabled"}}
    return {**by(s.account), "target_id": made["id"], **change}


def delete_endpoint(s: Scene) -> Row:
    made = s.psp.post("/webhook-endpoints", json=NOWHERE, headers=s.account.key).json()
    for _ in range(2):
        s.ask("delete", f"/webhook-endpoints/{made['id']}", s.account.key)
    return {**by(s.account), "target_id": made["id"], "before": ENDPOINT}


def read_endpoint_secret(s: Scene) -> Row:
    made = s.psp.post("/webhook-endpoints", json=NOWHERE, headers=s.account.key).json()
    s.ask("get", f"/webhook-endpoints/{made['id']}/secret", s.account.key)
    return {**by(s.account), "target_id": made["id"]}


def rotate_endpoint_secret(s: Scene) -> Row:
    made = s.psp.post("/webhook-endpoints", json=NOWHERE, headers=s.account.key).json()
    s.ask("post", f"/webhook-endpoints/{made['id']}/rotate", s.account.key)
    return {**by(s.account), "target_id": made["id"]}


def list_payments(s: Scene) -> Row:
    s.ask("get", "/admin/payments", s.admin.bearer, params={"ownerId": s.account.id})
    return {**by(s.admin), "target_id": s.account.id}


def delete_payment(s: Scene) -> Row:
    payment = s.psp.completed(s.account)
    for _ in range(2):
        s.ask("delete", f"/transactions/{payment['id']}", s.admin.bearer)
    state = {"owner_id": s.account.id, "status": "completed"}
    return {**by(s.admin), "target_id": payment["id"], "before": state}


def read_audit_log(s: Scene) -> Row:
    s.ask("get", "/audit", s.admin.bearer, params={"actorId": s.account.id})
    return {**by(s.admin), "target_id": None}


def be_denied(s: Scene) -> Row:
    assert s.ask("get", f"/users/{s.admin.id}", s.account.bearer).status_code == 403
    route = "GET /api/v1/users/{user_id}"
    return {**by(s.account), "target_id": s.admin.id, "outcome": "denied", "route": route}


CATALOGUE: Mapping[Action, Act] = {
    Action.LOGGED_IN: log_in,
    Action.LOGGED_OUT: log_out,
    Action.SESSION_ENDED: end_session,
    Action.ALL_SESSIONS_ENDED: end_all_sessions,
    Action.REFRESH_TOKEN_REUSED: reuse_refresh_token,
    Action.ACCOUNT_REGISTERED: register,
    Action.ACCOUNT_READ: read_account,
    Action.ACCOUNTS_LISTED: list_accounts,
    Action.ROLE_CHANGED: change_role,
    Action.PASSWORD_CHANGED: change_password,
    Action.ACCOUNT_SECRET_ROTATED: rotate_account_secret,
    Action.ACCOUNT_DELETED: delete_account,
    Action.API_KEY_MADE: make_api_key,
    Action.API_KEY_ROTATED: rotate_api_key,
    Action.API_KEY_REVOKED: revoke_api_key,
    Action.PAYMENT_KEY_MADE: make_payment_key,
    Action.PAYMENT_KEY_REVOKED: revoke_payment_key,
    Action.ENDPOINT_MADE: make_endpoint,
    Action.ENDPOINT_CHANGED: change_endpoint,
    Action.ENDPOINT_DELETED: delete_endpoint,
    Action.ENDPOINT_SECRET_READ: read_endpoint_secret,
    Action.ENDPOINT_SECRET_ROTATED: rotate_endpoint_secret,
    Action.PAYMENTS_LISTED: list_payments,
    Action.PAYMENT_DELETED: delete_payment,
    Action.AUDIT_READ: read_audit_log,
    Action.ACCESS_DENIED: be_denied,
}


@pytest.fixture
def scene(psp: Psp, admin: Account, root: dict[str, str]) -> Scene:
    root_id = psp.get("/users/me", headers=root).json()["id"]
    return Scene(psp, psp.register(), admin, root, root_id)


@pytest.fixture
def rows(database: Database) -> Callable[[Scene], list[Row]]:
    return lambda scene: list(database["audit"].find({"request_id": scene.named["X-Request-ID"]}))


Rows = Callable[[Scene], list[Row]]


def test_the_catalogue_is_complete() -> None:
    # A reset takes all accounts with it: its row is in tests/api/test_reset.py, on a server of its own.
    assert CATALOGUE.keys() | {Action.DATA_RESET} == set(Action)


@pytest.mark.parametrize("action", CATALOGUE, ids=str)
def test_each_action_leaves_exactly_one_row(scene: Scene, rows: Rows, action: Action) -> None:
    expected = CATALOGUE[action](scene)

    (row,) = rows(scene)
    told = {"action": action.value, "outcome": "success", "route": None, "address": "127.0.0.1", **expected}
    assert {name: row[name] for name in told} == told


def wrong_password(s: Scene) -> tuple[httpx.Response, str | None]:
    return s.ask("post", "/users/login", json={"email": s.account.email, "password": "wrong"}), s.account.id


def unknown_email(s: Scene) -> tuple[httpx.Response, str | None]:
    return s.ask("post", "/users/login", json={"email": "no@example.com", "password": PASSWORD}), None


def wrong_password_by_form(s: Scene) -> tuple[httpx.Response, str | None]:
    return s.ask("post", "/auth/token", data={"username": s.account.email, "password": "wrong"}), s.account.id


@pytest.mark.parametrize("attempt", [wrong_password, unknown_email, wrong_password_by_form])
def test_a_failed_login_is_written_down_with_the_account_that_was_meant(
    scene: Scene, rows: Rows, attempt: Callable[[Scene], tuple[httpx.Response, str | None]]
) -> None:
    answer, target_id = attempt(scene)

    (row,) = rows(scene)
    assert answer.status_code == 401
    assert (row["action"], row["outcome"], row["target_id"]) == ("session.login", "failed", target_id)
    assert (row["account_id"], row["role"], row["session_id"]) == (None, None, None)


DENIALS: Mapping[str, tuple[str, str, str, Row | None]] = {
    "a role": ("get", "/users", "bearer", None),
    "another's payment": ("delete", "/transactions/{payment}", "bearer", None),
    "one who may not be deleted": ("delete", "/users/{root}", "admin", None),
    "one's own role": ("patch", "/users/{root}/role", "root", {"new_role": "user"}),
    "a wrong current password": (
        *("post", "/users/me/password", "bearer"),
        {"currentPassword": "wrong", "newPassword": NEW_PASSWORD},
    ),
    "a scope": ("get", "/customers", "narrow", None),
    "an address": ("get", "/customers", "elsewhere", None),
    "two accounts": ("get", "/customers", "mixed", None),
}


@pytest.mark.parametrize("case", DENIALS)
def test_a_denial_is_written_down_with_its_route(scene: Scene, rows: Rows, case: str) -> None:
    method, path, who, body = DENIALS[case]
    psp, account = scene.psp, scene.account
    stranger = psp.register()
    ids = {"payment": psp.completed(stranger)["id"], "root": scene.root_id}
    narrow = {"name": "n", "scopes": ["events:read"]}
    elsewhere = {"name": "n", "scopes": ["customers:read"], "allowedNetworks": ["203.0.113.0/24"]}
    keys = [psp.post("/api-keys", json=one, headers=account.bearer).json() for one in (narrow, elsewhere)]
    headers = {
        "bearer": account.bearer,
        "admin": scene.admin.bearer,
        "root": scene.root,
        "narrow": {"X-API-Key": keys[0]["apiKey"]},
        "elsewhere": {"X-API-Key": keys[1]["apiKey"]},
        "mixed": {**stranger.key, **account.bearer},
    }

    answer = scene.ask(method, path.format_map(ids), headers[who], **({"json": body} if body else {}))

    (row,) = rows(scene)
    callers = {"admin": scene.admin.id, "root": scene.root_id}
    shown = {"narrow": keys[0]["id"], "elsewhere": keys[1]["id"]}
    assert answer.status_code == 403, answer.text
    assert (row["action"], row["outcome"]) == ("access.denied", "denied")
    assert row["account_id"] == callers.get(who, account.id)
    assert row["api_key_id"] == shown.get(who)
    assert row["route"].startswith(f"{method.upper()} /api/v1{path.partition('{')[0].rstrip('/').rpartition('/')[0]}")
    (named,) = [ids[name] for name in ids if name in path] or [None]
    assert row["target_id"] == named


def test_nobody_fills_the_log_who_has_shown_nothing(scene: Scene, rows: Rows, database: Database) -> None:
    payment_key = scene.psp.post("/payment-keys", json={}, headers=scene.account.key).json()["paymentKey"]
    charge = {"customerName": "Ada", "paymentAmount": 1, "currency": "EUR", "customerId": "cus_none"}

    answers = [
        scene.ask("get", "/users"),
        scene.ask("get", "/users", {"Authorization": "Bearer garbage"}),
        scene.ask("get", "/customers", {"X-API-Key": "garbage"}),
        scene.ask("post", "/users/refresh", json={"refresh_token": "garbage"}),
        scene.ask("post", "/payments/charge", {"X-Payment-Key": payment_key}, json=charge),
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 403]
    assert rows(scene) == []


def test_a_charge_and_a_refund_of_ones_own_leave_no_row(scene: Scene, rows: Rows) -> None:
    charge = {"customerName": "Ada", "paymentAmount": 1, "currency": "EUR"}
    headers = {**scene.account.key, "Prefer": "wait=30"}
    made = scene.ask("post", "/payments/charge", headers, json=charge).json()
    assert scene.ask("post", "/refunds", scene.account.key, json={"paymentId": made["id"]}).status_code == 201

    assert rows(scene) == []


def test_a_race_for_a_role_leaves_as_many_rows_as_changes(scene: Scene, rows: Rows) -> None:
    wanted = ["user", "merchant", "admin"] * 8

    with ThreadPoolExecutor(8) as pool:
        path = f"/users/{scene.account.id}/role"
        list(pool.map(lambda role: scene.ask("patch", path, scene.root, json={"new_role": role}), wanted))

    changes = [(row["before"]["role"], row["after"]["role"]) for row in rows(scene)]
    # A walk from the first role to the last one: each change begins where another one ended.
    begun, ended = [before for before, _ in changes], [after for _, after in changes]
    last = scene.psp.get(f"/users/{scene.account.id}", headers=scene.root).json()["role"]
    assert changes
    assert all(before != after for before, after in changes)
    assert sorted([*begun, last]) == sorted(["merchant", *ended])


def test_no_row_of_any_action_holds_a_secret(scene: Scene, database: Database) -> None:
    """Every act, with all that it was given and all that it answered searched for in the whole log."""
    psp, account = scene.psp, scene.account
    spoken = [account.api_key, account.token, account.refresh_token, account.webhook_secret, account.email]
    spoken += [PASSWORD, NEW_PASSWORD, "t0psecret", VISA]
    for path in ("/api-keys", "/payment-keys", "/webhook-endpoints"):
        bodies: Row = {"/api-keys": {"name": "n", "scopes": ["events:read"]}, "/webhook-endpoints": NOWHERE}
        made = psp.post(path, json=bodies.get(path, {}), headers=account.bearer).json()
        spoken += [made[name] for name in ("apiKey", "paymentKey", "secret") if name in made]
        if path != "/payment-keys":
            rotated = psp.post(f"{path}/{made['id']}/rotate", headers=account.bearer).json()
            spoken += [rotated[name] for name in ("apiKey", "secret") if name in rotated]
    # A password in the wrong field, and the number of a card wherever a client may put one.
    psp.login(PASSWORD, "x")
    psp.charge(account, card=card())
    for named in (VISA, f"txn_0000000000{VISA}", account.api_key, account.token):
        psp.patch(f"/users/{named}/role", json={"new_role": "user"}, headers=account.bearer)
        psp.get("/admin/payments", params={"ownerId": named[:60]}, headers=scene.root)
    for act in (log_in, change_endpoint, change_password):
        act(scene)

    options = database["audit"].codec_options.with_options(document_class=RawBSONDocument)
    stored = [row.raw for row in database["audit"].with_options(options).find()]
    for secret in spoken:
        assert not any(secret.removeprefix("whsec_").encode() in row for row in stored), secret
