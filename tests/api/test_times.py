"""Times that clients send: understood in the same way wherever one is taken."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.test_deliveries import listed
from tests.factories import Account, Psp
from tests.receiver import Receiver

LISTS = {"/payments/query": "transactions", "/events": "events", "/deliveries": "deliveries"}
EVER = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}


@pytest.fixture(scope="module")
def history(shared_psp: Psp) -> Account:
    """An account to which something has happened just now."""
    account = shared_psp.register()
    with Receiver() as receiver:
        shared_psp.completed(account, webhookUrl=receiver.url)
        listed(shared_psp, account, 3, status="delivered")
    return account


def found(psp: Psp, account: Account, path: str, **query: str) -> int:
    answer = psp.get(path, params=query, headers=account.both)
    return 0 if answer.status_code == 404 else len(answer.json()[LISTS[path]])


@pytest.mark.parametrize("path", LISTS)
def test_a_time_without_a_zone_is_utc_and_a_date_its_first_moment(psp: Psp, history: Account, path: str) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    earlier, later = ((now + timedelta(minutes=minutes)).isoformat() for minutes in (-10, 10))
    yesterday, tomorrow = ((now + timedelta(days=days)).date().isoformat() for days in (-1, 1))

    everything = found(psp, history, path)
    assert everything > 0
    for query in ({"createdFrom": earlier}, {"createdTo": later}, {"createdFrom": yesterday}, {"createdTo": tomorrow}):
        assert found(psp, history, path, **query) == everything, query
    for query in ({"createdTo": earlier}, {"createdFrom": later}, {"createdTo": yesterday}, {"createdFrom": tomorrow}):
        assert found(psp, history, path, **query) == 0, query


@pytest.mark.parametrize(
    "moment",
    [
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01 00:00:00Z",
        "2020-01-01T01:00:00+01:00",
        "2020-01-01T00:00:00.0z",
    ],
)
def test_a_resend_job_shows_how_a_time_was_understood(psp: Psp, merchant: Account, moment: str) -> None:
    made = psp.post("/resend-jobs", json={**EVER, "from": moment}, headers=merchant.key)

    assert (made.status_code, made.json()["from"]) == (202, "2020-01-01T00:00:00.000Z")
    psp.post(f"/resend-jobs/{made.json()['id']}/cancel", headers=merchant.key)


@pytest.mark.parametrize("moment", ["1700000000", "1700000000000", "20260131", "12:00", "2026", "2026-1-1", "-1", ""])
def test_what_begins_with_no_date_is_refused_everywhere(psp: Psp, merchant: Account, moment: str) -> None:
    def loc(answer: Any) -> list[str]:
        assert answer.status_code == 422, answer.text
        return list(answer.json()["detail"][0]["loc"])

    for path in LISTS:
        assert loc(psp.get(path, params={"createdFrom": moment}, headers=merchant.both)) == ["query", "createdFrom"]
    assert loc(psp.post("/resend-jobs", json={**EVER, "to": moment}, headers=merchant.key)) == ["body", "to"]
