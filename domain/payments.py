"""The life of a payment: its states, and pure functions that decide what a command changes.

Each function takes a payment and returns the payment after it, with one event for each object that changed. Nothing
here knows of a database: services read a payment, ask one of these, and write the outcome on condition that nobody else
did.

What the bank is to be told stands in the payment as an *intent*, written with the change of state that caused it. A
worker tells the bank until it has confirmed (`domain/bank_answers.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from core import ids
from domain.acquiring import OperationKind
from domain.cards import StoredCard

AUTHORISATION_LIFETIME = timedelta(days=7)
MAX_REFUNDS = 100


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


class Command(StrEnum):
    """What a client can ask of a payment, as the past participle that an error needs."""

    CAPTURE = "captured"
    CANCEL = "cancelled"
    AUTHENTICATE = "authenticated"
    REFUND = "refunded"


ACCEPTS: Mapping[Status, frozenset[Command]] = {
    Status.PENDING: frozenset({Command.CANCEL}),
    Status.REQUIRES_ACTION: frozenset({Command.CANCEL, Command.AUTHENTICATE}),
    Status.PROCESSING: frozenset(),
    Status.AUTHORIZED: frozenset({Command.CANCEL, Command.CAPTURE}),
    Status.COMPLETED: frozenset({Command.REFUND}),
    Status.PARTIALLY_REFUNDED: frozenset({Command.REFUND}),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.REFUNDED: frozenset(),
}
assert ACCEPTS.keys() == set(Status)


class NotAccepted(Exception):
    """The payment's state does not allow the command. The message names both."""


class AmountTooLarge(Exception):
    """More than there is to capture or to give back."""


