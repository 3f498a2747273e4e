"""API keys: what each opens, from where and until when, and what becomes of it when it is rotated or revoked."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pymongo.database
import pytest

from domain.api_keys import MOST_KEYS, Scope
from routers.roles import ROLE_TABLE, Access, Needs
from tests.factories import Account, Psp
from tests.tables import each

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
ALL = [scope.value for scope in Scope]
GAINS = "Access denied. An API key makes, rotates and revokes keys that can do no more than itself."


def key(text: str) -> dict[str, str]:
    return {"X-API-Key": text}


def make(psp: Psp, headers: dict[str, str], *scopes: str, **fields: Any) -> httpx.Response:
    return psp.post("/api-keys", json={"name": "test", "scopes": list(scopes) or ALL, **fields}, headers=headers)


def made(psp: Psp, headers: dict[str, str], *scopes: str, **fields: Any) -> Row:
    answer = make(psp, headers, *scopes, **fields)
    assert answer.status_code == 201, answer.text
    shown: Row = answer.json()
    return shown


def listed(psp: Psp, account: Account) -> list[Row]:
    keys: list[Row] = psp.get("/api-keys", headers=account.bearer).json()["apiKeys"]
    return keys


def opens(psp: Psp, text: str) -> bool:
    answer = psp.get("/events", headers=key(text))
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


@pytest.fixture
def account(psp: Psp) -> Account:
    """Nobody else's, since its keys are counted."""
    return psp.register()


def test_a_key_is_shown_once_and_listed_without_its_text(psp: Psp, account: Account) -> None:
    networks = ["127.0.0.1", "10.0.0.0/8"]

    shown = made(psp, account.key, "payments:read", "webhooks", expiresIn=60, allowedNetworks=networks, name="n")

    text = shown.pop("apiKey")
    newest, first = listed(psp, account)
    assert newest == shown
    assert text.startswith(shown["prefix"].removesuffix("…"))
    assert (shown["name"], shown["scopes"]) == ("n", ["payments:read", "webhooks"])
    assert shown["allowedNetworks"] == ["127.0.0.1/32", "10.0.0.0/8"]
    lifetime = datetime.fromisoformat(shown["expiresAt"]) - datetime.fromisoformat(shown["createdAt"])
    assert lifetime == timedelta(seconds=60)
    assert (first["name"], first["scopes"], first["allowedNetworks"], first["expiresAt"]) == (
        "default",
        ALL,
        None,
        None,
    )


def test_keys_are_listed_page_by_page(psp: Psp, account: Account) -> None:
    ids = [made(psp, account.bearer, "webhooks")["id"] for _ in range(2)]
    first = psp.get("/api-keys?limit=2", headers=account.bearer).json()
    psp.delete(f"/api-keys/{ids[0]}", headers=account.bearer)
    last = psp.get("/api-keys", params={"limit": 2, "cursor": first["nextCursor"]}, headers=account.bearer).json()

    assert [one["id"] for one in first["apiKeys"]] == ids[::-1]
    assert (first["totalApiKeys"], first["hasMore"]) == (3, True)
    assert [one["name"] for one in last["apiKeys"]] == ["default"]
    assert (last["totalApiKeys"], last["hasMore"], last["nextCursor"]) == (2, False, None)
    wrong = psp.get("/api-keys?cursor=none", headers=account.bearer)
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["query", "cursor"])


def test_a_user_exchanges_the_key_of_the_registration_and_makes_no_further_one(psp: Psp) -> None:
    user = psp.register("user")
    refused = make(psp, user.bearer)
    (own,) = listed(psp, user)
    rotated = psp.post(f"/api-keys/{own['id']}/rotate", headers=user.bearer)

    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "Access denied. Allowed roles: ('merchant', 'admin', 'system_admin')",
    )
    assert opens(psp, rotated.json()["apiKey"])

    psp.delete(f"/api-keys/{own['id']}", headers=user.bearer)
    assert opens(psp, made(psp, user.bearer)["apiKey"])


