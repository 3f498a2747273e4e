"""Sending the events of a range of time again: jobs that survive restarts, show progress, and can be stopped."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from core import clock, ids
from core.errors import IdempotencyKeyReused, NotFound, PspError, TooManyResendJobs
from domain.webhook_endpoints import WebhookEndpoint
from repositories.claims import Claim
from repositories.deliveries import DeliveryRepository
from repositories.delivery_documents import DeadReason, NewDelivery
from repositories.delivery_log import DeliveryLogRepository, EventDelivery
from repositories.events import EventFilter, EventHead, EventRepository
from repositories.pages import EXACT_TOTAL, CursorInvalid
from repositories.places import NoPlaceLeft
from repositories.resend_jobs import JobStatus, LeasedJob, ResendJob, ResendJobRepository
from repositories.resent_deliveries import ResentDeliveryRepository
from repositories.webhook_endpoints import WebhookEndpointRepository
from schemas.common import PageQuery
from schemas.event_types import matching_types
from schemas.resends import ResendJobOut, ResendJobPage, ResendJobRequest
from services.caller import Caller
from services.event_targets import Target, enabled_endpoint, failed, new_delivery, own_urls, subscribed
from services.idempotency import Answer, fingerprint_of, replay
from services.signals import Signals
from services.validation import invalid

MAX_RUNNING = 5
BATCH = 100
MAX_WAITING = 500
"""How many of a job's deliveries may wait for one target: they stand in line with what happens meanwhile."""
PAUSE = timedelta(seconds=1)
LEASE_S = 15
"""Many times what a batch takes; a killed worker's job waits this long."""
_ROUTE = "POST /resend-jobs"


