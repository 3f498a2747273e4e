"""Resend jobs: one document each, leased work until its end, with how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.database import ASCENDING, Database, Document, DuplicateKey
from repositories import leases
from repositories.claims import Claim, claim_document, claim_from
from repositories.events import EventHead, Position
from repositories.pages import Page, Sort, read_page
from repositories.places import insert_in_place

_NEWEST_FIRST = Sort("created_at", descending=True)


class JobStatus(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


RUNNING: Document = {"status": JobStatus.RUNNING.value}
"""What a job counts by, among those of an account that are under way."""


@dataclass(frozen=True, slots=True)
class ResendJob:
    id: str
    owner_id: str
    since: datetime
    until: datetime
    patterns: tuple[str, ...]
    failed_only: bool
    endpoint_id: str | None
    events_total: int
    """Counted when it was made, up to `pages.EXACT_TOTAL` and one more."""
    created_at: datetime
    updated_at: datetime
    status: JobStatus = JobStatus.RUNNING
    events_read: int = 0
    deliveries_made: int = 0
    position: Position | None = None
    """The event that it came to."""
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LeasedJob:
    """A job that is ours while its token stands."""

    job: ResendJob
    token: str


class ResendJobRepository:
    def __init__(self, database: Database):
        self._jobs = database["resend_jobs"]

    async def insert(self, job: ResendJob, claim: Claim | None, *, most: int) -> bool:
        """Insert as one of at most so many of an account's that are under way. False where its id is taken: see
        claim_of. Raises NoPlaceLeft."""
        document = {**_to_document(job), "due_at": job.created_at}
        if claim is not None:
            document["claim"] = claim_document(claim)
        try:
            await insert_in_place(self._jobs, document, RUNNING, most=most, index="by_owner")
        except DuplicateKey:
            return False
        return True

    async def claim_of(self, job_id: str) -> Claim | None:
        row = await self._jobs.find_one({"_id": job_id}, {"claim": 1})
        return claim_from(row["claim"]) if row and "claim" in row else None

    async def get(self, owner_id: str, job_id: str) -> ResendJob | None:
        row = await self._jobs.find_one({"_id": job_id, "owner_id": owner_id})
        return _from_document(row) if row else None

    async def page(self, owner_id: str, *, limit: int, cursor: str | None) -> Page[ResendJob]:
        """An account's jobs, newest first. Raises CursorInvalid."""
        return await read_page(
            self._jobs,
            {"owner_id": owner_id, "status": {"$in": [status.value for status in JobStatus]}},
            _NEWEST_FIRST,
            limit=limit,
            cursor=cursor,
            build=_from_document,
            projection={"claim": 0},
            index="by_owner",
        )

    async def cancel(self, owner_id: str, job_id: str, now: datetime) -> bool:
        """Stop a job, and have what it left waiting seen to. False for one that is cancelled already, or not there."""
        cancelled = {"status": JobStatus.CANCELLED.value, "updated_at": now, "ended_at": now, "due_at": now}
        # One that is completed may have left much waiting, too.
        open_ones = [JobStatus.RUNNING.value, JobStatus.COMPLETED.value]
        wanted = {"_id": job_id, "owner_id": owner_id, "status": {"$in": open_ones}}
        result = await self._jobs.update_one(wanted, {"$set": cancelled})
        return bool(result.matched_count)

    async def lease(self, now: datetime, *, lease_s: int) -> LeasedJob | None:
        """Lease the job that has been due for the longest time: one under way, or one whose deliveries are to be
        called off. None where there is none."""
        due: Document = {"due_at": {"$lte": now}}
        rows = self._jobs.find({**due, **leases.FREE}, {"lease_until": 1}).sort("due_at", ASCENDING).limit(1)
        candidates = [row async for row in rows]
        taken = await leases.take(self._jobs, [row["_id"] for row in candidates], due, lease_s)
        leases.count_takeovers(self._jobs, candidates, [row["_id"] for row in taken])
        return LeasedJob(_from_document(taken[0]), taken[0]["lease_token"]) if taken else None

    async def next_due_at(self) -> datetime | None:
        """When the next job is due that nobody holds."""
        row = await self._jobs.find_one(
            {"due_at": {"$exists": True}, **leases.FREE}, {"due_at": 1}, sort=[("due_at", ASCENDING)]
        )
        return row["due_at"] if row else None

    async def advance(
        self, leased: LeasedJob, events: Sequence[EventHead], deliveries: int, now: datetime, *, completed: bool
    ) -> bool:
        """Write down a batch, and end the lease. False where the lease was lost or the job cancelled meanwhile."""
        fields: Document = {"updated_at": now, "due_at": now}
        gone: Document = dict(leases.RELEASE)
        if events:
            position = events[-1].position
            fields["position"] = {"at": position.at, "event_id": position.event_id}
        if completed:
            del fields["due_at"]
            fields |= {"status": JobStatus.COMPLETED.value, "ended_at": now}
            gone["due_at"] = ""
        result = await self._jobs.update_one(
            {"_id": leased.job.id, "lease_token": leased.token, "status": JobStatus.RUNNING.value},
            {"$set": fields, "$unset": gone, "$inc": {"events_read": len(events), "deliveries_made": deliveries}},
        )
        return bool(result.matched_count)

    async def put_back(self, leased: LeasedJob, due_at: datetime | None) -> None:
        """End the lease; it is due again then, or has come to its end."""
        update: Document = {"$unset": dict(leases.RELEASE)}
        if due_at is None:
            update["$unset"]["due_at"] = ""
        else:
            update["$set"] = {"due_at": due_at}
        await self._jobs.update_one({"_id": leased.job.id, "lease_token": leased.token}, update)

    async def look_again(self, job_id: str, now: datetime) -> None:
        """Have a cancelled job's deliveries called off once more: some were made after it was cancelled."""
        cancelled = {"_id": job_id, "status": JobStatus.CANCELLED.value}
        await self._jobs.update_one(cancelled, {"$set": {"due_at": now}, "$unset": dict(leases.RELEASE)})


def _to_document(job: ResendJob) -> Document:
    return {
        "_id": job.id,
        "owner_id": job.owner_id,
        "since": job.since,
        "until": job.until,
        "patterns": list(job.patterns),
        "failed_only": job.failed_only,
        "endpoint_id": job.endpoint_id,
        "events_total": job.events_total,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "status": job.status.value,
        "events_read": job.events_read,
        "deliveries_made": job.deliveries_made,
    }


def _from_document(row: Document) -> ResendJob:
    position = row.get("position")
    return ResendJob(
        id=row["_id"],
        owner_id=row["owner_id"],
        since=row["since"],
        until=row["until"],
        patterns=tuple(row["patterns"]),
        failed_only=row["failed_only"],
        endpoint_id=row["endpoint_id"],
        events_total=row["events_total"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        status=JobStatus(row["status"]),
        events_read=row["events_read"],
        deliveries_made=row["deliveries_made"],
        position=Position(position["at"], position["event_id"]) if position else None,
        ended_at=row.get("ended_at"),
    )
