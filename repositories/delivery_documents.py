"""Deliveries as they are stored, and what makes one of them another: new, leased, recorded, given up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from core import clock
from core.database import Document, Pipeline
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
    lapsed: bool = field(default=False, kw_only=True)
    """Somebody had it, and the lease ended."""


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


def told_document(one: NewDelivery, outcomes: Sequence[Outcome]) -> Document:
    """A delivery after these attempts."""
    document = new_document(one)
    for outcome in outcomes:
        made = _outcome_document(outcome)
        document["attempts"].append(made.pop("attempt"))
        document["failures"] += made.pop("failures")
        document |= {name: value for name, value in made.items() if value is not None}
    return document


def buried(reason: DeadReason) -> Document:
    """What makes a dead letter of a delivery without an attempt."""
    return {"state": DeliveryState.DEAD.value, "dead_reason": reason.value, "updated_at": clock.now()}


def recorded(outcomes: Sequence[Outcome]) -> Pipeline:
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