@pytest.fixture(scope="module")
def with_and_without(shared_psp: Psp, merchant: Account, admin: Account) -> dict[str, tuple[str, str]]:
    """For each scope, a key that has no other one and a key that has all others."""
    return {
        scope: (
            made(shared_psp, merchant.bearer, scope)["apiKey"],
            made(shared_psp, admin.bearer, *(other for other in ALL if other != scope))["apiKey"],
        )
        for scope in ALL
    }


@each("route", [route for route, access in ROLE_TABLE.items() if access.scope])
def test_a_route_opens_to_a_key_with_its_scope_and_to_no_other(
    shared_psp: Psp,
    merchant: Account,
    admin: Account,
    with_and_without: dict[str, tuple[str, str]],
    route: tuple[str, str],
) -> None:
    """Every request has an unknown parameter: whoever is let in reads about that, and nothing is changed."""
    (method, path), access = route, ROLE_TABLE[route]
    having, lacking = with_and_without[str(access.scope)]

    def send(text: str, owner: Account) -> httpx.Response:
        headers = {**key(text), **(owner.bearer if access.needs is Needs.BOTH else {})}
        return shared_psp.client.request(method, path, params={"nonsense": "1"}, headers=headers)

    assert send(having, merchant).status_code == 422
    refused = send(lacking, admin)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert refused.json()["detail"] == f"Access denied. The API key lacks the scope '{access.scope}'."


def test_every_route_that_takes_a_key_asks_for_a_scope() -> None:
    without = {Needs.NOTHING, Needs.TOKEN, Needs.METRICS_TOKEN}
    assert {access.needs for access in ROLE_TABLE.values() if access.scope is None} == without
    assert {access.scope for access in ROLE_TABLE.values()} - {None} == set(Scope)
    for needs in set(Needs) - without:
        with pytest.raises(ValueError, match="a scope is what a route asks of API keys"):
            Access(needs)


def test_a_token_has_no_scopes_and_a_key_beside_it_does(psp: Psp, account: Account) -> None:
    narrow = key(made(psp, account.bearer, "payments:read")["apiKey"])

    assert psp.get("/events", headers=account.bearer).status_code == 200
    assert psp.get("/events", headers={**account.bearer, **narrow}).status_code == 403


def test_a_scope_opens_nothing_that_the_role_does_not(psp: Psp) -> None:
    user = psp.register("user")
    assert [one["scopes"] for one in listed(psp, user)] == [ALL]

    answer = psp.get("/customers", headers=user.key)

    assert answer.json()["detail"] == "Access denied. Allowed roles: ('merchant', 'admin', 'system_admin')"


def test_a_key_from_before_there_were_scopes_opens_everything(psp: Psp, account: Account, database: Database) -> None:
    (stored,) = database["users"].find_one({"_id": account.id})["api_keys"]  # type: ignore[index]

    assert stored.keys() - {"last_used_at"} == {"id", "name", "hash", "created_at"}
    assert [one["scopes"] for one in listed(psp, account)] == [ALL]
    assert opens(psp, account.api_key)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 101},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "webhooks"},
        {"scopes": None},
        {"expiresIn": 0},
        {"expiresIn": 366 * 24 * 3600 + 1},
        {"expiresIn": "60"},
        {"allowedNetworks": []},
        {"allowedNetworks": ["10.0.0.1/8"]},
        {"allowedNetworks": ["10.0.0.0/33"]},
        {"allowedNetworks": ["fe80::1%eth0"]},
        {"allowedNetworks": ["localhost"]},
        {"allowedNetworks": [167772160]},
        {"allowedNetworks": ["10.0.0.0/8"] * 21},
        {"role": "admin"},
    ],
    ids=str,
)
def test_a_key_that_makes_no_sense_is_not_made(psp: Psp, merchant: Account, wrong: Row) -> None:
    assert make(psp, merchant.bearer, **wrong).status_code == 422


