"""The audit log's hash chain: whatever is done to it by hand is noticed and named, and no worker's death breaks it."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import httpx
import pymongo
import pytest
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251 - the command line itself is what is tested
from core import clock, ids
from core.database import Database, Document
from domain.audit import Action
from domain.audit_chain import GENESIS, Head, canonical, row_seal, seal
from domain.roles import Role
from repositories.audit import AuditRepository
from repositories.audit_chain import AuditChainRepository, SealedHead
from repositories.indexes import create_indexes
from services.audit import COMMAND_LINE, Audit
from services.audit_chain import BATCH, AuditChain, Break
from services.caller import Caller
from tests.chaos.crashing_worker import STOPPED, CrashPoint, start_worker
from tests.chaos.lanes import PATIENCE_S, SECRETS, lane
from tests.conftest import ADMIN_EMAIL, ADMIN_PASSWORD, Server
from tests.databases import end_abandoned
from tests.factories import Psp
from tests.scale import scaled

KEY = b"a key of thirty-two bytes, or so"
ROWS = 9
ACTOR = COMMAND_LINE.of(Caller("user_1", Role.SYSTEM_ADMIN, "sess_1"))


class Log:
    """An audit log, and a hand that changes it."""

    def __init__(self, database: Database):
        self.database = database
        self.rows, self.heads = database["audit"], database["audit_head"]
        self.chain = AuditChain(database, AuditChainRepository(database), KEY)
        self._audit = Audit(AuditRepository(database, KEY))

    async def write(self, count: int = 1) -> None:
        for number in range(count):
            change = {"before": {"role": "user"}, "after": {"role": "merchant"}}
            await self._audit.record(ACTOR, Action.ROLE_CHANGED, f"user_{number}", **change)  # type: ignore[arg-type]

    async def link(self) -> None:
        while await self.chain.link_batch():
            pass

    async def at(self, sequence: int) -> Document:
        row = await self.rows.find_one({"sequence": sequence})
        assert row is not None
        return row

    async def change(self, place: int, **fields: Any) -> None:
        await self.rows.update_one({"sequence": place}, {"$set": fields})

    async def make_room(self, sequence: int) -> None:
        """Everything from here on one place further."""
        for number in range(ROWS, sequence - 1, -1):
            await self.change(number, sequence=number + 1)

    async def waiting(self) -> Document:
        row = await self.rows.find_one({"linked": False})
        assert row is not None
        return row

    async def invent(self, **fields: Any) -> None:
        """A row that waits to be linked, as the product writes it but for its seal."""
        like = await self.at(1)
        for name in ("sequence", "previous_hash", "hash"):
            del like[name]
        await self.rows.insert_one({**like, "_id": ids.fresh("aud"), "at": clock.now(), "linked": False, **fields})

    async def forged(self, place: int, **fields: Any) -> None:
        """A row like another one, at a place of its own."""
        like = await self.at(1)
        await self.rows.insert_one({**like, "_id": ids.fresh("aud"), "sequence": place, **fields})


@pytest.fixture(scope="module")
async def clients(mongo_uri: str) -> AsyncIterator[list[Database]]:
    """Connections of their own, as processes have them."""
    made = [Database(mongo_uri, "audit_chain") for _ in range(4)]
    await create_indexes(made[0])
    yield made
    await made[0].drop()
    for one in made:
        one.close()


@pytest.fixture
async def databases(clients: list[Database]) -> list[Database]:
    """With an empty log."""
    for name in ("audit", "audit_head"):
        await clients[0][name].delete_many({})
    return clients


@pytest.fixture
async def log(databases: list[Database]) -> Log:
    """Some rows, all of them linked."""
    log = Log(databases[0])
    await log.write(ROWS)
    await log.link()
    return log


async def test_a_log_that_nobody_changed_is_whole(log: Log) -> None:
    found = await log.chain.verify()

    assert (found.problem, found.linked, found.unlinked) == (None, ROWS, 0)
    assert found.head == Head(ROWS, (await log.at(ROWS))["hash"])


async def test_an_empty_log_is_whole(databases: list[Database]) -> None:
    found = await Log(databases[0]).chain.verify()

    assert (found.problem, found.linked, found.head) == (None, 0, GENESIS)


async def test_rows_are_linked_in_the_order_of_their_times_and_ids(log: Log) -> None:
    in_order = await log.rows.find().sort([("at", 1), ("_id", 1)]).to_list(None)

    assert [row["sequence"] for row in in_order] == list(range(1, ROWS + 1))


async def test_what_is_not_linked_yet_is_told(log: Log) -> None:
    await log.write(2)

    found = await log.chain.verify()

    assert (found.problem, found.linked, found.unlinked) == (None, ROWS, 2)


async def change_a_field(log: Log) -> None:
    await log.change(4, target_id="user_other")


async def change_what_was_before(log: Log) -> None:
    await log.change(4, before={"role": "system_admin"})


async def change_the_time_to_a_text(log: Log) -> None:
    await log.change(4, at=str((await log.at(4))["at"]))


async def add_a_field(log: Log) -> None:
    await log.change(4, note="approved")


async def take_a_field_away(log: Log) -> None:
    await log.rows.update_one({"sequence": 4}, {"$unset": {"address": ""}})


async def change_a_hash(log: Log) -> None:
    await log.change(4, hash=64 * "0")


async def take_a_hash_away(log: Log) -> None:
    await log.rows.update_one({"sequence": 4}, {"$unset": {"hash": "", "previous_hash": ""}})


async def change_the_last(log: Log) -> None:
    await log.change(ROWS, target_id="user_other")


async def remove(log: Log) -> None:
    await log.rows.delete_one({"sequence": 4})


async def remove_the_first(log: Log) -> None:
    await log.rows.delete_one({"sequence": 1})


async def remove_and_close_the_gap(log: Log) -> None:
    await log.rows.delete_one({"sequence": 4})
    for number in range(5, ROWS + 1):
        await log.change(number, sequence=number - 1)


async def have_one_linked_again(log: Log) -> None:
    await log.change(4, linked=False, target_id="user_other")
    await log.link()


async def cut_the_tail(log: Log) -> None:
    await log.rows.delete_many({"sequence": {"$gt": 6}})


async def insert(log: Log) -> None:
    await log.make_room(4)
    await log.forged(4, previous_hash=(await log.at(3))["hash"], hash=64 * "0")


async def insert_a_copy(log: Log) -> None:
    await log.make_room(4)
    await log.forged(4)


async def insert_at_the_end(log: Log) -> None:
    await log.forged(ROWS + 1, previous_hash=(await log.at(ROWS))["hash"])


async def insert_outside_of_the_chain(log: Log) -> None:
    row = await log.at(1)
    del row["sequence"]
    await log.rows.insert_one({**row, "_id": ids.fresh("aud")})


async def insert_before_the_first(log: Log) -> None:
    await log.forged(0)


async def swap(log: Log) -> None:
    await log.change(4, sequence=-1)
    await log.change(6, sequence=4)
    await log.change(-1, sequence=6)


async def swap_neighbours(log: Log) -> None:
    await log.change(4, sequence=-1)
    await log.change(5, sequence=4)
    await log.change(-1, sequence=5)


async def move_the_head(log: Log) -> None:
    await log.rows.delete_many({"sequence": {"$gt": 6}})
    await log.heads.update_one({}, {"$set": {"sequence": 6, "hash": (await log.at(6))["hash"]}})


async def spoil_the_head(log: Log) -> None:
    await log.heads.update_one({}, {"$set": {"sequence": "many"}, "$unset": {"hash": ""}})


async def remove_the_head(log: Log) -> None:
    await log.heads.delete_one({})


async def put_the_head_back(log: Log) -> None:
    before = await log.heads.find_one({})
    assert before is not None
    await log.write()
    await log.link()
    await log.heads.replace_one({}, before)


async def invent(log: Log) -> None:
    await log.invent()


async def invent_with_a_seal_of_their_own(log: Log) -> None:
    await log.write()
    waiting = await log.waiting()
    await log.invent(seal=waiting["seal"])


async def invent_a_time_that_no_clock_shows(log: Log) -> None:
    await log.invent(at=DatetimeMS(-(2**60)))


async def invent_what_is_no_text(log: Log) -> None:
    row = bson.encode({"_id": ids.fresh("aud"), "at": clock.now(), "target_id": "??", "linked": False})
    await log.rows.insert_one(RawBSONDocument(row.replace(b"??", b"\xff\xfe")))  # type: ignore[arg-type]


async def change_before_it_is_linked(log: Log) -> None:
    await log.write()
    await log.rows.update_one({"linked": False}, {"$set": {"target_id": "user_other"}})


async def hide_from_the_linker(log: Log) -> None:
    await log.write()
    await log.rows.update_one({"linked": False}, {"$set": {"linked": True}})


HANDS: Mapping[Callable[[Log], Awaitable[None]], tuple[Break, int | None]] = {
    change_a_field: (Break.CHANGED, 4),
    change_what_was_before: (Break.CHANGED, 4),
    change_the_time_to_a_text: (Break.CHANGED, 4),
    add_a_field: (Break.CHANGED, 4),
    take_a_field_away: (Break.CHANGED, 4),
    change_a_hash: (Break.CHANGED, 4),
    take_a_hash_away: (Break.CHANGED, 4),
    change_the_last: (Break.CHANGED, ROWS),
    remove: (Break.REMOVED, 4),
    remove_the_first: (Break.REMOVED, 1),
    remove_and_close_the_gap: (Break.REMOVED, 4),
    have_one_linked_again: (Break.CHANGED, 4),
    cut_the_tail: (Break.REMOVED, 7),
    insert: (Break.INSERTED, 4),
    insert_a_copy: (Break.INSERTED, 4),
    insert_at_the_end: (Break.INSERTED, ROWS + 1),
    insert_outside_of_the_chain: (Break.FORGED, None),
    insert_before_the_first: (Break.FORGED, None),
    invent: (Break.FORGED, None),
    invent_with_a_seal_of_their_own: (Break.FORGED, None),
    invent_a_time_that_no_clock_shows: (Break.FORGED, None),
    invent_what_is_no_text: (Break.FORGED, None),
    change_before_it_is_linked: (Break.FORGED, None),
    hide_from_the_linker: (Break.FORGED, None),
    swap: (Break.REORDERED, 4),
    swap_neighbours: (Break.REORDERED, 4),
    move_the_head: (Break.HEAD_CHANGED, None),
    spoil_the_head: (Break.HEAD_CHANGED, None),
    remove_the_head: (Break.HEAD_CHANGED, None),
    put_the_head_back: (Break.HEAD_CHANGED, None),
}


@pytest.mark.parametrize("hand", HANDS, ids=lambda hand: hand.__name__)
async def test_what_is_done_by_hand_is_named(log: Log, hand: Callable[[Log], Awaitable[None]]) -> None:
    await hand(log)

    problem = (await log.chain.verify()).problem

    assert problem is not None
    assert (problem.kind, problem.sequence) == HANDS[hand]


@pytest.mark.parametrize(
    "hand",
    [
        invent,
        invent_with_a_seal_of_their_own,
        invent_a_time_that_no_clock_shows,
        invent_what_is_no_text,
        change_before_it_is_linked,
    ],
    ids=lambda hand: hand.__name__,
)
async def test_a_row_that_another_hand_wrote_is_never_linked_and_stops_no_other(
    log: Log, hand: Callable[[Log], Awaitable[None]]
) -> None:
    await hand(log)
    await log.write(2)
    await log.link()

    found = await log.chain.verify()

    assert found.problem is not None
    assert (found.problem.kind, found.unlinked) == (Break.FORGED, 0)
    refused = await log.rows.find({"sequence": None}, {"_id": 1}).to_list(None)
    assert [row["_id"] for row in refused] == [found.problem.row_id]
    await log.rows.delete_one({"_id": found.problem.row_id})
    assert (await log.chain.verify()).problem is None, "what is genuine is linked"


async def test_many_rows_of_another_hand_keep_none_waiting(log: Log) -> None:
    for _ in range(BATCH + 1):
        await log.invent(at=datetime(2026, 1, 1, tzinfo=UTC))
    await log.write()
    await log.link()

    assert (await log.chain.verify()).linked == ROWS + 1


async def test_a_row_that_has_its_seal_back_is_not_linked_twice_unseen(log: Log) -> None:
    assert "seal" not in await log.at(1)
    await log.write()
    genuine = await log.waiting()
    await log.link()

    assert "seal" in genuine
    await log.rows.replace_one({"_id": genuine["_id"]}, genuine)
    await log.link()
    problem = (await log.chain.verify()).problem
    assert problem is not None, "a row that is linked twice leaves its first place empty"
    assert (problem.kind, problem.sequence) == (Break.REMOVED, ROWS + 1)


@pytest.mark.parametrize("hand", [move_the_head, spoil_the_head, remove_the_head, put_the_head_back])
async def test_no_worker_makes_a_chain_whole_that_was_broken(log: Log, hand: Callable[[Log], Awaitable[None]]) -> None:
    await hand(log)
    await log.write()
    await log.link()

    found = await log.chain.verify()

    assert found.problem is not None
    assert (found.problem.kind, found.unlinked) == (Break.HEAD_CHANGED, 1)


async def test_a_head_that_was_kept_shows_that_the_end_was_put_back(log: Log) -> None:
    """Rows and head as they once were: in the database alone nothing tells it from a log that never went on."""
    older, kept = await log.heads.find_one({}), (await log.chain.verify()).head
    assert older is not None
    await log.write(3)
    await log.link()
    later = (await log.chain.verify(kept)).head
    await log.rows.delete_many({"sequence": {"$gt": kept.sequence}})
    await log.heads.replace_one({}, older)

    assert (await log.chain.verify(kept)).problem is None
    for _ in range(2):
        problem = (await log.chain.verify(later)).problem
        assert problem is not None
        assert (problem.kind, problem.sequence) == (Break.KEPT_HEAD_MISSING, later.sequence)
        await log.write(5)  # now there are as many rows again, and more
        await log.link()


async def test_workers_that_link_at_once_make_one_chain(databases: list[Database]) -> None:
    logs = [Log(database) for database in databases]
    rows = 1000
    written = [{"_id": ids.fresh("aud"), "at": clock.now(), "number": one} for one in range(rows)]
    waiting = [{**row, "linked": False, "seal": row_seal(KEY, canonical(row))} for row in written]
    await logs[0].rows.insert_many(waiting)

    async def link_until_all_are(log: Log) -> int:
        linked = 0
        while await log.rows.count_documents({"linked": True}) < rows:
            linked += await log.chain.link_batch()
        return linked

    shares = await asyncio.gather(*(link_until_all_are(log) for log in logs))

    found = await logs[0].chain.verify()
    assert (sum(shares), found.problem, found.linked, found.unlinked) == (rows, None, rows, 0)


async def test_a_worker_that_wakes_up_after_its_lease_changes_nothing(log: Log) -> None:
    await log.write(2)
    late = await AuditChainRepository(log.database).lease(SealedHead(GENESIS, seal(KEY, GENESIS)), 60)
    assert late is not None
    assert await log.chain.link_batch() == 0, "another one holds it"
    await let_the_lease_end(log)
    assert await log.chain.link_batch() == 2

    await log.write()
    assert await log.database.in_transaction(lambda session: log.chain._link(late, session)) == 0

    assert (await log.chain.verify()).problem is None
    assert await log.rows.count_documents({"linked": False}) == 1


async def let_the_lease_end(log: Log) -> None:
    await log.heads.update_one({}, {"$set": {"lease_until": datetime.now(UTC) - timedelta(minutes=1)}})


STEPS = scaled(
    [CrashPoint("repositories.audit_chain:AuditChainRepository.link", True)],
    [
        CrashPoint(method, after)
        for method in (
            "repositories.audit_chain:AuditChainRepository.lease",
            "repositories.audit_chain:AuditChainRepository.unlinked",
            "repositories.audit_chain:AuditChainRepository.link",
            "services.audit_chain:AuditChain.link_batch",
        )
        for after in (False, True)
    ],
)


@pytest.mark.scaled
async def test_a_worker_that_stops_dead_at_any_step_leaves_a_chain_that_is_whole(
    mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    async with lane(mongo_uri, mongo, tmp_path / "linking") as one:
        written = 0
        for number, point in enumerate(STEPS):
            for _ in range(30):
                await one.psp.audit.record(ACTOR, Action.ROLE_CHANGED, "user_1")
            written += 30
            worker = start_worker(one.settings, tmp_path / f"{number}.log", point)
            async with asyncio.timeout(PATIENCE_S):
                while worker.poll() is None:
                    await asyncio.sleep(0.02)
            assert worker.returncode == STOPPED
            end_abandoned(mongo)
            left = await one.psp.audit_chain.verify()
            assert (left.problem, left.linked + left.unlinked) == (None, written), point

            ended = {"$set": {"lease_until": datetime.now(UTC) - timedelta(minutes=1)}}
            one.database["audit_head"].update_one({}, ended)
            while await one.psp.audit_chain.link_batch():
                pass
            assert (await one.psp.audit_chain.verify()).linked == written, point


def test_times_are_told_from_texts_and_names_are_sorted() -> None:
    moment = datetime(2026, 11, 22, 1, 2, 3, 4000, tzinfo=UTC)

    assert canonical({"b": moment, "a": None, "linked": True, "hash": "x"}) == (
        b'{"a":null,"b":{"$date":"2026-11-22T01:02:03.004+00:00"}}'
    )
    assert seal(KEY, GENESIS) != seal(KEY, Head(1, GENESIS.hash))


def test_the_command_tells_whether_the_log_is_whole(
    start_server: Callable[..., Server], mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    name = f"audit_{tmp_path.name}"[:60]
    settings = {"MONGODB_URI": mongo_uri, "MONGODB_DB": name, **SECRETS}
    server, rows = start_server(**settings), mongo[name]["audit"]

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["audit", "verify", *arguments], env=settings)

    with httpx.Client(base_url=server.url, timeout=35, verify=False) as client:
        psp = Psp(client, ADMIN_EMAIL, ADMIN_PASSWORD)
        for _ in range(5):
            psp.register()
    deadline = time.monotonic() + PATIENCE_S
    while rows.count_documents({"linked": True}) < 11:  # the first system_admin is one
        assert time.monotonic() < deadline, "the rows are not linked"
        time.sleep(0.05)

    whole = run()
    (head,) = re.findall(r"^Head: (11:[0-9a-f]{64})$", whole.output, re.MULTILINE)
    assert (whole.exit_code, whole.output) == (0, f"Whole: 11 rows.\nHead: {head}\n")
    as_json = run("--json", "--head", head)
    told = {"whole": True, "linked": 11, "unlinked": 0, "head": head, "problem": None}
    assert (as_json.exit_code, json.loads(as_json.output)) == (0, told)

    row = rows.find_one_and_update({"sequence": 4}, {"$set": {"target_id": "user_other"}})
    broken, broken_json = run(), run("--json")
    assert broken.exit_code == broken_json.exit_code == 1
    assert broken.output == f"Broken after 3 rows: Row 4 ({row['_id']}) was changed after it was linked.\n"
    assert json.loads(broken_json.output)["problem"] == {"kind": "changed", "sequence": 4, "rowId": row["_id"]}
    assert run("--head", "nonsense").exit_code == 2


async def test_a_log_is_whole_while_it_is_written_and_linked(databases: list[Database]) -> None:
    writers, linker, judge = Log(databases[0]), Log(databases[1]), Log(databases[2])
    stopped = asyncio.Event()

    async def write() -> None:
        while not stopped.is_set():
            await writers.write()

    async def link() -> None:
        while not stopped.is_set():
            await linker.chain.link_batch()

    work = [asyncio.create_task(one()) for one in (write, write, link)]
    found = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < 20 or found[-1].linked <= found[0].linked:
                found.append(await judge.chain.verify())
    finally:
        stopped.set()
        await asyncio.gather(*work)

    assert {one.problem for one in found} == {None}
