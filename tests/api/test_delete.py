"""The generic DELETE, in all its texts; deleting hides and keeps."""

from typing import Any

import httpx
import pytest
from pymongo.database import Database

from tests.factories import Account, Psp
from tests.receiver import Receiver

ONLY_OWNER = (403, "Access denied. Only transaction owner or admin/system_admin can delete.")
ONLY_ADMIN = (403, "Access denied. Only system_admin/admin can delete users.")


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("detail") or answer.json()["message"]


@pytest.mark.parametrize("resource", ["transactions", "payments"])
@pytest.mark.parametrize("role", ["owner", "admin", "system_admin"])
def test_a_transaction_is_deleted_by_its_owner_and_by_admins(
    shared_psp: Psp, merchant: Account, admin: Account, root: dict[str, str], resource: str, role: str
) -> None:
    payment_id = shared_psp.charge(merchant).json()["id"]
    headers = {"owner": merchant.bearer, "admin": admin.bearer, "system_admin": root}[role]

    answer = shared_psp.delete(f"/{resource}/{payment_id}", headers=headers)

    assert outcome(answer) == (200, f"Transaction '{payment_id}' deleted successfully.")
    assert set(answer.json()) == {"message"}
    again = shared_psp.delete(f"/{resource}/{payment_id}", headers=headers)
    assert outcome(again) == (404, f"Transaction '{payment_id}' not found.")


def test_another_accounts_transaction_is_not_deleted(shared_psp: Psp, merchant: Account, user: Account) -> None:
    payment_id = shared_psp.charge(merchant).json()["id"]

    assert outcome(shared_psp.delete(f"/transactions/{payment_id}", headers=user.bearer)) == ONLY_OWNER
    assert shared_psp.get(f"/payments/{payment_id}", headers=merchant.key).status_code == 200


@pytest.mark.parametrize("payment_id", ["txn_none", "$ne", "%00", "x" * 3000])
def test_a_transaction_that_nobody_has_is_not_found(shared_psp: Psp, user: Account, payment_id: str) -> None:
    answer = shared_psp.delete(f"/transactions/{payment_id}", headers=user.bearer)

    assert outcome(answer) == (404, f"Transaction '{payment_id.replace('%00', chr(0))}' not found.")


def test_a_deleted_transaction_is_shown_nowhere_and_kept(psp: Psp, admin: Account, database: Database[Any]) -> None:
    account = psp.register("merchant")
    gone = psp.charge(account, {"Idempotency-Key": "k"})
    payment_id = gone.json()["id"]
    kept_id = psp.charge(account).json()["id"]

    psp.delete(f"/transactions/{payment_id}", headers=account.bearer)

    assert outcome(psp.get(f"/payments/{payment_id}", headers=account.key))[0] == 404
    assert psp.patch(f"/payments/{payment_id}", json={"details": "x"}, headers=account.key).status_code == 404
    assert psp.post(f"/payments/{payment_id}/cancel", headers=account.key).status_code == 404
    for answer in (
        psp.get("/payments/all", headers=account.key),
        psp.get("/payments/query", headers=account.both),
        psp.get("/admin/payments", params={"ownerId": account.id}, headers=admin.bearer),
    ):
        assert [one["id"] for one in answer.json()["transactions"]] == [kept_id]
        assert answer.json()["totalTransactions"] == 1
    assert database.payments.count_documents({"_id": payment_id}) == 1
    # The key's answer is that of the creation, whatever has happened to the object since.
    assert psp.charge(account, {"Idempotency-Key": "k"}).content == gone.content


def test_deleting_a_pending_payment_cancels_it_first_and_tells(
    patient_psp: Psp, merchant: Account, receiver: Receiver
) -> None:
    payment_id = patient_psp.charge(merchant, webhookUrl=receiver.url).json()["id"]

    assert patient_psp.delete(f"/transactions/{payment_id}", headers=merchant.bearer).status_code == 200

    told = sorted(webhook.body for webhook in receiver.wait_for(2))
    assert b'"event":"payment.cancelled"' in told[0] + told[1]
    assert b'"status":"cancelled"' in told[0] + told[1]


