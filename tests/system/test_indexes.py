"""Indexes are made at the start, whatever an earlier version has left."""

import asyncio
from pathlib import Path
from typing import Any

import pymongo
import pytest

from core.database import Database
from repositories.indexes import INDEXES, create_indexes
from tests.processes import running

DATABASE = "indexes"


def test_what_is_unique_among_the_objects_of_an_account_can_be_kept_so_by_its_shard() -> None:
    unique = {
        name: [index.document for index in indexes if index.document.get("unique")] for name, indexes in INDEXES.items()
    }
    first_keys = {(name, index["name"]): next(iter(index["key"])) for name, made in unique.items() for index in made}

    of_all = {("users", "email"), ("users", "api_key"), ("audit", "chain")}
    assert {place for place, key in first_keys.items() if key != "owner_id"} == of_all
    assert len(first_keys) > len(of_all)


@pytest.mark.parametrize("starters", [1, 4])
async def test_an_index_of_an_older_version_is_replaced(mongo_uri: str, starters: int) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as mongo:
        mongo.drop_database(DATABASE)
        payments = mongo[DATABASE]["payments"]
        payments.create_index([("deleted", 1), ("owner_id", 1)], name="by_time")
        payments.create_index("updated_at", name="outbox")
        mongo[DATABASE]["signals"].insert_one({"_id": "work", "count": 1})
        processes = [Database(mongo_uri, DATABASE) for _ in range(starters)]
        await asyncio.gather(*(create_indexes(database) for database in processes))
        made = payments.index_information()
        assert mongo[DATABASE]["signals"].options()["capped"], "it was an ordinary collection"
        for database in processes:
            database.close()
        mongo.drop_database(DATABASE)
    for index in INDEXES["payments"]:
        wanted = index.document
        assert made[wanted["name"]]["key"] == list(wanted["key"].items())
        assert made[wanted["name"]].get("partialFilterExpression") == wanted.get("partialFilterExpression")


async def test_events_of_an_older_version_are_not_in_the_way_of_the_index_over_streams(mongo_uri: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as mongo:
        mongo.drop_database(DATABASE)
        events = mongo[DATABASE]["events"]
        events.create_index([("object_id", 1), ("sequence", 1)], name="object", unique=True)
        events.insert_many([{"object_id": f"txn_{number}", "sequence": 1} for number in range(2)])
        database = Database(mongo_uri, DATABASE)
        await create_indexes(database)
        made = events.index_information()["object"]
        database.close()
        mongo.drop_database(DATABASE)
    assert (made["key"], made["unique"]) == ([("owner_id", 1), ("stream_id", 1), ("sequence", 1)], True)


async def test_an_index_over_a_large_collection_may_take_its_time(mongo_uri: str) -> None:
    slow: dict[str, Any] = {
        "failCommands": ["createIndexes"],
        "namespace": f"{DATABASE}.payments",
        "blockConnection": True,
    }
    slow["blockTimeMS"] = 2000
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as mongo:
        mongo.drop_database(DATABASE)
        mongo.admin.command("configureFailPoint", "failCommand", mode={"times": 1}, data=slow)
        database = Database(mongo_uri, DATABASE, timeout_s=1.5)
        await create_indexes(database)
        made = mongo[DATABASE]["payments"].index_information()
        database.close()
        mongo.drop_database(DATABASE)
    assert {index.document["name"] for index in INDEXES["payments"]} <= made.keys()


def test_a_process_that_mongodb_leaves_while_it_starts_says_so_in_one_sentence(
    mongo: pymongo.MongoClient[dict[str, Any]], data_dir: Path, tmp_path: Path
) -> None:
    leaving = {"failCommands": ["createIndexes"], "namespace": "leaving.bank_authorisations", "closeConnection": True}
    mongo.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=leaving)
    log = tmp_path / "worker.log"
    try:
        with running(["cli.py", "worker"], log, DATA_DIR=str(data_dir), MONGODB_DB="leaving") as process:
            assert process.wait(300) == 2, log.read_text()
    finally:
        mongo.admin.command("configureFailPoint", "failCommand", mode="off")
        mongo.drop_database("leaving")
    lines = log.read_text().strip().splitlines()
    assert [line[:43] for line in lines] == ["Error: MongoDB does not answer as it should"], lines
