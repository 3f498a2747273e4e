"""Cursors: a place in one list, with its filters and in its order, and in no other."""

import base64
import json
from typing import Any

import httpx
import pytest

from domain.signing import plain_signature
from tests.api.test_deliveries import listed
from tests.factories import Account, Psp, card
from tests.receiver import Receiver
from tests.scale import scaled

Headers = dict[str, str]
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}


class Lists:
    """Every list, with at least two rows in each."""

    def __init__(self, account: Account, root: Headers, customer_id: str, endpoint_id: str):
        self._headers = {"/users": root, "/admin/payments": root, "/payments/query": account.both}
        self._own = account.key
        self.paths = (
            "/payments/all",
            "/payments/query?sortOrder=asc",
            "/payments/query?sortBy=amount",
            "/payments/query?status=partially_refunded",
            "/payments/query?createdFrom=2020-01-01T00:00:00Z",
            "/admin/payments",
            "/refunds",
            "/payment-keys",
            "/customers",
            "/customers?name=a",
            f"/customers/{customer_id}/cards",
            f"/customers/{customer_id}/payments",
            "/events",
            "/events?type=payment.*",
            "/events?type=payment.created",
            "/webhook-endpoints",
            "/deliveries",
            f"/webhook-endpoints/{endpoint_id}/deliveries",
            "/deliveries?status=delivered",
            "/resend-jobs",
            "/incoming-webhooks",
            "/users",
            "/users?role=merchant",
        )

    def get(self, psp: Psp, path: str, **query: str) -> httpx.Response:
        name, _, filters = path.partition("?")
        params = {**dict(one.split("=") for one in filters.split("&") if one), "limit": "1", **query}
        return psp.get(name, params=params, headers=self._headers.get(name, self._own))

    def cursor(self, psp: Psp, path: str) -> str:
        answer = self.get(psp, path)
        cursor: str | None = answer.json()["nextCursor"]
        assert cursor is not None, (path, answer.text)
        return cursor


@pytest.fixture(scope="module")
def lists(shared_psp: Psp, root: Headers, merchant: Account) -> Lists:
    account, psp = shared_psp.register(), shared_psp

    def post(path: str, **body: Any) -> dict[str, Any]:
        answer = psp.post(path, json=body, headers=account.key)
        assert answer.is_success, answer.text
        return dict(answer.json())

    customer_id, _ = (post("/customers", name=name)["id"] for name in ("Ada", "Alan"))
    with Receiver() as receiver:
        endpoint = {"url": receiver.url, "events": ["payment.*"]}
        endpoint_id, _ = (post("/webhook-endpoints", **endpoint)["id"] for _ in range(2))
        for number in range(2):
            payment = psp.completed(account, customerId=customer_id, card=card())
            post("/refunds", paymentId=payment["id"], amount=1)
            post("/payment-keys")
            post(f"/customers/{customer_id}/cards", card=card())
            body = json.dumps({"id": f"evt_{number}", "event": "x", "data": {}}).encode()
            signed = {"X-Signature": plain_signature(account.webhook_secret, body), "Content-Type": "application/json"}
            psp.post("/webhook-receive", content=body, headers={**account.key, **signed})
        listed(psp, account, 16, status="delivered")
    for _ in range(2):
        post("/resend-jobs", **{**EVER, "to": EVER["from"]})
    return Lists(account, root, customer_id, endpoint_id)


def test_a_cursor_leads_on_in_its_own_list_in_every_process_and_with_another_limit(
    psp: Psp, patient_psp: Psp, lists: Lists
) -> None:
    for path in lists.paths:
        first, cursor = lists.get(psp, path), lists.cursor(psp, path)
        for process, limit in ((psp, "1"), (patient_psp, "2")):
            answer = lists.get(process, path, cursor=cursor, limit=limit)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.json() != first.json()


@pytest.mark.scaled
def test_a_cursor_of_another_list_or_filter_or_order_is_refused(psp: Psp, lists: Lists) -> None:
    cursors = [lists.cursor(psp, path) for path in lists.paths]

    for place, path in enumerate(lists.paths):
        for further in scaled((1, 11), range(1, len(cursors))):  # the next is often the same list, filtered otherwise
            other = (place + further) % len(cursors)
            answer = lists.get(psp, path, cursor=cursors[other])
            assert answer.status_code == 422, (path, lists.paths[other])
            assert answer.json()["detail"][0]["loc"] == ["query", "cursor"]


NO_MOMENTS = [2**63, 253402300800000, 2**63 - 1, 10**18, -(2**63), -62135596800001]


@pytest.mark.scaled
@pytest.mark.parametrize("number", NO_MOMENTS[: scaled(2, None)])
def test_a_cursor_at_no_moment_is_refused(psp: Psp, lists: Lists, number: int) -> None:
    for path in lists.paths:
        given = lists.cursor(psp, path)
        mark, _, last = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
        cursor = base64.urlsafe_b64encode(json.dumps([mark, number, last]).encode()).decode()

        answer = lists.get(psp, path, cursor=cursor)

        if path != "/payments/query?sortBy=amount":  # any number may be an amount
            assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "cursor"]), path
        assert answer.status_code < 500


def test_a_cursor_of_another_account_is_refused(psp: Psp, lists: Lists, merchant: Account) -> None:
    answer = psp.get("/events", params={"cursor": lists.cursor(psp, "/events")}, headers=merchant.key)

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["query", "cursor"])
