"""What an answer of the bank makes of a payment: pure functions, like all of the payment's life."""

import random
from dataclasses import replace
from datetime import datetime, timedelta

from domain.acquiring import Answer, Decline, OperationKind, Verdict
from domain.payments import (
    AUTHORISATION_LIFETIME,
    CaptureMethod,
    Change,
    Failure,
    Intent,
    Payment,
    Refund,
    RefundStatus,
    Status,
    move,
    tell_refund,
)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0


def answered(payment: Payment, intent: Intent, answer: Answer | None, now: datetime) -> Change:
    """The payment after the bank's answer to one of its intents; None where no answer came.

    Without a decision the intent stays and is due again later: nothing fails because the bank was silent.
    """
    payment = replace(payment, request_id=intent.request_id)
    if answer is None or answer.verdict in (Verdict.PENDING, Verdict.UNKNOWN):
        return _with_intents(payment, _instead(payment, intent, _later(intent, now)))
    approved, decline = answer.verdict is Verdict.APPROVED, answer.decline
    if intent.kind is OperationKind.AUTHORISE:
        return _authorised(payment, now) if approved else _refused(payment, decline, now)
    if intent.kind is OperationKind.REFUND:
        return _refunded(payment, intent, now) if approved else _refund_failed(payment, intent, decline, now)
    if not approved:
        # The bank confirms what it has authorised; where it does not, money is at stake and nobody gives up.
        return _with_intents(payment, _instead(payment, intent, _later(intent, now)))
    return _with_intents(payment, _instead(payment, intent))


def _authorised(payment: Payment, now: datetime) -> Change:
    if payment.capture is CaptureMethod.MANUAL:
        return move(payment, Status.AUTHORIZED, now, intents=(), acts_at=now + AUTHORISATION_LIFETIME)
    return move(payment, Status.COMPLETED, now, intents=(), amount_captured_minor=payment.amount_minor)


def _refused(payment: Payment, decline: Decline | None, now: datetime) -> Change:
    return move(payment, Status.FAILED, now, intents=(), failure=_failure(decline))


def _refunded(payment: Payment, intent: Intent, now: datetime) -> Change:
    refund = replace(_refund(payment, intent), status=RefundStatus.SUCCEEDED, updated_at=now)
    given_back_minor = payment.amount_refunded_minor + refund.amount_minor
    told = tell_refund(
        payment,
        "refund.succeeded",
        refund,
        now,
        intents=_instead(payment, intent),
        amount_refunded_minor=given_back_minor,
    )
    everything = given_back_minor == payment.amount_captured_minor
    moved = move(told.payment, Status.REFUNDED if everything else Status.PARTIALLY_REFUNDED, now)
    return Change(moved.payment, told.events + moved.events)


def _refund_failed(payment: Payment, intent: Intent, decline: Decline | None, now: datetime) -> Change:
    failed = replace(_refund(payment, intent), status=RefundStatus.FAILED, updated_at=now, failure=_failure(decline))
    return tell_refund(payment, "refund.failed", failed, now, intents=_instead(payment, intent))


def _refund(payment: Payment, intent: Intent) -> Refund:
    return next(refund for refund in payment.refunds if refund.id == intent.refund_id)


def _failure(decline: Decline | None) -> Failure:
    if decline is None:
        return Failure("card_declined", "The bank declined without a reason.", "generic_decline", "05")
    return Failure(decline.code, decline.message, decline.decline_code, decline.network_code)


def _with_intents(payment: Payment, intents: tuple[Intent, ...]) -> Change:
    """Nothing that a client sees has changed, so its time of change stays."""
    return Change(replace(payment, intents=intents, version=payment.version + 1))


def _instead(payment: Payment, intent: Intent, *successors: Intent) -> tuple[Intent, ...]:
    others = tuple(one for one in payment.intents if one.operation_id != intent.operation_id)
    return (*successors, *others)


def _later(intent: Intent, now: datetime) -> Intent:
    pause_s = min(FIRST_PAUSE_S * 2**intent.attempts, LONGEST_PAUSE_S)
    spread = random.uniform(1, 1.2)  # noqa: S311 - spreads load, guards nothing
    return replace(intent, attempts=min(intent.attempts + 1, 30), due_at=now + timedelta(seconds=pause_s * spread))