def test_a_key_that_has_ended_opens_nothing(psp: Psp, account: Account) -> None:
    shown = made(psp, account.bearer, expiresIn=1)
    time.sleep(1.1)

    answer = psp.get("/events", headers=key(shown["apiKey"]))

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert answer.json()["detail"] == "Invalid or missing X-API-Key. Access denied."


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        (["203.0.113.0/24", "2001:db8::/32"], "203.0.113.7", 200),
        (["203.0.113.0/24", "2001:db8::/32"], "2001:db8::7", 200),
        (["203.0.113.0/24"], "::ffff:203.0.113.7", 200),
        (["203.0.113.0/24", "2001:db8::/32"], "203.0.114.7", 403),
        (["203.0.113.0/24"], "2001:db8::7", 403),
        (["0.0.0.0/0", "::/0"], "nonsense", 403),
    ],
)
def test_a_key_opens_from_its_networks_only(
    psp: Psp, proxied_psp: Psp, account: Account, networks: list[str], address: str, status: int
) -> None:
    """Behind a proxy on this machine, whose word counts."""
    text = made(psp, account.bearer, allowedNetworks=networks)["apiKey"]

    answer = proxied_psp.get("/events", headers={**key(text), "X-Forwarded-For": address})

    assert answer.status_code == status
    if status == 403:
        assert answer.json()["detail"] == "Access denied. The API key may not be used from this address."


@pytest.mark.parametrize("beside", ["", "token"])
def test_two_keys_are_none(psp: Psp, account: Account, merchant: Account, beside: str) -> None:
    token = [("Authorization", f"Bearer {account.token}")] if beside else []

    for texts in ((account.api_key, merchant.api_key), (account.api_key, "garbage"), (account.api_key,) * 2):
        answer = psp.get("/events", headers=[*token, *(("X-API-Key", text) for text in texts)])

        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")


BOUNDS: dict[str, tuple[Row, Row]] = {
    "scopes": ({"scopes": ["api_keys", "events:read"]}, {"scopes": ["api_keys", "events:read", "webhooks"]}),
    "end": ({"expiresIn": 600}, {"expiresIn": 900}),
    "no end": ({"expiresIn": 600}, {"expiresIn": None}),
    "networks": ({"allowedNetworks": ["127.0.0.0/8"]}, {"allowedNetworks": ["126.0.0.0/7"]}),
    "other networks": ({"allowedNetworks": ["127.0.0.0/8"]}, {"allowedNetworks": ["127.0.0.1", "::1"]}),
    "no networks": ({"allowedNetworks": ["127.0.0.0/8"]}, {"allowedNetworks": None}),
}


@pytest.mark.parametrize("bound", BOUNDS)
def test_no_key_is_a_way_to_one_that_can_do_more(psp: Psp, account: Account, bound: str) -> None:
    own, wider = BOUNDS[bound]
    narrow = key(made(psp, account.bearer, **own)["apiKey"])
    other = made(psp, account.bearer, **wider)

    answers = [
        make(psp, narrow, **wider),
        psp.post(f"/api-keys/{other['id']}/rotate", headers=narrow),
        psp.delete(f"/api-keys/{other['id']}", headers=narrow),
    ]

    assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [(403, GAINS)] * 3
    assert opens(psp, other["apiKey"])
    assert len(listed(psp, account)) == 3


def test_a_key_makes_rotates_and_revokes_what_can_do_no_more(psp: Psp, account: Account) -> None:
    bounds: Row = {"scopes": ["api_keys", "events:read"], "expiresIn": 600, "allowedNetworks": ["127.0.0.0/8"]}
    shown = made(psp, account.bearer, **bounds)
    narrow = key(shown["apiKey"])

    less = made(psp, narrow, "events:read", expiresIn=60, allowedNetworks=["127.0.0.1"])

    assert psp.post(f"/api-keys/{less['id']}/rotate", headers=narrow).status_code == 200
    assert psp.delete(f"/api-keys/{less['id']}", headers=narrow).status_code == 200
    rotated = psp.post(f"/api-keys/{shown['id']}/rotate", json={"overlapHours": 0}, headers=narrow).json()
    assert not opens(psp, shown["apiKey"])
    assert psp.delete(f"/api-keys/{shown['id']}", headers=key(rotated["apiKey"])).status_code == 200
    assert not opens(psp, rotated["apiKey"])