class CaptureMethod(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class RefundStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no money moved: Stripe's codes, a sentence, and the ISO 8583 response code where a bank gave one."""

    code: str
    message: str
    decline_code: str | None = None
    network_code: str | None = None


AUTHENTICATION_FAILED = Failure("authentication_failed", "The cardholder was not authenticated by 3-D Secure.")


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    amount_minor: int
    status: RefundStatus
    created_at: datetime
    updated_at: datetime
    reason: str | None = None
    failure: Failure | None = None
    sequence: int = 0
    """The number of its latest event, among those of its payment."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What the bank is to be told until it has confirmed it. The operation's id is the same on every attempt."""

    operation_id: str
    kind: OperationKind
    amount_minor: int
    due_at: datetime
    attempts: int = 0
    """How often no final answer came. After the first time the bank is asked whether it knows the operation."""
    refund_id: str | None = None
    request_id: str | None = None
    """Of the request that caused it; None where none did."""


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
    customer_id: str | None = None
    card: StoredCard | None = None
    capture: CaptureMethod = CaptureMethod.AUTOMATIC
    card_token_id: str | None = None
    """The card token that this payment has used up."""
    challenge_url: str | None = None
    """Where the cardholder is asked by 3-D Secure, for a card whose issuer wants that."""
    payment_key_id: str | None = None
    payment_key_use: int | None = None
    """Which of the payment key's limited uses this payment has used up."""
    amount_captured_minor: int = 0
    amount_refunded_minor: int = 0
    failure: Failure | None = None
    refunds: tuple[Refund, ...] = ()
    intents: tuple[Intent, ...] = ()
    acts_at: datetime | None = None
    """When something happens by itself (business time): processing begins, or an authorisation expires."""
    sequence: int = 1
    """The number of its latest event. Events of one payment are numbered without gaps; the first is its creation."""
    version: int = 1
    """Goes up with every change; a change is written on condition that it is still the one that was read."""
    deleted: bool = False
    in_hand: bool = False
    """A worker has it: while it is pending, the bank may already have been asked."""
    request_id: str | None = None
    """Of the request that caused its latest step, at once or through a worker; None where none did."""

    @property
    def due_at(self) -> datetime | None:
        """When a worker goes on with it; None while there is nothing to do."""
        moments = [intent.due_at for intent in self.sendable]
        if self.acts_at is not None:
            moments.append(self.acts_at)
        return min(moments, default=None)

    @property
    def sendable(self) -> tuple[Intent, ...]:
        """A refund waits until the bank knows of the capture; refunds do not wait for each other."""
        waits = self.intents and self.intents[0].kind is not OperationKind.REFUND
        return self.intents[:1] if waits else self.intents

    @property
    def authorisation_id(self) -> str:
        """The id by which the bank knows it."""
        return ids.derived("op", self.id, OperationKind.AUTHORISE)

    @property
    def refundable_minor(self) -> int:
        """What was captured, less what was given back or is about to be."""
        reserved = sum(refund.amount_minor for refund in self.refunds if refund.status is not RefundStatus.FAILED)
        return self.amount_captured_minor - reserved


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """What happened to a payment or to one of its refunds, numbered by the payment, and both right after it."""

    type: str
    sequence: int
    payment: Payment
    refund: Refund | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A payment after a command, and what is to be told about it, oldest first."""

    payment: Payment
    events: tuple[PaymentEvent, ...] = ()


def create(payment: Payment) -> Change:
    """The first change: a payment appears, with its first event."""
    return Change(payment, (PaymentEvent("payment.created", payment.sequence, payment),))


def begin(payment: Payment, now: datetime) -> Change:
    """A worker takes it on: to the cardholder where the issuer asks for 3-D Secure, else to the bank."""
    if payment.card is not None and payment.card.challenges:
        return move(payment, Status.REQUIRES_ACTION, now, acts_at=None)
    return _to_the_bank(payment, now)


def authenticate(payment: Payment, now: datetime, *, succeeded: bool) -> Change:
    """The cardholder has approved, or refused."""
    _require(payment, Command.AUTHENTICATE)
    if succeeded:
        return _to_the_bank(payment, now)
    return move(payment, Status.FAILED, now, failure=AUTHENTICATION_FAILED)


def capture(payment: Payment, now: datetime, amount_minor: int | None = None) -> Change:
    """Take the authorised amount, or a part of it; the rest is released. Raises NotAccepted, AmountTooLarge."""
    _require(payment, Command.CAPTURE)
    if payment.acts_at is not None and payment.acts_at <= now:
        raise NotAccepted(f"Transaction '{payment.id}' is {Status.EXPIRED}; it cannot be captured.")
    amount_minor = payment.amount_minor if amount_minor is None else amount_minor
    if amount_minor > payment.amount_minor:
        raise AmountTooLarge("The amount is more than was authorised.")
    intent = _intent(payment, OperationKind.CAPTURE, amount_minor, now)
    return move(payment, Status.COMPLETED, now, amount_captured_minor=amount_minor, acts_at=None, intents=(intent,))


def cancel(payment: Payment, now: datetime) -> Change:
    """Call it off before any money has moved. Raises NotAccepted."""
    if not _can_be_cancelled(payment):
        status = Status.PROCESSING if payment.status is Status.PENDING else payment.status
        raise NotAccepted(f"Transaction '{payment.id}' is {status}; it cannot be cancelled.")
    return move(payment, Status.CANCELLED, now, acts_at=None, intents=_void(payment, now))


def expire(payment: Payment, now: datetime) -> Change:
    """Nobody captured in time: the bank releases the money."""
    payment = replace(payment, request_id=None)
    return move(payment, Status.EXPIRED, now, acts_at=None, intents=_void(payment, now))


def request_refund(
    payment: Payment, now: datetime, refund_id: str, amount_minor: int | None, reason: str | None
) -> Change:
    """Reserve an amount to be given back, all that is left by default. Raises NotAccepted, AmountTooLarge."""
    _require(payment, Command.REFUND)
    amount_minor = payment.refundable_minor if amount_minor is None else amount_minor
    if not 0 < amount_minor <= payment.refundable_minor:
        raise AmountTooLarge("The amount is more than is left to be refunded.")
    if len(payment.refunds) >= MAX_REFUNDS:
        raise NotAccepted(f"Transaction '{payment.id}' has {MAX_REFUNDS} refunds; no more are possible.")
    refund = Refund(refund_id, amount_minor, RefundStatus.PENDING, now, now, reason)
    intent = Intent(
        ids.derived("op", refund_id),
        OperationKind.REFUND,
        amount_minor,
        due_at=now,
        refund_id=refund_id,
        request_id=payment.request_id,
    )
    return tell_refund(payment, "refund.created", refund, now, intents=(*payment.intents, intent))


def amend(payment: Payment, now: datetime, **fields: object) -> Change:
    """Change what only describes the payment (details, reference, metadata). No move, so no event."""
    return Change(changed(payment, now, **fields))


def delete(payment: Payment, now: datetime) -> Change:
    """Hide it from lists and reads. What could still be called off is cancelled first."""
    change = cancel(payment, now) if _can_be_cancelled(payment) else Change(payment)
    return Change(changed(change.payment, now, deleted=True), change.events)


def move(payment: Payment, status: Status, now: datetime, **fields: Any) -> Change:
    """Change the state, with its event. That the table has the move is the caller's to know."""
    assert status in MOVES[payment.status], f"{payment.status} to {status} is no move of the table"
    moved = changed(payment, now, status=status, sequence=payment.sequence + 1, **fields)
    return Change(moved, (PaymentEvent(f"payment.{status}", moved.sequence, moved),))


def tell_refund(payment: Payment, event_type: str, refund: Refund, now: datetime, **fields: Any) -> Change:
    """Add or replace a refund, with its event."""
    refund = replace(refund, sequence=payment.sequence + 1)
    others = tuple(one for one in payment.refunds if one.id != refund.id)
    refunds = tuple(sorted((*others, refund), key=lambda one: (one.created_at, one.id)))
    after = changed(payment, now, refunds=refunds, sequence=refund.sequence, **fields)
    return Change(after, (PaymentEvent(event_type, after.sequence, after, refund),))


def changed(payment: Payment, now: datetime, **fields: Any) -> Payment:
    return replace(payment, updated_at=now, version=payment.version + 1, **fields)


def _to_the_bank(payment: Payment, now: datetime) -> Change:
    intent = _intent(payment, OperationKind.AUTHORISE, payment.amount_minor, now)
    return move(payment, Status.PROCESSING, now, acts_at=None, intents=(intent,))


def _void(payment: Payment, now: datetime) -> tuple[Intent, ...]:
    """Only what the bank has authorised needs to be voided there."""
    if payment.status is not Status.AUTHORIZED:
        return ()
    return (_intent(payment, OperationKind.VOID, payment.amount_minor, now),)


def _intent(payment: Payment, kind: OperationKind, amount_minor: int, now: datetime) -> Intent:
    operation_id = ids.derived("op", payment.id, kind)
    return Intent(operation_id, kind, amount_minor, due_at=now, request_id=payment.request_id)


def _can_be_cancelled(payment: Payment) -> bool:
    taken_to_the_bank = payment.status is Status.PENDING and payment.in_hand
    return Command.CANCEL in ACCEPTS[payment.status] and not taken_to_the_bank


def _require(payment: Payment, command: Command) -> None:
    if command not in ACCEPTS[payment.status]:
        raise NotAccepted(f"Transaction '{payment.id}' is {payment.status}; it cannot be {command}.")
