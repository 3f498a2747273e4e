"""Accounts with a year of payments, written straight into MongoDB in the form that the product writes.

What a filter finds is laid down exactly, so that the same question can be put to a small and a large account: a common
value and an occasional one that take the same share of both, and a rare one with the same few payments in both.
"""

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from pymongo import WriteConcern
from pymongo.collection import Collection

from core import ids, json_codec
from domain.money import EXPONENTS, to_minor
from domain.payments import Payment, Status
from repositories.claims import Claim, claim_document
from repositories.payment_documents import to_document
from schemas.payments import payment_view

COMMON, OCCASIONAL = 0.5, 0.06
"""Shares of an account. The occasional is enough for a full page in the small one."""
RARE: Final = 5
"""How many payments of an account, however large it is, have a rare value."""
YEAR: Final = timedelta(days=365)
RARE_PERIOD: Final = timedelta(hours=1)
"""At each end of the year; in it lie the rare oldest and the rare newest payments, and no others."""
LARGEST: Final = 5_000
"""Amounts go from 1 up to this, each order of magnitude as often as the others; the rare ones lie outside."""

STATUSES = {Status.COMPLETED: COMMON, Status.FAILED: OCCASIONAL, Status.REFUNDED: 0.14, Status.CANCELLED: 0.3}
CURRENCIES = {"USD": COMMON, "JPY": OCCASIONAL, "EUR": 0.34, "GBP": 0.1}
CUSTOMERS = {"Acme Travel": COMMON, "Grace Hopper": OCCASIONAL}
REFERENCES = {"subscription": COMMON, "top-up": OCCASIONAL}
RARE_STATUS, RARE_CURRENCY, RARE_CUSTOMER, RARE_REFERENCE = Status.EXPIRED, "KWD", "Rare Visitor", "once-in-a-while"
RARE_SMALL, RARE_MIDDLE, RARE_LARGE = Decimal("0.05"), Decimal(25_000), Decimal(1_000_000)

_EVENTS = {Status.COMPLETED: 3, Status.FAILED: 3, Status.REFUNDED: 4, Status.CANCELLED: 2, Status.EXPIRED: 3}
_BATCH = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Draft:
    """What differs from payment to payment."""

    status: Status
    currency: str
    customer_name: str
    reference: str
    amount: Decimal
    created_at: datetime


def fill(payments: Collection[dict[str, Any]], owner_id: str, count: int, now: datetime) -> None:
    """Give an account this many payments of the year before `now`."""
    chance = random.Random(count)
    quick = payments.with_options(write_concern=WriteConcern(w=1))
    drafts = _drafts(chance, count, now)
    for start in range(0, count, _BATCH):
        batch = [
            _document(_payment(draft, owner_id, start + offset), chance)
            for offset, draft in enumerate(drafts[start : start + _BATCH])
        ]
        quick.insert_many(batch, ordered=False)


def amount_at(share: float) -> Decimal:
    """The amount that this share of the payments lies below."""
    return round(Decimal(LARGEST**share), 2)


def _drafts(chance: random.Random, count: int, now: datetime) -> list[_Draft]:
    strangers = max(20, count // 20)
    statuses, currencies = _column(chance, STATUSES, count), _column(chance, CURRENCIES, count)
    customers, references = _column(chance, CUSTOMERS, count), _column(chance, REFERENCES, count)
    columns = zip(statuses, currencies, customers, references, strict=True)
    drafts = [
        _Draft(
            status=status or Status.COMPLETED,
            currency=currency or "USD",
            customer_name=customer or f"Customer {chance.randrange(strangers)}",
            reference=reference or f"order-{number}",
            amount=Decimal(LARGEST ** chance.random()),
            created_at=now - RARE_PERIOD - (YEAR - 2 * RARE_PERIOD) * chance.random(),
        )
        for number, (status, currency, customer, reference) in enumerate(columns)
    ]
    for number, rare in enumerate(_rare_values(now) * RARE):
        drafts[number] = replace(drafts[number], **rare)
    return drafts


def _rare_values(now: datetime) -> list[dict[str, Any]]:
    return [
        {"status": RARE_STATUS},
        {"currency": RARE_CURRENCY},
        {"customer_name": RARE_CUSTOMER},
        {"reference": RARE_REFERENCE},
        *({"amount": amount, "currency": "USD"} for amount in (RARE_SMALL, RARE_MIDDLE, RARE_LARGE)),
        {"created_at": now - RARE_PERIOD / 2},
        {"created_at": now - YEAR + RARE_PERIOD / 2},
    ]


def _column(chance: random.Random, shares: dict[T, float], count: int) -> list[T | None]:
    """Each value for its exact share of the rows, in random order; None for the rest."""
    values: list[T | None] = []
    for value, share in shares.items():
        values.extend([value] * round(share * count))
    values.extend([None] * (count - len(values)))
    chance.shuffle(values)
    return values


def _payment(draft: _Draft, owner_id: str, number: int) -> Payment:
    exponent = EXPONENTS[draft.currency]
    amount_minor = to_minor(round(max(draft.amount, Decimal(1).scaleb(-exponent)), exponent), draft.currency)
    captured = draft.status in (Status.COMPLETED, Status.REFUNDED)
    events = _EVENTS[draft.status]
    return Payment(
        id=ids.derived("txn", owner_id, "seed", str(number)),
        owner_id=owner_id,
        customer_name=draft.customer_name,
        amount_minor=amount_minor,
        currency=draft.currency,
        status=draft.status,
        created_at=draft.created_at,
        updated_at=draft.created_at + timedelta(seconds=2),
        details="Two tickets, row 7",
        reference=draft.reference,
        metadata={"orderId": f"A-{number}"},
        amount_captured_minor=amount_minor if captured else 0,
        amount_refunded_minor=amount_minor if draft.status is Status.REFUNDED else 0,
        sequence=events,
        version=events,
    )


def _document(payment: Payment, chance: random.Random) -> dict[str, Any]:
    """As the collection holds a payment whose events are published, with the claim that its charge made."""
    answer = json_codec.dumps(payment_view(payment))
    claim = claim_document(Claim(payment.id, chance.randbytes(32), 201, answer))
    return {**to_document(payment), "outbox": [], "claim": claim}
