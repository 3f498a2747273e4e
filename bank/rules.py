"""What the bank decides, and what it then owes or is owed: pure rules over one authorisation and what follows it.

Each function returns the authorisation as it becomes. A late decision is made at once and kept with the moment from
which it counts, so that nothing has to happen in the background.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from domain.acquiring import Answer, Decline, Operation, OperationKind, Verdict
from domain.bank_scenarios import LATE_S, REFUND_FAILED, RefundReply, Reply, Scenario, scenario_by_id

LONGEST_WRITE = timedelta(minutes=1)
"""How long after a decision it may be until the books show it."""


def _refusal(message: str, decline_code: str = "not_permitted", network_code: str = "12") -> Decline:
    return Decline("card_declined", decline_code, message, network_code)


NO_AUTHORISATION = _refusal("There is no such authorisation.", network_code="25")
CALLED_OFF = _refusal("The authorisation was called off.", "revocation_of_authorization", "R1")
NOT_APPROVED = _refusal("The authorisation was not approved.")
VOIDED = _refusal("The authorisation was voided.")
CAPTURED = _refusal("The authorisation was already captured.")
NOT_CAPTURED = _refusal("The authorisation was not captured.")
INVALID_AMOUNT = _refusal("Nothing, or more than is left.", "invalid_amount", "13")


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A capture, void or refund, carried out or refused."""

    id: str
    kind: OperationKind
    amount_minor: int
    decline: Decline | None
    decided_at: datetime
    """Until then it is pending."""

    def answer(self, now: datetime) -> Answer:
        return _answer(self.id, self.decline, self.decided_at, now)

    def succeeded(self, now: datetime) -> bool:
        return self.decline is None and self.decided_at <= now


@dataclass(frozen=True, slots=True)
class Authorisation:
    id: str
    merchant_id: str
    amount_minor: int
    currency: str
    decline: Decline | None
    decided_at: datetime
    """Until then it is pending, a capture in the same step included."""
    captured_minor: int = 0
    captured_at: datetime | None = None
    voided: bool = False
    scenario_id: str | None = None
    account: bytes | None = None
    """Of a card with a balance: where its money is."""
    follow_ups: tuple[FollowUp, ...] = ()
    version: int = 1

    def answer(self, now: datetime) -> Answer:
        return _answer(self.id, self.decline, self.decided_at, now)

    def approved(self, now: datetime) -> bool:
        return self.decline is None and self.decided_at <= now

    def follow_up(self, operation_id: str) -> FollowUp | None:
        return next((one for one in self.follow_ups if one.id == operation_id), None)

    def refundable_minor(self, now: datetime) -> int:
        """What was captured, less what was refunded or is being refunded."""
        under_way_or_done = sum(
            one.amount_minor
            for one in self.follow_ups
            if one.kind is OperationKind.REFUND and (one.decline is None or one.decided_at > now)
        )
        return self.captured_minor - under_way_or_done

    def spent_minor(self, now: datetime) -> int:
        """What it takes from the card: held until it is captured, and then what was not refunded."""
        if self.decline is not None or self.voided:
            return 0
        return self.amount_minor if self.captured_at is None else self.refundable_minor(now)


def authorise(operation: Operation, scenario: Scenario | None, decline: Decline | None, now: datetime) -> Authorisation:
    """Decide an authorisation, or with `operation.capture` a sale. A decline that is given stands above the card's."""
    late = scenario is not None and scenario.reply is Reply.LATE
    decided_at = now + timedelta(seconds=LATE_S) if late else now
    if decline is None and scenario is not None:
        decline = scenario.decline_of(operation.amount_minor, operation.currency)
    sale = operation.capture and decline is None
    return Authorisation(
        id=operation.id,
        merchant_id=operation.merchant_id,
        amount_minor=operation.amount_minor,
        currency=operation.currency,
        decline=decline,
        decided_at=decided_at,
        captured_minor=operation.amount_minor if sale else 0,
        captured_at=decided_at if sale else None,
        scenario_id=scenario.id if scenario else None,
    )


def refuse(authorisation: Authorisation, decline: Decline) -> Authorisation:
    """The same authorisation, declined."""
    return replace(authorisation, decline=decline, captured_minor=0, captured_at=None)


