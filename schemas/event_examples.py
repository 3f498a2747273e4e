"""An example of each type of event, made as the real ones are: by the rules, along the lives of a few objects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core import json_codec
from domain import customers, payments
from domain.acquiring import Answer, Decline, Verdict
from domain.bank_answers import answered
from domain.bank_scenarios import DO_NOT_HONOUR, INSUFFICIENT_FUNDS
from domain.cards import Brand, StoredCard
from domain.customers import Customer
from domain.payments import CaptureMethod, Change, Payment, Status
from domain.webhook_endpoints import DISABLED_EVENT, TEST_EVENT, DisabledReason, WebhookEndpoint, disable
from schemas.customers import customer_view
from schemas.event_types import EVENT_TYPES
from schemas.events import event_body
from schemas.payments import payment_view
from schemas.refunds import refund_view
from schemas.webhook_endpoints import webhook_endpoint_view

_RANDOM_PART = "06gztrpz170we29n8r9na1k3t0"
_START = datetime(2026, 11, 21, 7, 25, 1, 123_000, tzinfo=UTC)
_CARD = StoredCard(
    token_id=f"tok_{_RANDOM_PART}",
    brand=Brand.VISA,
    masked="424242XXXXXX4242",
    exp_month=12,
    exp_year=2030,
    holder_name="Grace Hopper",
    fingerprint="967cdfaa2d0d684d10824ee997519394",
    sealed_pan=b"",
)
_PAYMENT = Payment(
    id=f"txn_{_RANDOM_PART}",
    owner_id=f"user_{_RANDOM_PART}",
    customer_name="Grace Hopper",
    amount_minor=10050,
    currency="USD",
    status=Status.PENDING,
    created_at=_START,
    updated_at=_START,
    details="Two tickets, row 7",
    webhook_url="http://localhost:4242/hook",
    reference="order-1001",
    metadata={"orderId": "A-1001"},
    card=_CARD,
)
_HELD = replace(_PAYMENT, capture=CaptureMethod.MANUAL)
_CHALLENGED = replace(
    _PAYMENT, card=replace(_CARD, challenges=True), challenge_url=f"http://localhost:8000/3ds/{_PAYMENT.id}/5f3a"
)
_CUSTOMER = Customer(
    id=f"cus_{_RANDOM_PART}",
    owner_id=f"user_{_RANDOM_PART}",
    name="Grace Hopper",
    created_at=_START,
    updated_at=_START,
    email="grace@example.com",
    phone="+442079460018",
    phone_as_typed="020 7946 0018",
    country="GB",
    metadata={"seat": "7A"},
)
_ENDPOINT = WebhookEndpoint(
    id=f"we_{_RANDOM_PART}",
    owner_id=f"user_{_RANDOM_PART}",
    url="http://localhost:4242/hook",
    events=("payment.completed", "refund.*"),
    sealed_secrets=b"",
    created_at=_START,
    updated_at=_START,
    description="Order system",
)


@dataclass(frozen=True, slots=True)
class _Told:
    type: str
    at: datetime
    data: dict[str, Any]


def _after(seconds: int) -> datetime:
    return _START + timedelta(seconds=seconds)


def _bank(payment: Payment, decline: Decline | None = None) -> Change:
    """The payment after the bank's answer to the last that it was asked."""
    intent, verdict = payment.intents[-1], Verdict.DECLINED if decline else Verdict.APPROVED
    answer = Answer(intent.operation_id, verdict, decline)
    return answered(payment, intent, answer, payment.updated_at + timedelta(seconds=1))


def _paid(payment: Payment) -> Iterator[Change]:
    yield (created := payments.create(payment))
    yield (begun := payments.begin(created.payment, _after(1)))
    yield _bank(begun.payment)


def _payment_changes() -> Iterator[Change]:
    *_, completed = changes = list(_paid(_PAYMENT))
    yield from changes
    yield (part := payments.request_refund(completed.payment, _after(60), f"re_{_RANDOM_PART}", 4000, "Double booked"))
    yield _bank(part.payment)
    yield _bank(part.payment, DO_NOT_HONOUR)
    yield _bank(payments.request_refund(completed.payment, _after(60), f"re_{_RANDOM_PART}", None, None).payment)
    *_, authorised = changes = list(_paid(_HELD))
    yield from changes
    yield payments.cancel(authorised.payment, _after(60))
    yield payments.expire(authorised.payment, _START + payments.AUTHORISATION_LIFETIME)
    yield payments.begin(_CHALLENGED, _after(1))
    yield _bank(payments.begin(_PAYMENT, _after(1)).payment, INSUFFICIENT_FUNDS)


def _customer_changes() -> Iterator[customers.Change]:
    yield customers.create(_CUSTOMER)
    changed = customers.update(_CUSTOMER, _after(60), description="Prefers the aisle")
    assert changed is not None
    yield changed
    yield customers.delete(changed.customer, _after(120))


def _told() -> Iterator[_Told]:
    for change in _payment_changes():
        for event in change.events:
            shown = refund_view(event.refund, event.payment) if event.refund else payment_view(event.payment)
            yield _Told(event.type, event.payment.updated_at, shown)
    for one in _customer_changes():
        yield _Told(one.event_type, one.customer.updated_at, customer_view(one.customer))
    yield _Told(TEST_EVENT, _after(60), webhook_endpoint_view(_ENDPOINT))
    ended = disable(_ENDPOINT, DisabledReason.FAILING, _after(5 * 24 * 3600))
    yield _Told(DISABLED_EVENT, ended.updated_at, webhook_endpoint_view(ended))


def _examples() -> dict[str, Any]:
    first: dict[str, Any] = {}
    for told in _told():
        body = event_body(f"evt_{_RANDOM_PART}", told.type, told.at, json_codec.dumps(told.data))
        first.setdefault(told.type, json_codec.loads_own(body))
    return first


EVENT_EXAMPLES: Final[Mapping[str, Any]] = _examples()
"""A whole body for each type of the registry."""
assert EVENT_EXAMPLES.keys() == EVENT_TYPES.keys()
