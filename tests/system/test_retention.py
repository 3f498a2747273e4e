"""Retention: what is older than RETENTION_DAYS goes by itself, but for what is still to be done."""

import asyncio
import datetime
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pymongo
import pytest

from core.database import Database
from repositories.indexes import RETENTION, create_indexes, keep_for
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.factories import Account, Psp

Row = dict[str, Any]
DATABASE = "retention"
DAY_S = 24 * 3600
LOOK = {"setParameter": 1, "ttlMonitorSleepSecs": 1}
"""MongoDB looks for what has expired once a minute, unless it is told to look more often."""


@pytest.fixture
def brisk(mongo: pymongo.MongoClient[Row]) -> Iterator[None]:
    before = mongo.admin.command(LOOK)["was"]
    yield
    mongo.admin.command({**LOOK, "ttlMonitorSleepSecs": before})


def until(look: Callable[[], Any], timeout_s: float = 120) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)
    return found


def rows(owner_id: str, age: str, at: datetime.datetime) -> dict[str, list[Row]]:
    """One of each kind, all of that age; nothing of it is due."""
    own = {"owner_id": owner_id, "created_at": at}
    later = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
    event = {"type": "customer.updated", "object_id": age, "stream_id": age, "sequence": 1, "body": b"{}"}
    delivery = {"event_id": f"evt_{age}", "event_type": "customer.updated", "stream_id": age, "sequence": 1}
    delivery |= {"target": "http://127.0.0.1:9", "url": "http://127.0.0.1:9", "failures": 0, "attempts": []}
    webhook = {"message_id": age, "event": "x", "body": b"{}", "state": "processed", "received_at": at}
    job = {"since": at, "until": at, "patterns": ["*"], "failed_only": False, "endpoint_id": None, "events_total": 0}
    job |= {"updated_at": at, "events_read": 0, "deliveries_made": 0}
    return {
        "events": [{"_id": f"evt_{age}", **own, **event}],
        "deliveries": [
            {"_id": f"dlv_{age}_{state}", **own, **delivery, "state": state, "due_at": later}
            for state in ("pending", "delivered", "dead")
        ],
        "incoming_webhooks": [{"_id": f"inw_{age}", "owner_id": owner_id, **webhook}],
        "resend_jobs": [
            {"_id": f"rsj_{age}_{status}", **own, **job, "status": status}
            for status in ("running", "completed", "cancelled")
        ],
    }


def shown(psp: Psp, account: Account) -> dict[str, set[str]]:
    lists = {"deliveries": "deliveries", "incoming-webhooks": "incomingWebhooks", "resend-jobs": "resendJobs"}
    return {
        path: {one["id"] for one in psp.get(f"/{path}", headers=account.key).json()[name]}
        for path, name in lists.items()
    }


@pytest.mark.usefixtures("brisk")
def test_what_is_older_goes_but_for_what_is_still_to_be_done(
    start_server: Callable[..., Server], mongo: pymongo.MongoClient[Row]
) -> None:
    server = start_server(RETENTION_DAYS="2", MONGODB_DB="retained")
    database, now = mongo["retained"], datetime.datetime.now(datetime.UTC)
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register()
        for age, days in (("old", 2.01), ("young", 1.9)):
            for name, made in rows(account.id, age, now - datetime.timedelta(days=days)).items():
                database[name].insert_many(made)

        until(lambda: not database.incoming_webhooks.count_documents({"_id": "inw_old"}))
        until(
            lambda: (
                shown(psp, account)["deliveries"]
                == {"dlv_old_pending", "dlv_young_pending", "dlv_young_delivered", "dlv_young_dead"}
            )
        )
        until(
            lambda: (
                shown(psp, account)["resend-jobs"]
                == {"rsj_old_running", "rsj_young_running", "rsj_young_completed", "rsj_young_cancelled"}
            )
        )
        until(lambda: psp.get("/events/evt_old", headers=account.key).status_code == 404)
        assert psp.get("/events/evt_young", headers=account.key).status_code == 200
        assert shown(psp, account)["incoming-webhooks"] == {"inw_young"}

        # What waits is sent no more when it is due: nobody knows what it was to say.
        database.deliveries.update_one({"_id": "dlv_old_pending"}, {"$set": {"due_at": now}})
        gone = until(
            lambda: (
                database.deliveries.find_one({"_id": "dlv_old_pending", "state": "dead"})
                or not (database.deliveries.count_documents({"_id": "dlv_old_pending"}))
            )
        )
        assert gone is True or gone["dead_reason"] == "event_gone"


def expiries(mongo: pymongo.MongoClient[Row]) -> dict[str, int | None]:
    return {
        name: mongo[DATABASE][name].index_information().get("retention", {}).get("expireAfterSeconds")
        for name in RETENTION
    }


async def test_the_days_follow_the_setting_however_many_start_at_once(mongo: pymongo.MongoClient[Row]) -> None:
    mongo.drop_database(DATABASE)
    uri = f"mongodb://{mongo.address[0]}:{mongo.address[1]}/?directConnection=true"  # type: ignore[index]
    processes = [Database(uri, DATABASE) for _ in range(4)]
    await create_indexes(processes[0])
    for days in (None, 30, 30, 7, 24_855, None, None, 1):
        await asyncio.gather(*(keep_for(database, days) for database in processes))
        after_s = None if days is None else days * DAY_S
        assert expiries(mongo) == dict.fromkeys(RETENTION, after_s), days
    for name, (field, only) in RETENTION.items():
        made = mongo[DATABASE][name].index_information()["retention"]
        assert (made["key"], made.get("partialFilterExpression")) == ([(field, 1)], only)
    for database in processes:
        database.close()
    mongo.drop_database(DATABASE)


def test_by_default_everything_is_kept(server: Server, mongo: pymongo.MongoClient[Row]) -> None:
    assert not any("retention" in mongo["tests"][name].index_information() for name in RETENTION)
