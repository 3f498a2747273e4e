"""Payments, as clients send and see them."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from core.clock import rfc3339
from domain import money
from domain.payments import Payment, Status
from schemas.common import (
    NOT_BLANK,
    AmountBound,
    AmountMajor,
    CurrencyCode,
    Details,
    HttpUrl,
    Metadata,
    Moment,
    MomentBound,
    Reference,
    RequestModel,
    ResponseModel,
    example,
)


class CaptureMethod(StrEnum):
    AUTOMATIC = "automatic"


class ChargeRequest(RequestModel):
    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "customerName": "Grace Hopper",
                "paymentAmount": 100.5,
                "currency": "USD",
                "details": "Two tickets, row 7",
                "reference": "order-1001",
                "metadata": {"orderId": "A-1001"},
            }
        )
    )

    customer_name: str = Field(min_length=1, max_length=200, pattern=NOT_BLANK, examples=["Grace Hopper"])
    # Before the amount, whose decimals depend on it.
    currency: CurrencyCode
    payment_amount: AmountMajor
    details: Details | None = None
    webhook_url: HttpUrl | None = None
    reference: Reference | None = None
    metadata: Metadata | None = None
    capture: CaptureMethod = CaptureMethod.AUTOMATIC

    @field_validator("payment_amount")
    @classmethod
    def _fits_the_currency(cls, value: Decimal, info: ValidationInfo) -> Decimal:
        currency = info.data.get("currency")
        if value <= 0:
            raise PydanticKnownError("greater_than", {"gt": 0})
        if currency is not None:
            try:
                money.to_minor(value, currency)
            except money.AmountInvalid as error:
                raise ValueError(str(error)) from None
        return value

    @cached_property
    def amount_minor(self) -> int:
        return money.to_minor(self.payment_amount, self.currency)

    def fingerprint_source(self) -> dict[str, Any]:
        """What was asked for, in one form for each meaning: `usd` is `USD`, 1.50 is 1.5, and null is absent."""
        fields = {**vars(self), "payment_amount": None, "amount_minor": self.amount_minor}
        return {name: value for name, value in fields.items() if value is not None}


class PaymentPatch(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"details": "Two tickets, row 8", "metadata": {"seat": "8A"}}))

    details: Details | None = None
    reference: Reference | None = None
    metadata: Metadata | None = None

    def changes(self) -> dict[str, Any]:
        """Only what was sent: null clears a field, an absent one stays."""
        return self.model_dump(exclude_unset=True)


class PaymentOut(ResponseModel):
    id: str = Field(examples=["txn_06gztrpz170we29n8r9na1k3t0"])
    owner_id: str
    customer_name: str
    amount: float = Field(description="In major units", examples=[100.5])
    amount_minor: int = Field(description="The exact amount in minor units", examples=[10050])
    currency: str = Field(examples=["USD"])
    details: str | None
    status: Status
    webhook_url: str | None
    reference: str | None
    metadata: dict[str, str]
    payment_method: Literal["card", "none"]
    capture: CaptureMethod
    amount_captured: float
    amount_captured_minor: int
    amount_refunded: float
    amount_refunded_minor: int
    refunds: list[dict[str, Any]]
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
        "amount": money.to_major(payment.amount_minor, currency),
        "amountMinor": payment.amount_minor,
        "currency": currency,
        "details": payment.details,
        "status": payment.status.value,
        "webhookUrl": payment.webhook_url,
        "reference": payment.reference,
        "metadata": _plain(payment.metadata),
        "paymentMethod": "none",
        "capture": CaptureMethod.AUTOMATIC.value,
        "amountCaptured": money.to_major(payment.amount_captured_minor, currency),
        "amountCapturedMinor": payment.amount_captured_minor,
        "amountRefunded": money.to_major(payment.amount_refunded_minor, currency),
        "amountRefundedMinor": payment.amount_refunded_minor,
        "refunds": [],
        "created": created_at,
        "createdAt": created_at,
        "updatedAt": rfc3339(payment.updated_at),
    }


def _plain(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return dict(metadata) if metadata else {}


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
    created_from: MomentBound | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentBound | None = Field(None, description="RFC 3339, inclusive")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)

    @classmethod
    def newest_first(cls, page: PaymentListQuery) -> Self:
        return cls(limit=page.limit, cursor=page.cursor)


class AdminPaymentQuery(PaymentQuery):
    owner_id: str | None = Field(None, max_length=64)


class PaymentPage(ResponseModel):
    user_id: str
    total_transactions: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(False, description="True where there are more than 1,000")
    transactions: list[PaymentOut]
    has_more: bool
    next_cursor: str | None
