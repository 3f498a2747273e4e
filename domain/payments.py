"""The life of a payment: its states, and pure functions that decide what a command changes.

Each function takes a payment and returns the payment after it, with one event for each move. Nothing here knows
of a database: services read a payment, ask one of these, and write the outcome on condition that nobody else did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    PENDING = "pending"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    AUTHORIZED = "authorized"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


MOVES: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.REQUIRES_ACTION, Status.CANCELLED}),
    Status.REQUIRES_ACTION: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELLED}),
    Status.PROCESSING: frozenset({Status.COMPLETED, Status.AUTHORIZED, Status.FAILED}),
    Status.AUTHORIZED: frozenset({Status.COMPLETED, Status.CANCELLED, Status.EXPIRED}),
    Status.COMPLETED: frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED}),
    Status.PARTIALLY_REFUNDED: frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED}),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.REFUNDED: frozenset(),
}
assert MOVES.keys() == set(Status)

AWAITS_WORKER = frozenset({Status.PENDING, Status.PROCESSING})
"""Where a payment goes on by itself. In every other state it rests until somebody asks for something."""

CANCELLABLE = frozenset(status for status, moves in MOVES.items() if Status.CANCELLED in moves)


class MoveNotAllowed(Exception):
    """The table has no such move. The message names both states."""

    def __init__(self, payment_id: str, current: Status, wanted: Status):
        super().__init__(f"Transaction '{payment_id}' is {current}; it cannot become {wanted}.")


@dataclass(frozen=True, slots=True)
class Payment:
    id: str
    owner_id: str
    customer_name: str
    amount_minor: int
    currency: str
    status: Status
    created_at: datetime
    updated_at: datetime
    details: str | None = None
    webhook_url: str | None = None
    reference: str | None = None
    metadata: Mapping[str, str] | None = None
    amount_captured_minor: int = 0
    amount_refunded_minor: int = 0
    due_at: datetime | None = None
    """When a worker goes on with it (business time); None while nothing happens by itself."""
    sequence: int = 1
    """The number of its latest event. Events of one payment are numbered without gaps; the first is its creation."""
    version: int = 1
    """Goes up with every change; a change is written on condition that it is still the one that was read."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """Something that happened to a payment, and the payment as it was right after it."""

    type: str
    sequence: int
    payment: Payment


@dataclass(frozen=True, slots=True)
class Change:
    """A payment after a command, and what is to be told about it, oldest first."""

    payment: Payment
    events: tuple[PaymentEvent, ...] = ()


def create(payment: Payment) -> Change:
    """The first change: a payment appears, with its first event."""
    return Change(payment, (PaymentEvent("payment.created", payment.sequence, payment),))


def begin_processing(payment: Payment, now: datetime) -> Change:
    """A worker takes it on. It stays due: should that worker die, another goes on."""
    return _move(payment, Status.PROCESSING, now)


def complete(payment: Payment, now: datetime) -> Change:
    """The money has moved."""
    return _move(payment, Status.COMPLETED, now, amount_captured_minor=payment.amount_minor)


def cancel(payment: Payment, now: datetime) -> Change:
    """Called off before any money moved."""
    return _move(payment, Status.CANCELLED, now)


def amend(payment: Payment, now: datetime, **fields: object) -> Change:
    """Change what only describes the payment (details, reference, metadata). No move, so no event."""
    return Change(replace(payment, updated_at=now, version=payment.version + 1, **fields))  # type: ignore[arg-type]


def delete(payment: Payment, now: datetime) -> Change:
    """Hide it from lists and reads. What could still be called off is cancelled first."""
    change = cancel(payment, now) if payment.status in CANCELLABLE else Change(payment)
    hidden = replace(change.payment, deleted=True, updated_at=now, version=payment.version + 1)
    return Change(hidden, change.events)


def _move(payment: Payment, status: Status, now: datetime, **fields: object) -> Change:
    if status not in MOVES[payment.status]:
        raise MoveNotAllowed(payment.id, payment.status, status)
    moved = replace(
        payment,
        status=status,
        updated_at=now,
        due_at=payment.due_at if status in AWAITS_WORKER else None,
        sequence=payment.sequence + 1,
        version=payment.version + 1,
        **fields,  # type: ignore[arg-type]
    )
    return Change(moved, (PaymentEvent(f"payment.{status}", moved.sequence, moved),))