def test_deleting_a_completed_payment_changes_nothing_but_what_is_shown(
    psp: Psp, merchant: Account, database: Database[Any]
) -> None:
    payment_id = psp.completed(merchant)["id"]

    psp.delete(f"/transactions/{payment_id}", headers=merchant.bearer)

    stored = database.payments.find_one({"_id": payment_id})
    assert stored is not None
    assert (stored["status"], stored["deleted"], stored["sequence"]) == ("completed", True, 3)


def test_users_are_deleted_by_admins_only(psp: Psp, user: Account, merchant: Account) -> None:
    for account, target in ((user, merchant.id), (merchant, user.id), (user, user.id), (user, "user_none")):
        assert outcome(psp.delete(f"/users/{target}", headers=account.bearer)) == ONLY_ADMIN


@pytest.mark.parametrize("role", ["user", "merchant"])
def test_an_admin_deletes_users_and_merchants(psp: Psp, admin: Account, role: str) -> None:
    account = psp.register(role)

    answer = psp.delete(f"/users/{account.id}", headers=admin.bearer)

    assert outcome(answer) == (200, f"User '{account.id}' deleted successfully.")
    again = psp.delete(f"/users/{account.id}", headers=admin.bearer)
    assert outcome(again) == (404, f"User '{account.id}' not found.")
    assert psp.get(f"/users/{account.id}", headers=admin.bearer).status_code == 404
    assert psp.get("/users", params={"email": account.email}, headers=admin.bearer).json()["users"] == []


def test_a_deleted_accounts_address_is_free_again(psp: Psp, admin: Account) -> None:
    account = psp.register("user")
    psp.delete(f"/users/{account.id}", headers=admin.bearer)

    again = psp.register("user", email=account.email)

    assert again.id != account.id


def test_an_admin_deletes_no_admin(psp: Psp, admin: Account, root: dict[str, str]) -> None:
    other = psp.register("admin")
    root_id = psp.get("/users/me", headers=root).json()["id"]

    for target in (other.id, root_id):
        answer = psp.delete(f"/users/{target}", headers=admin.bearer)
        assert answer.status_code == 403
        assert admin.id not in answer.text
    assert psp.delete(f"/users/{other.id}", headers=root).status_code == 200


def test_admins_do_not_delete_themselves(psp: Psp, admin: Account, root: dict[str, str]) -> None:
    root_id = psp.get("/users/me", headers=root).json()["id"]

    for target, headers in ((admin.id, admin.bearer), (root_id, root)):
        answer = psp.delete(f"/users/{target}", headers=headers)
        assert outcome(answer) == (400, "Admins cannot delete their own user account.")
        assert psp.get("/users/me", headers=headers).status_code == 200


def test_a_user_that_nobody_has_is_not_found(shared_psp: Psp, admin: Account) -> None:
    answer = shared_psp.delete("/users/user_none", headers=admin.bearer)

    assert outcome(answer) == (404, "User 'user_none' not found.")


@pytest.mark.parametrize("resource", ["nonsense", "user", "Transactions", "accounts", "admin", "%00", "$ne", "payment"])
def test_any_other_resource_is_refused_once_the_token_is_good(shared_psp: Psp, user: Account, resource: str) -> None:
    answer = shared_psp.delete(f"/{resource}/x", headers=user.bearer)

    assert outcome(answer) == (400, "Invalid resource type. Must be 'transactions' or 'users'.")
    assert outcome(shared_psp.delete(f"/{resource}/x")) == (401, "Authorization header missing.")


def test_a_deleted_accounts_payments_come_to_their_end(psp: Psp, admin: Account, receiver: Receiver) -> None:
    account = psp.register("merchant")
    psp.charge(account, webhookUrl=receiver.url)

    psp.delete(f"/users/{account.id}", headers=admin.bearer)

    events = {webhook.body.split(b'"event":"')[1].split(b'"')[0] for webhook in receiver.wait_for(3)}
    assert events == {b"payment.created", b"payment.processing", b"payment.completed"}
