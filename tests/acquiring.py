"""What tests ask of the bank, and what they expect to hear."""

import secrets
from typing import Any

from domain.acquiring import Answer, Decline, Operation, OperationKind, Verdict
from domain.bank_scenarios import SCENARIOS

PAN = {scenario.id: scenario.pan for scenario in SCENARIOS}
VISA = PAN["success_visa"]


def fresh(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def sale(pan: str | None = VISA, amount_minor: int = 10_000, *, capture: bool = True, **fields: Any) -> Operation:
    operation_id = fresh("auth")
    return Operation(
        id=operation_id,
        kind=OperationKind.AUTHORISE,
        authorisation_id=operation_id,
        merchant_id=fields.pop("merchant_id", fresh("user")),
        amount_minor=amount_minor,
        currency=fields.pop("currency", "USD"),
        capture=capture,
        pan=pan,
    )


def hold(pan: str | None = VISA, amount_minor: int = 10_000, **fields: Any) -> Operation:
    return sale(pan, amount_minor, capture=False, **fields)


def after(authorisation: Operation, kind: OperationKind, amount_minor: int | None = None) -> Operation:
    return Operation(
        id=fresh(kind),
        kind=kind,
        authorisation_id=authorisation.id,
        merchant_id=authorisation.merchant_id,
        amount_minor=authorisation.amount_minor if amount_minor is None else amount_minor,
        currency=authorisation.currency,
    )


def capture(authorisation: Operation, amount_minor: int | None = None) -> Operation:
    return after(authorisation, OperationKind.CAPTURE, amount_minor)


def void(authorisation: Operation) -> Operation:
    return after(authorisation, OperationKind.VOID)


def refund(authorisation: Operation, amount_minor: int | None = None) -> Operation:
    return after(authorisation, OperationKind.REFUND, amount_minor)


def approved(operation: Operation) -> Answer:
    return Answer(operation.id, Verdict.APPROVED)


def declined(operation: Operation, decline: Decline) -> Answer:
    return Answer(operation.id, Verdict.DECLINED, decline)


def unknown(operation: Operation) -> Answer:
    return Answer(operation.id, Verdict.UNKNOWN)


def pending(operation: Operation) -> Answer:
    return Answer(operation.id, Verdict.PENDING)