def test_a_rotated_key_is_the_same_key_and_the_text_before_counts_until_the_overlap_ends(
    psp: Psp, account: Account, database: Database
) -> None:
    shown = made(psp, account.bearer, "events:read", expiresIn=900)

    rotated = psp.post(f"/api-keys/{shown['id']}/rotate", json={"overlapHours": 24}, headers=account.bearer).json()

    same = ("id", "name", "prefix", "scopes", "createdAt", "expiresAt", "allowedNetworks")
    assert [rotated[name] for name in same] == [shown[name] for name in same]
    left = datetime.fromisoformat(rotated["previousKeyExpiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    assert opens(psp, shown["apiKey"])
    assert opens(psp, rotated["apiKey"])
    past = {"$set": {"api_keys.$.previous_ends_at": datetime.now(UTC)}}
    database["users"].update_one({"api_keys.id": shown["id"]}, past)
    assert not opens(psp, shown["apiKey"])
    assert opens(psp, rotated["apiKey"])
    assert listed(psp, account)[0]["previousKeyExpiresAt"] is None


def test_without_an_overlap_the_text_before_ends_at_once(psp: Psp, account: Account) -> None:
    shown = made(psp, account.bearer)

    rotated = psp.post(f"/api-keys/{shown['id']}/rotate", json={"overlapHours": 0}, headers=account.bearer).json()

    assert rotated["previousKeyExpiresAt"] is None
    assert [opens(psp, shown["apiKey"]), opens(psp, rotated["apiKey"])] == [False, True]


def test_only_the_last_two_texts_of_a_key_count(psp: Psp, account: Account) -> None:
    shown = made(psp, account.bearer)

    texts = [shown["apiKey"]]
    for _ in range(2):
        texts.append(psp.post(f"/api-keys/{shown['id']}/rotate", headers=account.bearer).json()["apiKey"])

    assert [opens(psp, text) for text in texts] == [False, True, True]


@pytest.mark.parametrize("hours", [-1, 25, 1.5, "1", None])
def test_an_overlap_is_0_to_24_hours(psp: Psp, merchant: Account, hours: Any) -> None:
    answer = psp.post("/api-keys/key_none/rotate", json={"overlapHours": hours}, headers=merchant.bearer)

    assert answer.status_code == 422


def test_a_revoked_key_opens_nothing_in_any_process(psp: Psp, patient_psp: Psp, account: Account) -> None:
    shown = made(psp, account.bearer)
    psp.post(f"/api-keys/{shown['id']}/rotate", headers=account.bearer)
    assert opens(patient_psp, shown["apiKey"])

    answer = psp.delete(f"/api-keys/{shown['id']}", headers=account.bearer)

    assert answer.json() == {"message": f"API key '{shown['id']}' revoked successfully."}
    assert not opens(patient_psp, shown["apiKey"])
    assert not opens(psp, shown["apiKey"])
    assert [one["name"] for one in listed(psp, account)] == ["default"]
    assert psp.delete(f"/api-keys/{shown['id']}", headers=account.bearer).status_code == 404


def test_anothers_key_looks_like_a_missing_one(psp: Psp, account: Account, merchant: Account) -> None:
    shown = made(psp, account.bearer)

    for who in (merchant.key, merchant.bearer, psp.root()):
        answers = [
            psp.post(f"/api-keys/{shown['id']}/rotate", headers=who),
            psp.delete(f"/api-keys/{shown['id']}", headers=who),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["detail"]) == (404, f"API key '{shown['id']}' not found.")
    assert opens(psp, shown["apiKey"])


@pytest.mark.parametrize("key_id", ["key_none", "key_\u00e9", "\u202e", "\ufffd"])
def test_a_key_that_nobody_has_is_missing_whatever_its_id(psp: Psp, account: Account, key_id: str) -> None:
    for answer in (
        psp.post(f"/api-keys/{key_id}/rotate", headers=account.bearer),
        psp.delete(f"/api-keys/{key_id}", headers=account.bearer),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, f"API key '{key_id}' not found.")


def test_an_account_has_no_more_than_20_keys_however_many_are_asked_for_at_once(psp: Psp, account: Account) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: make(psp, account.bearer), range(MOST_KEYS + 4)))

    refused = [answer for answer in answers if answer.status_code != 201]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(409, "too_many_api_keys")}
    assert len(refused) == 5
    assert len({one["id"] for one in listed(psp, account)}) == MOST_KEYS
    psp.delete(f"/api-keys/{listed(psp, account)[0]['id']}", headers=account.bearer)
    assert make(psp, account.bearer).status_code == 201


