"""Payments, as clients send and see them."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from core.clock import rfc3339
from domain import money
from domain.payments import CaptureMethod, Payment, Status
from schemas.cards import TYPED_CARD, CardInput, CardOut, card_view
from schemas.common import (
    NOT_BLANK,
    AmountBound,
    AmountMajor,
    CurrencyCode,
    Details,
    HttpUrl,
    Metadata,
    Moment,
    MomentGiven,
    ObjectId,
    PositiveAmount,
    Reference,
    RequestModel,
    ResponseModel,
    canonical,
    example,
)
from schemas.refunds import FailureOut, RefundOut, failure_view, refund_view


class ChargeFields(RequestModel):
    """What every charge can say."""

    customer_name: str | None = Field(None, min_length=1, max_length=200, pattern=NOT_BLANK, examples=["Grace Hopper"])
    # Before the amount, whose decimals depend on it.
    currency: CurrencyCode
    payment_amount: AmountMajor
    details: Details | None = None
    webhook_url: HttpUrl | None = None
    reference: Reference | None = None
    metadata: Metadata | None = None
    capture: CaptureMethod = Field(
        CaptureMethod.AUTOMATIC, description="`manual` authorises only; the money is taken by a capture within 7 days"
    )
    card: CardInput | None = None
    card_token: ObjectId | None = Field(None, examples=["tok_06gztrpz170we29n8r9na1k3t0"])
    card_id: ObjectId | None = Field(None, examples=["card_06gztrpz170we29n8r9na1k3t0"])

    @model_validator(mode="after")
    def _one_card_at_most(self) -> Self:
        if sum(given is not None for given in (self.card, self.card_token, self.card_id)) > 1:
            raise ValueError("at most one of card, cardToken and cardId")
        return self

    @field_validator("payment_amount")
    @classmethod
    def _fits_the_currency(cls, value: Decimal, info: ValidationInfo) -> Decimal:
        currency = info.data.get("currency")
        if value <= 0:
            raise PydanticKnownError("greater_than", {"gt": 0})
        if currency is not None:
            money.to_minor(value, currency)
        return value

    @cached_property
    def amount_minor(self) -> int:
        return money.to_minor(self.payment_amount, self.currency)

    def fingerprint_source(self) -> dict[str, Any]:
        """What was asked for, in one form for each meaning: `usd` is `USD`, 1.50 is 1.5, and null is absent."""
        card = self.card.fingerprint_source() if self.card is not None else None
        fields = {**vars(self), "payment_amount": None, "amount_minor": self.amount_minor, "card": card}
        return {name: value for name, value in fields.items() if value is not None}


class ChargeRequest(ChargeFields):
    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "customerName": "Grace Hopper",
                "paymentAmount": 100.5,
                "currency": "USD",
                "details": "Two tickets, row 7",
                "reference": "order-1001",
                "metadata": {"orderId": "A-1001"},
                "card": TYPED_CARD,
            }
        )
    )

    customer_name: str = Field(min_length=1, max_length=200, pattern=NOT_BLANK, examples=["Grace Hopper"])
    customer_id: ObjectId | None = Field(None, examples=["cus_06gztrpz170we29n8r9na1k3t0"])


class CustomerChargeRequest(ChargeFields):
    """A charge of a customer; without `customerName` the customer's own name is taken."""

    model_config = ConfigDict(
        json_schema_extra=example({"paymentAmount": 25, "currency": "EUR", "cardId": "card_06gztrpz170we29n8r9na1k3t0"})
    )


class PaymentPatch(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"details": "Two tickets, row 8", "metadata": {"seat": "8A"}}))

    details: Details | None = None
    reference: Reference | None = None
    metadata: Metadata | None = None

    def changes(self) -> dict[str, Any]:
        """Only what was sent: null clears a field, an absent one stays."""
        return self.model_dump(exclude_unset=True)


class NextAction(ResponseModel):
    """What the cardholder must do before the payment goes on."""

    type: Literal["redirect"]
    url: str = Field(
        description="The page where 3-D Secure asks", examples=["http://localhost:8000/3ds/txn_06gz…/5f3a…"]
    )


