"""Deliveries: one event to one target, with every attempt that was made. Leased work, target by target."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice

from core import metrics
from core.coalesce import Coalescer
from core.database import (
    DESCENDING,
    Collection,
    Database,
    Document,
    DriverError,
    Pipeline,
    UpdateOne,
    insert_missing,
    outage,
)
from repositories import leases
from repositories.delivery_documents import (
    Candidate,
    DeadReason,
    DeliveryState,
    LeasedDelivery,
    NewDelivery,
    Outcome,
    buried,
    new_document,
    recorded,
    told_document,
)

_PENDING = {"state": DeliveryState.PENDING.value}
_BURIED_AT_ONCE = 1000
_RECORDED_AT_ONCE = 100
"""An outcome has less than 64 KiB (16 of headers either way, 16 of the answer), and an update at most 16 MiB."""
_LOOKED_AT_TOGETHER = 100
"""MongoDB merges the scans of so many targets; of more than 200 it would sort all that waits."""
_CANDIDATE_FIELDS = dict.fromkeys(("event_id", "owner_id", "target", "url", "failures", "lease_until"), 1)


class DeliveryRepository:
    def __init__(self, database: Database):
        self._deliveries = database["deliveries"]
        self._record = Coalescer(self._record_batch, max_batch=_RECORDED_AT_ONCE)

    async def insert_missing(self, deliveries: Sequence[NewDelivery]) -> list[bool]:
        """Insert those that are not there yet; for each whether it was missing."""
        return await insert_missing(self._deliveries, [new_document(one) for one in deliveries])

    async def insert_told(self, told: Sequence[tuple[NewDelivery, Sequence[Outcome]]]) -> None:
        """Insert those that are not there yet, with the attempts that brought them to their end."""
        await insert_missing(self._deliveries, [told_document(one, outcomes) for one, outcomes in told])

    async def first_due(self) -> dict[str, datetime]:
        """By target that something waits for: when the first of it is due, read from the index alone.

        (A DISTINCT_SCAN: one step of the index for each target, however much waits for it.)
        """
        pipeline: Pipeline = [
            {"$match": _PENDING},
            {"$sort": {"state": 1, "target": 1, "due_at": 1}},
            {"$group": {"_id": "$target", "due_at": {"$first": "$due_at"}}},
        ]
        rows = await self._deliveries.aggregate(pipeline, hint="work").to_list(None)
        return {row["_id"]: row["due_at"] for row in rows}

    async def find_due(self, room: Mapping[str, int], now: datetime) -> dict[str, list[Candidate]]:
        """By target what is due and free, at most as many as it has room for, the longest due first.

        One look takes the oldest of all targets together: a look at each would cost ten times as much. Where it did
        not see everything, the targets that got less than they have room for are looked at again by themselves.
        """
        chosen: dict[str, list[Candidate]] = {}
        room = dict(room)
        while room:
            some = dict(islice(room.items(), _LOOKED_AT_TOGETHER))
            limit = 2 * sum(some.values())
            wanted = {**_PENDING, "target": {"$in": list(some)}, "due_at": {"$lte": now}, **leases.FREE}
            # Without the size of the batch what is beyond 101 rows would cost a second trip.
            rows = self._deliveries.find(wanted, _CANDIDATE_FIELDS, batch_size=limit).sort("due_at", 1).limit(limit)
            found: dict[str, list[Candidate]] = {target: [] for target in some}
            for row in (seen := await rows.to_list(None)):
                found[row["target"]].append(_candidate(row))
            chosen |= {target: candidates[: room[target]] for target, candidates in found.items()}
            for target, candidates in found.items():
                if len(seen) < limit or len(candidates) >= room[target]:
                    del room[target]
        return chosen

    async def find_heads(self, room: Mapping[str, int], now: datetime) -> dict[str, list[Candidate]]:
        """The same for targets that ask for order: only the first that waits of each stream. So one of a stream is
        under way at a time, and they go as they are numbered."""
        first, *others = (_heads(target, now, count) for target, count in room.items())
        pipeline = [*first, *({"$unionWith": {"coll": "deliveries", "pipeline": other}} for other in others)]
        found: dict[str, list[Candidate]] = {target: [] for target in room}
        for row in await self._deliveries.aggregate(pipeline).to_list(None):
            found[row["target"]].append(_candidate(row))
        return found

    async def lease(self, candidates: Sequence[Candidate], now: datetime, *, lease_s: int) -> list[LeasedDelivery]:
        """Lease those that are still due and free; what comes back is ours."""
        due: Document = {**_PENDING, "due_at": {"$lte": now}}
        by_id = {candidate.id: candidate for candidate in candidates}
        token, ids = await leases.take_ids(self._deliveries, list(by_id), due, lease_s)
        if lapsed := sum(by_id[one].lapsed for one in ids):
            metrics.TAKEOVERS.labels("deliveries").inc(lapsed)
        return [_leased(by_id[one], token) for one in ids]

    async def record(self, outcome: Outcome) -> None:
        """Write what became of an attempt, while its lease's token stands. Shares its round trip with others."""
        await self._record(outcome)

    async def give_back(self, leased: Sequence[LeasedDelivery]) -> None:
        """End these leases without an attempt."""
        await leases.release(self._deliveries, [(one.id, one.token) for one in leased])

    async def bury(self, leased: Sequence[LeasedDelivery], reason: DeadReason) -> None:
        """Make dead letters of what is leased, without an attempt, while the leases' tokens stand."""
        if leased:
            update = {"$set": buried(reason), "$unset": leases.RELEASE}
            updates = [UpdateOne({"_id": one.id, "lease_token": one.token}, update) for one in leased]
            await self._deliveries.bulk_write(updates, ordered=False)

    async def bury_waiting(self, target: str, reason: DeadReason) -> None:
        """Make dead letters of all that waits for a target. What is under way just now may still arrive."""
        waiting: Document = {**_PENDING, "target": target}
        await bury_free(self._deliveries, waiting, reason, index="work")
        # Their leases' tokens stay, so that what becomes of them is recorded.
        await self._deliveries.update_many(waiting, {"$set": buried(reason)}, hint="work")

    async def delivered_since(self, endpoint_id: str, moment: datetime) -> bool:
        """Whether anything has come through to an endpoint since then. The newest hundred tell: what came through then
        was made at about that time."""
        delivered = {"endpoint_id": endpoint_id, "state": DeliveryState.DELIVERED.value}
        newest = self._deliveries.find(delivered, {"updated_at": 1}, hint="by_endpoint").sort("created_at", DESCENDING)
        return any(row["updated_at"] > moment for row in await newest.limit(100).to_list(None))

    async def count_waiting(self, at_most: int) -> int:
        """How many wait, up to that."""
        return int(await self._deliveries.count_documents(_PENDING, hint="work", limit=at_most))

    async def count_by_state(self, newest: int) -> dict[str, int]:
        """How many of so many newest deliveries are in each state.

        Read backwards from the end of the collection, where the newest stand: it costs the same in a collection of any
        size, and no index.
        """
        pipeline: Pipeline = [{"$limit": newest}, {"$group": {"_id": "$state", "count": {"$sum": 1}}}]
        rows = await self._deliveries.aggregate(pipeline, hint={"$natural": DESCENDING}).to_list(None)
        counts: dict[str, int] = {state.value: 0 for state in DeliveryState}
        return {**counts, **{row["_id"]: row["count"] for row in rows}}

    async def _record_batch(self, outcomes: list[Outcome]) -> list[Exception | None]:
        by_token: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            by_token.setdefault(outcome.token, []).append(outcome)
        failed: dict[tuple[str, str], Exception] = {}
        for token, some in by_token.items():
            failed |= {(token, one.delivery_id): error for one, error in await self._record_leased(token, some)}
        return [failed.get((outcome.token, outcome.delivery_id)) for outcome in outcomes]

    async def _record_leased(self, token: str, outcomes: list[Outcome]) -> list[tuple[Outcome, Exception]]:
        """Record what was leased together, and return what cannot be recorded. Raises DriverError in an outage."""
        try:
            await self._update(token, outcomes)
        except Exception as error:
            if isinstance(error, DriverError) and outage(error):
                # The driver repeats no update of several rows by itself. The token makes repeating it harmless.
                await self._update(token, outcomes)
                return []
            if len(outcomes) == 1:
                return [(outcomes[0], error)]
            # It is the fault of one of them, and they may be of several accounts.
            return [failed for one in outcomes for failed in await self._record_leased(token, [one])]
        return []

    async def _update(self, token: str, outcomes: Sequence[Outcome]) -> None:
        rows = {"_id": {"$in": [outcome.delivery_id for outcome in outcomes]}, "lease_token": token}
        await self._deliveries.update_many(rows, recorded(outcomes))