def follow(authorisation: Authorisation | None, operation: Operation, now: datetime) -> Authorisation | None:
    """Carry out a capture, void or refund, or refuse it; either is kept, so that a repeat gets the same answer.

    Nothing changes where it was asked before, or where the merchant has no such authorisation in this currency.
    """
    if authorisation is None:
        return _tombstone(operation, now) if operation.kind is OperationKind.VOID else None
    same = (authorisation.merchant_id, authorisation.currency) == (operation.merchant_id, operation.currency)
    if not same or authorisation.follow_up(operation.id):
        return authorisation
    if operation.kind is OperationKind.CAPTURE:
        return _capture(authorisation, operation, now)
    if operation.kind is OperationKind.VOID:
        return _void(authorisation, operation, now)
    return _refund(authorisation, operation, now)


def answer_of(authorisation: Authorisation | None, operation_id: str, now: datetime) -> Answer | None:
    """What became of the authorisation itself, or of what followed it. None where it was never carried out."""
    if authorisation is None:
        return None
    if authorisation.id == operation_id:
        return authorisation.answer(now)
    follow_up = authorisation.follow_up(operation_id)
    return follow_up.answer(now) if follow_up else None


def day_is_complete(day: date, now: datetime) -> bool:
    """Whether the day (UTC) is over and in the books, so that its settlement file stays as it is."""
    return day < (now - LONGEST_WRITE).date()


def _tombstone(void: Operation, now: datetime) -> Authorisation:
    """What a void leaves of an authorisation that has not arrived: when it does, it is refused."""
    return Authorisation(
        id=void.authorisation_id,
        merchant_id=void.merchant_id,
        amount_minor=0,
        currency=void.currency,
        decline=CALLED_OFF,
        decided_at=now,
        voided=True,
        follow_ups=(FollowUp(void.id, OperationKind.VOID, 0, None, now),),
    )


def _capture(authorisation: Authorisation, operation: Operation, now: datetime) -> Authorisation:
    decline = None
    if authorisation.voided:
        decline = VOIDED
    elif not authorisation.approved(now):
        decline = NOT_APPROVED
    elif authorisation.captured_at is not None:
        decline = CAPTURED
    elif not 0 < operation.amount_minor <= authorisation.amount_minor:
        decline = INVALID_AMOUNT
    after = _with(authorisation, operation, decline, now)
    if decline is not None:
        return after
    return replace(after, captured_minor=operation.amount_minor, captured_at=now)


def _void(authorisation: Authorisation, operation: Operation, now: datetime) -> Authorisation:
    """Make sure that nothing is held. Refused only where money has been taken."""
    if authorisation.captured_at is not None and authorisation.captured_at <= now:
        return _with(authorisation, operation, CAPTURED, now)
    after = replace(_with(authorisation, operation, None, now), voided=True, captured_minor=0, captured_at=None)
    # Called off before it was decided: it never will be, and is not among what was authorised.
    return after if authorisation.decided_at <= now else replace(after, decline=CALLED_OFF, decided_at=now)


def _refund(authorisation: Authorisation, operation: Operation, now: datetime) -> Authorisation:
    if not authorisation.approved(now) or authorisation.captured_at is None:
        return _with(authorisation, operation, NOT_CAPTURED, now)
    if not 0 < operation.amount_minor <= authorisation.refundable_minor(now):
        return _with(authorisation, operation, INVALID_AMOUNT, now)
    scenario = scenario_by_id(authorisation.scenario_id) if authorisation.scenario_id else None
    reply = scenario.refund_reply if scenario else RefundReply.PROMPT
    decided_at = now if reply is RefundReply.PROMPT else now + timedelta(seconds=LATE_S)
    return _with(authorisation, operation, REFUND_FAILED if reply is RefundReply.LATE_FAILURE else None, decided_at)


def _with(
    authorisation: Authorisation, operation: Operation, decline: Decline | None, decided_at: datetime
) -> Authorisation:
    done = FollowUp(operation.id, operation.kind, operation.amount_minor, decline, decided_at)
    return replace(authorisation, follow_ups=(*authorisation.follow_ups, done), version=authorisation.version + 1)


def _answer(operation_id: str, decline: Decline | None, decided_at: datetime, now: datetime) -> Answer:
    if decided_at > now:
        return Answer(operation_id, Verdict.PENDING)
    return Answer(operation_id, Verdict.APPROVED if decline is None else Verdict.DECLINED, decline)
