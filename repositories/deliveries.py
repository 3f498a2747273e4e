"""Deliveries: one event to one target, with every attempt that was made. Leased work, target by target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from core import clock
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
from domain.attempts import Attempt
from repositories import leases
from repositories.claims import Claim, claim_document


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeadReason(StrEnum):
    """Why nobody tries any more."""

    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    RECEIVER_GONE = "receiver_gone"
    """It answered 410."""
    UNSENDABLE = "unsendable"
    """The address is forbidden, or the URL none that can be dialled: the attempt's error says which."""
    ENDPOINT_DISABLED = "endpoint_disabled"
    ENDPOINT_DELETED = "endpoint_deleted"
    ENDPOINT_GONE = "endpoint_gone"
    """Published, or tried again, while its endpoint was being disabled or deleted."""
    EVENT_GONE = "event_gone"
    """Older than the events that are kept."""
    RESEND_CANCELLED = "resend_cancelled"


@dataclass(frozen=True, slots=True)
class NewDelivery:
    id: str
    event_id: str
    event_type: str
    owner_id: str
    target: str
    """What is throttled as one: an endpoint's id, or the origin of a payment's own webhookUrl."""
    url: str
    """Of an endpoint: what it was when the event was published. It is sent to what it is then."""
    due_at: datetime
    stream_id: str
    """What numbers the event: an endpoint that asks for order is sent one of a stream at a time."""
    sequence: int
    endpoint_id: str | None = None
    resend_id: str | None = None
    """Where the event is sent again: of which resend, or resend job, this is."""
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What was due and free when it was looked for. All of it stays as it is until somebody leases it."""

    id: str
    event_id: str
    owner_id: str
    target: str
    url: str
    failures: int


@dataclass(frozen=True, slots=True)
class LeasedDelivery(Candidate):
    token: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt made of a delivery. `due_at` is set while it is pending."""

    delivery_id: str
    token: str
    attempt: Attempt
    state: DeliveryState
    due_at: datetime | None = None
    dead_reason: DeadReason | None = None


_PENDING = {"state": DeliveryState.PENDING.value}
_BURIED_AT_ONCE = 1000
_RECORDED_AT_ONCE = 100
"""An outcome has less than 64 KiB (16 of headers either way, 16 of the answer), and an update at most 16 MiB."""
_LOOKED_AT_TOGETHER = 100
"""MongoDB merges the scans of so many targets; of more than 200 it would sort all that waits."""
_CANDIDATE_FIELDS = dict.fromkeys(("event_id", "owner_id", "target", "url", "failures"), 1)


class DeliveryRepository:
    def __init__(self, database: Database):
        self._deliveries = database["deliveries"]
        self._record = Coalescer(self._record_batch, max_batch=_RECORDED_AT_ONCE)

    async def insert_missing(self, deliveries: Sequence[NewDelivery]) -> list[bool]:
        """Insert those that are not there yet; for each whether it was missing."""
        return await insert_missing(self._deliveries, [new_document(one) for one in deliveries])

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
        await self._deliveries.update_many(rows, _recorded(outcomes))


async def bury_free(deliveries: Collection, waiting: Document, reason: DeadReason, *, index: str) -> None:
    """Make dead letters of what waits and nobody holds. A lease that has ended is over then: who wakes up late with its
    token revives nothing."""
    free = {**waiting, **leases.FREE}
    while rows := await deliveries.find(free, {"_id": 1}, hint=index, limit=_BURIED_AT_ONCE).to_list(None):
        some = {"_id": {"$in": [row["_id"] for row in rows]}, **free}
        await deliveries.update_many(some, {"$set": buried(reason), "$unset": leases.RELEASE})