class PaymentOut(ResponseModel):
    id: str = Field(examples=["txn_06gztrpz170we29n8r9na1k3t0"])
    owner_id: str
    customer_name: str
    customer_id: str | None
    amount: float = Field(description="In major units", examples=[100.5])
    amount_minor: int = Field(description="The exact amount in minor units", examples=[10050])
    currency: str = Field(examples=["USD"])
    details: str | None
    status: Status
    webhook_url: str | None
    reference: str | None
    metadata: dict[str, str]
    payment_method: Literal["card", "none"]
    card: CardOut | None
    capture: CaptureMethod
    failure: FailureOut | None
    next_action: NextAction | None
    authorization_expires_at: Moment | None = Field(description="Of an authorised payment: captured until then")
    amount_captured: float
    amount_captured_minor: int
    amount_refunded: float
    amount_refunded_minor: int
    refunds: list[RefundOut]
    sequence: int = Field(description="The number of its latest event; events are numbered without gaps", examples=[3])
    created: Moment
    created_at: Moment
    updated_at: Moment


def payment_view(payment: Payment) -> dict[str, Any]:
    """A payment as the API shows it: the fields of PaymentOut, ready for JSON (a test holds the two together).

    Built by hand and not through the model, because every answer and every event passes here.
    """
    created_at = rfc3339(payment.created_at)
    currency = payment.currency
    return {
        "id": payment.id,
        "ownerId": payment.owner_id,
        "customerName": payment.customer_name,
        "customerId": payment.customer_id,
        "amount": money.to_major(payment.amount_minor, currency),
        "amountMinor": payment.amount_minor,
        "currency": currency,
        "details": payment.details,
        "status": payment.status.value,
        "webhookUrl": payment.webhook_url,
        "reference": payment.reference,
        "metadata": _plain(payment.metadata),
        "paymentMethod": "card" if payment.card else "none",
        "card": card_view(payment.card) if payment.card else None,
        "capture": payment.capture.value,
        "failure": failure_view(payment.failure) if payment.failure else None,
        "nextAction": _next_action(payment),
        "authorizationExpiresAt": _expiry(payment),
        "amountCaptured": money.to_major(payment.amount_captured_minor, currency),
        "amountCapturedMinor": payment.amount_captured_minor,
        "amountRefunded": money.to_major(payment.amount_refunded_minor, currency),
        "amountRefundedMinor": payment.amount_refunded_minor,
        "refunds": [refund_view(refund, payment) for refund in payment.refunds],
        "sequence": payment.sequence,
        "created": created_at,
        "createdAt": created_at,
        "updatedAt": rfc3339(payment.updated_at),
    }


def _next_action(payment: Payment) -> dict[str, str] | None:
    waits = payment.status is Status.REQUIRES_ACTION and payment.challenge_url
    return {"type": "redirect", "url": payment.challenge_url} if waits and payment.challenge_url else None


def _expiry(payment: Payment) -> str | None:
    return rfc3339(payment.acts_at) if payment.status is Status.AUTHORIZED and payment.acts_at else None


def _plain(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return dict(metadata) if metadata else {}


class CaptureRequest(RequestModel):
    """Without an amount everything that was authorised is captured."""

    model_config = ConfigDict(json_schema_extra=example({"amount": 60}))

    amount: PositiveAmount | None = None

    def fingerprint_source(self) -> dict[str, Any]:
        return {} if self.amount is None else {"amount": canonical(self.amount)}


class AuthenticationResult(RequestModel):
    """What the cardholder did on the challenge page."""

    model_config = ConfigDict(json_schema_extra=example({"result": "succeeded"}))

    result: Literal["succeeded", "failed"] = "succeeded"


class SortBy(StrEnum):
    AMOUNT = "amount"
    CREATED_AT = "createdAt"


class SortOrder(StrEnum):
    ASCENDING = "asc"
    DESCENDING = "desc"


class PaymentListQuery(RequestModel):
    limit: int = Field(100, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class PaymentQuery(RequestModel):
    min_amount: AmountBound | None = Field(None, description="In major units, across currencies")
    max_amount: AmountBound | None = Field(None, description="In major units, across currencies")
    sort_by: SortBy = SortBy.CREATED_AT
    sort_order: SortOrder = SortOrder.DESCENDING
    status: Status | None = None
    currency: CurrencyCode | None = None
    customer_name: str | None = Field(None, min_length=1, max_length=200, description="The whole name, in any case")
    reference: str | None = Field(None, min_length=1, max_length=255)
    created_from: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)

    @classmethod
    def newest_first(cls, page: PaymentListQuery) -> Self:
        return cls(limit=page.limit, cursor=page.cursor)


class CustomerPaymentQuery(PaymentListQuery):
    limit: int = Field(50, ge=1, le=100)


class AdminPaymentQuery(PaymentQuery):
    owner_id: str | None = Field(None, max_length=64)


class PaymentPage(ResponseModel):
    user_id: str = Field(examples=["user_06gztrpz170we29n8r9na1k3t0"])
    total_transactions: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(False, description="True where there are more than 1,000")
    transactions: list[PaymentOut]
    has_more: bool
    next_cursor: str | None