class ResendJobs:
    def __init__(
        self,
        jobs: ResendJobRepository,
        deliveries: DeliveryRepository,
        resent: ResentDeliveryRepository,
        log: DeliveryLogRepository,
        events: EventRepository,
        endpoints: WebhookEndpointRepository,
        signals: Signals,
        hash_key: bytes,
    ):
        self._jobs = jobs
        self._deliveries = deliveries
        self._resent = resent
        self._log = log
        self._events = events
        self._endpoints = endpoints
        self._signals = signals
        self._hash_key = hash_key

    async def create(self, caller: Caller, request: ResendJobRequest, key: str | None) -> Answer:
        """Have a worker send events again. One insert, which is at the same time the claim of its idempotency key.

        Raises NotFound, InvalidState, TooManyResendJobs, IdempotencyKeyReused.
        """
        if key is None:
            job_id, asked = ids.fresh("rsj"), None
        else:
            job_id = ids.derived("rsj", caller.account_id, _ROUTE, key)
            asked = fingerprint_of(self._hash_key, request.fingerprint_source())
        try:
            return await self._insert(await self._new_job(caller, request, job_id), asked)
        except PspError:
            # The job itself, as one too many, must not refuse the repetition of the request that made it.
            claim = await self._jobs.claim_of(job_id) if asked is not None else None
            if claim is None or asked is None:
                raise
            return replay(claim, asked)

    async def get(self, caller: Caller, job_id: str) -> ResendJobOut:
        """Raises NotFound."""
        return job_out(await self._find(caller, job_id))

    async def page(self, caller: Caller, query: PageQuery) -> ResendJobPage:
        """The caller's own jobs, newest first."""
        try:
            page = await self._jobs.page(caller.account_id, limit=query.limit, cursor=query.cursor)
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return ResendJobPage(
            resend_jobs=[job_out(job) for job in page.items],
            total_resend_jobs=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def cancel(self, caller: Caller, job_id: str) -> ResendJobOut:
        """Stop a job, or call off what a completed one left waiting: a worker makes dead letters of it. Once more
        changes nothing. Raises NotFound."""
        if await self._jobs.cancel(caller.account_id, job_id, clock.now()):
            self._signals.resends.set()
        return job_out(await self._find(caller, job_id))

    async def next_due_at(self) -> datetime | None:
        """When there is more to do for a job that nobody is at."""
        return await self._jobs.next_due_at()

    async def work(self) -> bool:
        """Do a batch of the job that has waited longest. False where there is none.

        Progress is written by the lease's holder alone. Whoever dies in between leaves the batch to the next, who makes
        the same deliveries again, by their ids.
        """
        leased = await self._jobs.lease(clock.now(), lease_s=LEASE_S)
        if leased is None:
            return False
        if leased.job.status is JobStatus.CANCELLED:
            # What is under way may fail and wait again, so the job is done with when nothing of it waits.
            done = await self._resent.bury(leased.job.id, DeadReason.RESEND_CANCELLED)
            await self._jobs.put_back(leased, None if done else clock.now() + PAUSE)
        elif await self._resent.most_waiting(leased.job.id) > MAX_WAITING - BATCH:
            await self._jobs.put_back(leased, clock.now() + PAUSE)
        else:
            await self._send_batch(leased)
        return True

    async def _send_batch(self, leased: LeasedJob) -> None:
        job = leased.job
        wanted = EventFilter(job.owner_id, _types(job.patterns), None, job.since, job.until)
        events = await self._events.heads_after(wanted, job.position, BATCH)
        made = await self._deliveries_of(job, events) if events else []
        if made:
            await self._deliveries.insert_missing(made)
            self._signals.deliveries_due(one.target for one in made)
        now, completed = clock.now(), len(events) < BATCH
        if not await self._jobs.advance(leased, events, len(made), now, completed=completed):
            await self._jobs.look_again(job.id, now)

    async def _deliveries_of(self, job: ResendJob, events: Sequence[EventHead]) -> list[NewDelivery]:
        endpoints = await self._endpoints.enabled([job.owner_id])
        fared: dict[str, list[EventDelivery]] = {}
        for one in await self._log.of_events([event.id for event in events]):
            # Its own are left out, so that a batch that is repeated judges as the first time.
            if one.resend_id != job.id:
                fared.setdefault(one.event_id, []).append(one)
        now = clock.now()
        return [
            new_delivery(event, target, now, job.id)
            for event in events
            for target in _targets(job, event, endpoints, fared.get(event.id, []))
        ]

    async def _insert(self, job: ResendJob, asked: bytes | None) -> Answer:
        body = job_out(job).model_dump_json(by_alias=True).encode()
        claim = None if asked is None else Claim(job.id, asked, 202, body)
        try:
            inserted = await self._jobs.insert(job, claim, most=MAX_RUNNING)
        except NoPlaceLeft:
            raise TooManyResendJobs from None
        if not inserted:
            raise IdempotencyKeyReused
        self._signals.resends.set()
        return Answer(202, body)

    async def _new_job(self, caller: Caller, request: ResendJobRequest, job_id: str) -> ResendJob:
        if request.until < request.since:
            raise invalid(("body", "to"), "it ends before it begins", request.until.isoformat())
        now = clock.now()
        if request.since > now:
            raise invalid(("body", "from"), "nothing has happened there yet", request.since.isoformat())
        if request.webhook_endpoint_id is not None:
            await enabled_endpoint(self._endpoints, caller.account_id, request.webhook_endpoint_id)
        patterns = tuple(request.types or ["*"])
        # What happens from now on is sent as it happens.
        until = min(request.until, now)
        wanted = EventFilter(caller.account_id, _types(patterns), None, request.since, until)
        return ResendJob(
            id=job_id,
            owner_id=caller.account_id,
            since=request.since,
            until=until,
            patterns=patterns,
            failed_only=request.failed_only,
            endpoint_id=request.webhook_endpoint_id,
            events_total=await self._events.count(wanted, EXACT_TOTAL + 1),
            created_at=now,
            updated_at=now,
        )

    async def _find(self, caller: Caller, job_id: str) -> ResendJob:
        job = await self._jobs.get(caller.account_id, job_id)
        if job is None:
            raise NotFound(f"Resend job '{job_id}' not found.")
        return job


def _types(patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for pattern in patterns for name in matching_types(pattern)))


def _targets(
    job: ResendJob, event: EventHead, endpoints: Sequence[WebhookEndpoint], fared: Sequence[EventDelivery]
) -> list[Target]:
    if job.failed_only:
        found = failed(fared, endpoints)
    else:
        found = [*map(Target.of, subscribed(event, endpoints)), *own_urls(fared)]
    return [target for target in found if job.endpoint_id in (None, target.endpoint_id)]


def job_out(job: ResendJob) -> ResendJobOut:
    return ResendJobOut(
        id=job.id,
        status=job.status.value,
        since=job.since,
        until=job.until,
        types=list(job.patterns),
        failed_only=job.failed_only,
        webhook_endpoint_id=job.endpoint_id,
        events_read=job.events_read,
        events_total=min(job.events_total, EXACT_TOTAL),
        events_total_is_lower_bound=job.events_total > EXACT_TOTAL,
        deliveries_made=job.deliveries_made,
        created_at=job.created_at,
        updated_at=job.updated_at,
        ended_at=job.ended_at,
    )