def new_document(one: NewDelivery) -> Document:
    """A delivery as it is stored at first."""
    document: Document = {
        "_id": one.id,
        "event_id": one.event_id,
        "event_type": one.event_type,
        "owner_id": one.owner_id,
        "target": one.target,
        "url": one.url,
        "state": DeliveryState.PENDING.value,
        "failures": 0,
        "attempts": [],
        "created_at": one.due_at,
        "updated_at": one.due_at,
        "due_at": one.due_at,
        "stream_id": one.stream_id,
        "sequence": one.sequence,
    }
    if one.endpoint_id is not None:
        document["endpoint_id"] = one.endpoint_id
    if one.resend_id is not None:
        document["resend_id"] = one.resend_id
    if one.claim is not None:
        document["claim"] = claim_document(one.claim)
    return document


def _heads(target: str, now: datetime, count: int) -> Pipeline:
    """The first of each stream, where that is due and free. (A DISTINCT_SCAN: one step for each stream.)"""
    first = {name: {"$first": f"${name}"} for name in ("due_at", "lease_until", *_CANDIDATE_FIELDS)}
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
    return Candidate(row["_id"], row["event_id"], row["owner_id"], row["target"], row["url"], row["failures"])


def _leased(one: Candidate, token: str) -> LeasedDelivery:
    return LeasedDelivery(one.id, one.event_id, one.owner_id, one.target, one.url, one.failures, token)


def buried(reason: DeadReason) -> Document:
    """What makes a dead letter of a delivery without an attempt."""
    return {"state": DeliveryState.DEAD.value, "dead_reason": reason.value, "updated_at": clock.now()}


def _recorded(outcomes: Sequence[Outcome]) -> Pipeline:
    """One update for all of them, each row taking its own outcome: half the cost of an update for each."""
    ids = [outcome.delivery_id for outcome in outcomes]
    documents = [_outcome_document(outcome) for outcome in outcomes]
    own = {"$arrayElemAt": [{"$literal": documents}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}
    dead, pending = DeliveryState.DEAD.value, DeliveryState.PENDING.value
    called_off = {"$and": [{"$eq": ["$state", dead]}, {"$eq": ["$outcome.state", pending]}]}
    stays_dead = {"$mergeObjects": ["$outcome", {"state": "$state", "due_at": None, "dead_reason": "$dead_reason"}]}
    return [
        {"$set": {"outcome": own}},
        # What was buried while the attempt was under way may have arrived, but it waits no more.
        {"$set": {"outcome": {"$cond": [called_off, stays_dead, "$outcome"]}}},
        {
            "$set": {
                "state": "$outcome.state",
                "updated_at": "$outcome.updated_at",
                "due_at": {"$ifNull": ["$outcome.due_at", "$due_at"]},
                # One may stand there where it was buried and has arrived all the same.
                "dead_reason": {"$ifNull": ["$outcome.dead_reason", "$$REMOVE"]},
                "failures": {"$add": ["$failures", "$outcome.failures"]},
                "attempts": {"$concatArrays": ["$attempts", ["$outcome.attempt"]]},
            }
        },
        {"$unset": ["outcome", *leases.RELEASE]},
    ]


def _outcome_document(outcome: Outcome) -> Document:
    return {
        "state": outcome.state.value,
        "updated_at": outcome.attempt.at + timedelta(milliseconds=outcome.attempt.duration_ms),
        "due_at": outcome.due_at,
        "dead_reason": None if outcome.dead_reason is None else outcome.dead_reason.value,
        "failures": 0 if outcome.state is DeliveryState.DELIVERED else 1,
        "attempt": _attempt_document(outcome.attempt),
    }


def _attempt_document(attempt: Attempt) -> Document:
    return {
        "at": attempt.at,
        "url": attempt.url,
        "duration_ms": attempt.duration_ms,
        "phases": {
            "dns_ms": attempt.phases.dns_ms,
            "connect_ms": attempt.phases.connect_ms,
            "wait_ms": attempt.phases.wait_ms,
            "receive_ms": attempt.phases.receive_ms,
        },
        "status": attempt.status,
        "error": attempt.error,
        # Pairs, because names of others' choosing have no place among field names, and may occur twice.
        "request_headers": attempt.request_headers,
        "response_headers": attempt.response_headers,
        "response": attempt.response,
    }