def test_what_is_done_with_keys_is_written_down(psp: Psp, account: Account, database: Database) -> None:
    shown = made(psp, account.key, "events:read", allowedNetworks=["::1"])
    psp.post(f"/api-keys/{shown['id']}/rotate", json={"overlapHours": 0}, headers=account.bearer)
    psp.delete(f"/api-keys/{shown['id']}", headers=account.both)

    found = list(database["audit"].find({"account_id": account.id, "action": {"$regex": "api_key"}}).sort("_id", 1))
    assert [(row["action"], row["target_id"]) for row in found] == [
        (action, shown["id"]) for action in ("api_key.made", "api_key.rotated", "api_key.revoked")
    ]
    state = {"name": "test", "scopes": "events:read", "expires_at": None, "allowed_networks": "::1/128"}
    unset = {"previous_ends_at": None}
    assert [(row["before"], row["after"]) for row in found] == [(None, state), (unset, unset), (state, None)]


def test_a_key_that_cannot_be_written_down_is_not_made(
    psp: Psp, account: Account, mongo: pymongo.MongoClient[Row], database: Database
) -> None:
    refused = {"failCommands": ["insert"], "namespace": f"{database.name}.audit", "errorCode": 50}
    mongo.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=refused)
    try:
        assert make(psp, account.bearer).status_code == 503
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")
    assert [one["name"] for one in listed(psp, account)] == ["default"]


def used_at(psp: Psp, account: Account, after: str | None) -> str:
    """When the first key was last used, once that is another time than before."""
    deadline = time.monotonic() + 30
    while (at := listed(psp, account)[-1]["lastUsedAt"]) == after:
        assert time.monotonic() < deadline, "the last use is not written down"
        time.sleep(0.05)
    return str(at)


def test_the_last_use_is_written_down_once_a_minute(psp: Psp, account: Account, database: Database) -> None:
    assert opens(psp, account.api_key)
    first = used_at(psp, account, None)

    assert abs(datetime.fromisoformat(first) - datetime.now(UTC)) < timedelta(minutes=1)
    before = database["users"].find_one({"_id": account.id})
    assert opens(psp, account.api_key)
    time.sleep(1.5)
    assert database["users"].find_one({"_id": account.id}) == before
    ago = datetime.now(UTC) - timedelta(minutes=2)
    database["users"].update_one({"_id": account.id}, {"$set": {"api_keys.0.last_used_at": ago}})
    aged = listed(psp, account)[-1]["lastUsedAt"]
    assert opens(psp, account.api_key)
    assert datetime.fromisoformat(used_at(psp, account, aged)) > ago


def test_where_the_last_use_cannot_be_written_down_nothing_else_suffers(
    psp: Psp, account: Account, mongo: pymongo.MongoClient[Row], database: Database
) -> None:
    refused = {"failCommands": ["update"], "namespace": f"{database.name}.users", "errorCode": 50}
    mongo.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=refused)
    try:
        assert opens(psp, account.api_key)
        time.sleep(1.5)
        assert opens(psp, account.api_key)
        assert listed(psp, account)[0]["lastUsedAt"] is None
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")
    assert opens(psp, account.api_key)
    assert used_at(psp, account, None)
