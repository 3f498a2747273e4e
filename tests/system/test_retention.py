"""Retention: what is older than RETENTION_DAYS goes by itself, but for what is still to be done."""

import asyncio
import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pymongo.database
import pytest

from core import embedded_mongo
from core.database import Database
from repositories.indexes import RETENTION, create_indexes, keep_for
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server, serving
from tests.factories import Account, Psp
from tests.waiting import until

Row = dict[str, Any]
DATABASE = "retention"
DAY_S = 24 * 3600


@pytest.fixture
def brisk(tmp_path: Path) -> Iterator[tuple[Server, pymongo.database.Database[Row]]]:
    """A server whose MongoDB looks for what has expired every second, and not once a minute."""
    looks = ("--setParameter", "ttlMonitorSleepSecs=1")
    own = embedded_mongo.start(tmp_path / "data", extra_args=looks)
    settings = {"DATA_DIR": str(tmp_path / "data"), "MONGODB_DB": DATABASE, "RETENTION_DAYS": "2"}
    with (
        pymongo.MongoClient[Row](own.uri, tz_aware=True) as mongo,
        serving(tmp_path / "server.log", **settings) as server,
    ):
        yield server, mongo[DATABASE]
    own.close()


def rows(owner_id: str, age: str, at: datetime.datetime) -> dict[str, list[Row]]:
    """One of each kind, all of that age; nothing of it is due."""
    own = {"owner_id": owner_id, "created_at": at}
    later = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
    event = {"type": "customer.updated", "object_id": age, "stream_id": age, "sequence": 1}
    event["body"] = f'{{"id":"evt_{age}"}}'.encode()
    delivery = {"event_id": f"evt_{age}", "event_type": "customer.updated", "stream_id": age, "sequence": 1}
    delivery |= {
        "updated_at": at,
        "target": "http://127.0.0.1:9",
        "url": "http://127.0.0.1:9",
        "failures": 0,
        "attempts": [],
    }
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
            {"_id": f"rsj_{age}_running", **own, **job, "status": "running"},
            *(
                {"_id": f"rsj_{age}_{status}", **own, **job, "status": status, "ended_at": at}
                for status in ("completed", "cancelled")
            ),
        ],
    }


def shown(psp: Psp, account: Account) -> dict[str, set[str]]:
    lists = {
        "events": "events",
        "deliveries": "deliveries",
        "incoming-webhooks": "incomingWebhooks",
        "resend-jobs": "resendJobs",
    }
    return {
        path: {one["id"] for one in psp.get(f"/{path}", headers=account.key).json()[name]}
        for path, name in lists.items()
    }


@pytest.mark.long
def test_what_is_older_goes_but_for_what_is_still_to_be_done(
    brisk: tuple[Server, pymongo.database.Database[Row]],
) -> None:
    server, database = brisk
    now = datetime.datetime.now(datetime.UTC)
    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        account = psp.register()
        for age, days in (("old", 2.01), ("young", 1.9)):
            for name, made in rows(account.id, age, now - datetime.timedelta(days=days)).items():
                database[name].insert_many(made)

        until(lambda: "evt_old" not in (kept := shown(psp, account))["events"] and len(kept["resend-jobs"]) == 4)
        until(lambda: len(shown(psp, account)["deliveries"]) == 4)
        until(lambda: len(shown(psp, account)["incoming-webhooks"]) == 1)
        assert shown(psp, account) == {
            "events": {"evt_young"},
            "deliveries": {"dlv_old_pending", "dlv_young_pending", "dlv_young_delivered", "dlv_young_dead"},
            "incoming-webhooks": {"inw_young"},
            "resend-jobs": {"rsj_old_running", "rsj_young_running", "rsj_young_completed", "rsj_young_cancelled"},
        }

        # Nobody knows any more what it was to say. That it was given up is kept as long as anything.
        database.deliveries.update_one({"_id": "dlv_old_pending"}, {"$set": {"due_at": now}})
        path = "/deliveries/dlv_old_pending"
        dead = until(lambda: (found := psp.get(path, headers=account.key).json())["status"] == "dead" and found)
        assert dead["deadReason"] == "event_gone"
        time.sleep(2.5)
        assert psp.get(path, headers=account.key).json() == dead


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
        requests = mongo[DATABASE]["request_logs"].index_information()["retention"]
        assert requests["expireAfterSeconds"] == min(days or 7, 7) * DAY_S, "whatever else is kept"
    for name, (field, only) in RETENTION.items():
        made = mongo[DATABASE][name].index_information()["retention"]
        assert (made["key"], made.get("partialFilterExpression")) == ([(field, 1)], only)
    for database in processes:
        database.close()
    mongo.drop_database(DATABASE)


def test_by_default_everything_is_kept(server: Server, mongo: pymongo.MongoClient[Row]) -> None:
    assert not any("retention" in mongo["tests"][name].index_information() for name in RETENTION)
