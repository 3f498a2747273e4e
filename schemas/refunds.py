"""Refunds, and the failures of money movement, as clients send and see them."""

from typing import Any

from pydantic import ConfigDict, Field

from core.clock import rfc3339
from domain import money
from domain.payments import Failure, Payment, Refund, RefundStatus
from schemas.common import Moment, ObjectId, PositiveAmount, RequestModel, ResponseModel, canonical, example


class RefundRequest(RequestModel):
    """Without an amount everything that is left is given back."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {"paymentId": "txn_06gztrpz170we29n8r9na1k3t0", "amount": 40, "reason": "Row 7 was double booked"}
        )
    )

    payment_id: ObjectId = Field(examples=["txn_06gztrpz170we29n8r9na1k3t0"])
    amount: PositiveAmount | None = None
    reason: str | None = Field(None, max_length=255, examples=["Row 7 was double booked"])

    def fingerprint_source(self) -> dict[str, Any]:
        amount = None if self.amount is None else canonical(self.amount)
        fields = {"payment_id": self.payment_id, "amount": amount, "reason": self.reason}
        return {name: value for name, value in fields.items() if value is not None}


class FailureOut(ResponseModel):
    """Why no money moved."""

    code: str = Field(examples=["card_declined"])
    decline_code: str | None = Field(examples=["insufficient_funds"])
    message: str = Field(examples=["The card has insufficient funds."])
    network_code: str | None = Field(description="ISO 8583 response code", examples=["51"])


class RefundOut(ResponseModel):
    id: str = Field(examples=["re_06gztrpz170we29n8r9na1k3t0"])
    payment_id: str = Field(examples=["txn_06gztrpz170we29n8r9na1k3t0"])
    owner_id: str
    amount: float = Field(description="In major units", examples=[40.0])
    amount_minor: int = Field(description="The exact amount in minor units", examples=[4000])
    currency: str = Field(examples=["USD"])
    status: RefundStatus
    reason: str | None
    failure: FailureOut | None
    sequence: int = Field(description="The number of its latest event, among those of its payment", examples=[5])
    created_at: Moment
    updated_at: Moment


def refund_view(refund: Refund, payment: Payment) -> dict[str, Any]:
    """A refund as the API shows it: the fields of RefundOut, ready for JSON."""
    return {
        "id": refund.id,
        "paymentId": payment.id,
        "ownerId": payment.owner_id,
        "amount": money.to_major(refund.amount_minor, payment.currency),
        "amountMinor": refund.amount_minor,
        "currency": payment.currency,
        "status": refund.status.value,
        "reason": refund.reason,
        "failure": failure_view(refund.failure) if refund.failure else None,
        "sequence": refund.sequence,
        "createdAt": rfc3339(refund.created_at),
        "updatedAt": rfc3339(refund.updated_at),
    }


def failure_view(failure: Failure) -> dict[str, str | None]:
    return {
        "code": failure.code,
        "declineCode": failure.decline_code,
        "message": failure.message,
        "networkCode": failure.network_code,
    }


class RefundQuery(RequestModel):
    payment_id: str | None = Field(None, max_length=64)
    status: RefundStatus | None = None
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class RefundPage(ResponseModel):
    refunds: list[RefundOut]
    total_refunds: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(False, description="True where there are more than 1,000")
    has_more: bool
    next_cursor: str | None