async def bury_free(deliveries: Collection, waiting: Document, reason: DeadReason, *, index: str) -> None:
    """Make dead letters of what waits and nobody holds. A lease that has ended is over then: who wakes up late with its
    token revives nothing."""
    free = {**waiting, **leases.FREE}
    while rows := await deliveries.find(free, {"_id": 1}, hint=index, limit=_BURIED_AT_ONCE).to_list(None):
        some = {"_id": {"$in": [row["_id"] for row in rows]}, **free}
        await deliveries.update_many(some, {"$set": buried(reason), "$unset": leases.RELEASE})


def _heads(target: str, now: datetime, count: int) -> Pipeline:
    """The first of each stream, where that is due and free. (A DISTINCT_SCAN: one step for each stream.)"""
    first = {name: {"$first": f"${name}"} for name in ("due_at", *_CANDIDATE_FIELDS)}
    return [
        {"$match": {**_PENDING, "target": target}},
        {"$sort": {"state": 1, "target": 1, "stream_id": 1, "sequence": 1}},
        {"$group": {"_id": "$stream_id", "head": {"$first": "$_id"}, **first}},
        {"$match": {"due_at": {"$lte": now}, **leases.FREE}},
        {"$sort": {"due_at": 1}},
        {"$limit": count},
        {"$set": {"_id": "$head"}},
    ]


def _candidate(row: Document) -> Candidate:
    return Candidate(
        row["_id"],
        row["event_id"],
        row["owner_id"],
        row["target"],
        row["url"],
        row["failures"],
        lapsed=row.get("lease_until") is not None,
    )


def _leased(one: Candidate, token: str) -> LeasedDelivery:
    return LeasedDelivery(one.id, one.event_id, one.owner_id, one.target, one.url, one.failures, token)
