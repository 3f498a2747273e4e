"""An account's own webhook secret exchanged: what it sends and what is sent to it verify all the while."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pymongo.database
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.security import new_webhook_secret
from domain.signing import plain_signature, standard_signature, valid_secret
from tests.factories import Account, Psp
from tests.receiver import Received, Receiver

Row = dict[str, Any]
Database = pymongo.database.Database[Row]
Headers = dict[str, str]
ROTATE = "/users/me/webhook-secret/rotate"
BODY = json.dumps({"id": "evt_1", "event": "order.paid", "data": {}}).encode()


def rotate(psp: Psp, account: Account, **fields: Any) -> Row:
    answer = psp.post(ROTATE, json=fields, headers=account.key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def end_the_overlap(database: Database, account: Account) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    ended = database["users"].update_one({"_id": account.id}, {"$set": {"previous_webhook_secret_ends_at": past}})
    assert ended.modified_count == 1


def fits(secret: str, request: Received) -> bool:
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


def plain(secret: str) -> Headers:
    return {"X-Signature": plain_signature(secret, BODY)}


def standard(*secrets: str) -> Headers:
    at = datetime.now(UTC)
    signatures = [Webhook(secret).sign("msg_1", at, BODY.decode()) for secret in secrets]
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def receive(psp: Psp, account: Account, headers: Headers) -> int:
    sent = {"Content-Type": "application/json", **account.key, **headers}
    return psp.post("/webhook-receive", content=BODY, headers=sent).status_code


def lives(psp: Psp, account: Account, secret: str) -> bool:
    """Whether what is signed with it is received, which is the same under both schemes."""
    statuses = {receive(psp, account, headers) for headers in (plain(secret), standard(secret))}
    assert statuses in ({200}, {401})
    return statuses == {200}


# The route


def test_a_new_secret_is_shown_with_the_end_of_the_old_one(psp: Psp) -> None:
    account = psp.register("user")

    rotated = rotate(psp, account, overlapDays=7)

    assert rotated.keys() == {"webhookSecret", "previousSecretExpiresAt"}
    assert valid_secret(rotated["webhookSecret"])
    assert rotated["webhookSecret"] != account.webhook_secret
    ends_at = datetime.fromisoformat(rotated["previousSecretExpiresAt"])
    assert abs(ends_at - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
    me = psp.get("/users/me", headers=account.bearer)
    assert rotated["webhookSecret"] not in me.text, "it is shown once"
    assert me.json()["updatedAt"] > me.json()["createdAt"]


@pytest.mark.parametrize("body", [b"", b"{}", b"null"])
def test_without_a_body_the_old_secret_ends_after_a_day(psp: Psp, user: Account, body: bytes) -> None:
    headers = {**user.key, "Content-Type": "application/json"}

    answer = psp.post(ROTATE, content=body, headers=headers)

    assert answer.status_code == 200, answer.text
    ends_at = datetime.fromisoformat(answer.json()["previousSecretExpiresAt"])
    assert abs(ends_at - datetime.now(UTC) - timedelta(days=1)) < timedelta(minutes=1)


@pytest.mark.parametrize("role", ["user", "merchant", "admin"])
@pytest.mark.parametrize("credential", ["key", "bearer", "both"])
def test_every_role_rotates_its_own_with_either_credential(psp: Psp, role: str, credential: str) -> None:
    account = psp.register(role)

    answer = psp.post(ROTATE, headers=getattr(account, credential))

    assert answer.status_code == 200, answer.text
    assert lives(psp, account, answer.json()["webhookSecret"])


@pytest.mark.parametrize("days", [-1, 8, 0.5, "1", True, None, [1], {"$gt": 0}])
def test_an_overlap_is_of_nought_to_seven_days(psp: Psp, user: Account, database: Database, days: object) -> None:
    but_for_last_uses = {"api_keys.last_used_at": 0}
    before = database["users"].find_one({"_id": user.id}, but_for_last_uses)

    answer = psp.post(ROTATE, json={"overlapDays": days}, headers=user.key)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "overlapDays"])
    assert database["users"].find_one({"_id": user.id}, but_for_last_uses) == before


def test_an_idempotency_key_replays_no_secret(psp: Psp) -> None:
    account = psp.register("user")

    answers = [psp.post(ROTATE, headers={**account.key, "Idempotency-Key": "k"}) for _ in range(2)]

    first, second = (answer.json()["webhookSecret"] for answer in answers)
    assert first != second
    assert not any("idempotent-replayed" in answer.headers for answer in answers)


def test_a_rotation_touches_no_other_account(psp: Psp) -> None:
    account, other = psp.register("user"), psp.register("user")

    rotated = rotate(psp, account, overlapDays=0)

    assert lives(psp, other, other.webhook_secret)
    assert not lives(psp, other, rotated["webhookSecret"])
    assert not lives(psp, other, account.webhook_secret)


def test_a_deleted_account_rotates_nothing(psp: Psp, root: Headers) -> None:
    account = psp.register("user")
    psp.delete(f"/users/{account.id}", headers=root)

    answers: list[httpx.Response] = [psp.post(ROTATE, headers=headers) for headers in (account.key, account.bearer)]

    assert [answer.status_code for answer in answers] == [401, 401]


# What is sent to the account


def test_while_a_rotation_overlaps_either_secret_is_received_and_then_the_new_one_alone(
    psp: Psp, database: Database
) -> None:
    account = psp.register("user")
    assert "previous_webhook_secret_ends_at" not in (database["users"].find_one({"_id": account.id}) or {}), (
        "an account of an older version has none either"
    )
    assert lives(psp, account, account.webhook_secret)

    new, old = rotate(psp, account)["webhookSecret"], account.webhook_secret

    for headers in (
        *(plain(secret) for secret in (new, old)),
        *(standard(secret) for secret in (new, old)),
        standard(new_webhook_secret(), old),
        {**plain(new), **standard(old)},
        {**plain(old), **standard(new)},
    ):
        assert receive(psp, account, headers) == 200, headers
    assert not lives(psp, account, new_webhook_secret())

    end_the_overlap(database, account)
    stored = database["incoming_webhooks"].count_documents({"owner_id": account.id})
    refused = psp.get("/incoming-webhooks", headers=account.key).json()["refused"]["wrong"]

    assert lives(psp, account, new)
    for headers in (plain(old), standard(old), {**plain(new), **standard(old)}, {**plain(old), **standard(new)}):
        assert receive(psp, account, headers) == 401, headers
    assert receive(psp, account, standard(old, new)) == 200, "one signature that fits is enough"
    assert database["incoming_webhooks"].count_documents({"owner_id": account.id}) == stored
    assert psp.get("/incoming-webhooks", headers=account.key).json()["refused"]["wrong"] == refused + 4


def test_the_same_message_signed_with_the_other_secret_is_a_duplicate(psp: Psp) -> None:
    account = psp.register("user")
    new = rotate(psp, account)["webhookSecret"]

    for sign in (plain, standard):
        answers = []
        for secret in (new, account.webhook_secret):
            sent = {"Content-Type": "application/json", **account.key, **sign(secret)}
            answers.append(psp.post("/webhook-receive", content=BODY, headers=sent).json()["duplicate"])
        assert answers == [False, True]


def test_without_an_overlap_the_old_secret_ends_at_once(psp: Psp, receiver: Receiver) -> None:
    account = psp.register("user")

    rotated = rotate(psp, account, overlapDays=0)
    psp.charge(account, webhookUrl=receiver.url)

    assert rotated["previousSecretExpiresAt"] is None
    assert lives(psp, account, rotated["webhookSecret"])
    assert not lives(psp, account, account.webhook_secret)
    request = receiver.wait_for(1)[0]
    assert (fits(rotated["webhookSecret"], request), fits(account.webhook_secret, request)) == (True, False)
    assert request.headers["x-signature"] == plain_signature(rotated["webhookSecret"], request.body)


def test_two_secrets_at_most_are_live(psp: Psp) -> None:
    account = psp.register("user")

    first, second = (rotate(psp, account, overlapDays=7)["webhookSecret"] for _ in range(2))

    assert [lives(psp, account, secret) for secret in (second, first, account.webhook_secret)] == [True, True, False]


def test_a_secret_whose_overlap_is_over_does_not_come_back(psp: Psp, database: Database) -> None:
    account = psp.register("user")
    first = rotate(psp, account)["webhookSecret"]
    end_the_overlap(database, account)

    second = rotate(psp, account)["webhookSecret"]

    assert [lives(psp, account, secret) for secret in (second, first, account.webhook_secret)] == [True, True, False]


# A secret that no key of ENCRYPTION_KEY opens


@pytest.fixture
def locked_out(psp: Psp, database: Database) -> Account:
    """An account whose secret is sealed under a key that the service does not have."""
    account = psp.register("user")
    database["users"].update_one({"_id": account.id}, {"$set": {"webhook_secret": b"old!" + os.urandom(80)}})
    return account


def test_what_cannot_be_judged_for_want_of_a_key_is_to_be_sent_again_later(psp: Psp, locked_out: Account) -> None:
    for headers in (plain(locked_out.webhook_secret), standard(locked_out.webhook_secret), {}):
        sent = {"Content-Type": "application/json", **locked_out.key, **headers}
        answer = psp.post("/webhook-receive", content=BODY, headers=sent)

        assert (answer.status_code, answer.json()["code"]) == (503, "secret_unreadable")
        assert int(answer.headers["Retry-After"]) > 0
    assert sum(psp.get("/incoming-webhooks", headers=locked_out.key).json()["refused"].values()) == 0


def test_a_secret_that_cannot_be_opened_is_exchanged_without_an_overlap(psp: Psp, locked_out: Account) -> None:
    refused = psp.post(ROTATE, headers=locked_out.key)

    assert (refused.status_code, refused.json()["code"]) == (503, "secret_unreadable")
    assert lives(psp, locked_out, rotate(psp, locked_out, overlapDays=0)["webhookSecret"])


# What the account sends


def test_while_a_rotation_overlaps_what_is_sent_verifies_with_both_and_then_with_the_new_one(
    psp: Psp, receiver: Receiver, database: Database
) -> None:
    account = psp.register("user")
    new, old = rotate(psp, account)["webhookSecret"], account.webhook_secret

    psp.completed(account, webhookUrl=receiver.url)

    for request in receiver.wait_for(3):
        assert (fits(new, request), fits(old, request)) == (True, True)
        sent_at = int(request.headers["webhook-timestamp"])
        newest_first = [
            standard_signature(secret, request.headers["webhook-id"], sent_at, request.body) for secret in (new, old)
        ]
        assert request.headers["webhook-signature"].split(" ") == newest_first
        assert request.headers["x-signature"] == plain_signature(old, request.body)

    end_the_overlap(database, account)
    psp.completed(account, webhookUrl=receiver.url)

    for request in receiver.wait_for(6)[3:]:
        assert (fits(new, request), fits(old, request)) == (True, False)
        assert request.headers["x-signature"] == plain_signature(new, request.body)


def test_an_endpoints_secret_is_another_one(psp: Psp, receiver: Receiver) -> None:
    account = psp.register()
    endpoint = {"url": receiver.url, "events": ["customer.created"]}
    endpoint = psp.post("/webhook-endpoints", json=endpoint, headers=account.key).json()

    new = rotate(psp, account, overlapDays=0)["webhookSecret"]
    psp.post("/customers", json={"name": "Ada"}, headers=account.key)

    (request,) = receiver.wait_for(1)
    assert (fits(endpoint["secret"], request), fits(new, request)) == (True, False)


# Several at once


def rotate_at_once(psp: Psp, account: Account, *overlaps_days: int) -> list[Row]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda days: rotate(psp, account, overlapDays=days), overlaps_days))


def test_of_two_rotations_at_once_both_answers_are_true_in_some_order(psp: Psp, database: Database) -> None:
    for _ in range(10):
        account = psp.register("user")

        answers = rotate_at_once(psp, account, 3, 7)

        assert all(lives(psp, account, answer["webhookSecret"]) for answer in answers)
        assert not lives(psp, account, account.webhook_secret), "the first to be exchanged, ended by the second"
        row = database["users"].find_one({"_id": account.id}) or {}
        ends_at = [datetime.fromisoformat(answer["previousSecretExpiresAt"]) for answer in answers]
        assert row["previous_webhook_secret_ends_at"] in ends_at


def test_beside_a_rotation_with_an_overlap_one_without_leaves_its_own_secret_live(psp: Psp) -> None:
    for _ in range(5):
        account = psp.register("user")

        without, _ = rotate_at_once(psp, account, 0, 7)

        assert lives(psp, account, without["webhookSecret"]), "as the only one, or as the one that overlaps"
        assert not lives(psp, account, account.webhook_secret)


def test_of_many_rotations_at_once_the_last_two_are_live(psp: Psp, database: Database) -> None:
    account = psp.register("user")

    secrets = {answer["webhookSecret"] for answer in rotate_at_once(psp, account, *[1] * 16)}

    assert len(secrets) == 16
    assert sum(lives(psp, account, secret) for secret in secrets) == 2
    written = {"action": "account.webhook_secret_rotated", "target_id": account.id}
    assert database["audit"].count_documents(written) == 16, "each once, however often it had to be tried"
