"""Deliveries, as their owner sees them: one event to one target, with every attempt."""

from typing import Literal

from pydantic import Field

from domain.attempts import ErrorCode
from schemas.common import Moment, MomentGiven, ObjectId, RequestModel, ResponseModel

DeliveryStatus = Literal["pending", "delivered", "dead"]
DeadReasonCode = Literal[
    "attempts_exhausted",
    "receiver_gone",
    "unsendable",
    "endpoint_disabled",
    "endpoint_deleted",
    "endpoint_gone",
    "event_gone",
    "resend_cancelled",
]


class EndpointDeliveryQuery(RequestModel):
    status: DeliveryStatus | None = Field(None, description="`dead` are the dead letters")
    event_id: ObjectId | None = None
    resend_id: ObjectId | None = Field(None, description="What one resend, or one resend job, has made")
    created_from: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class DeliveryQuery(EndpointDeliveryQuery):
    webhook_endpoint_id: ObjectId | None = Field(None, description="A deleted endpoint's, too")


class DeliveryOut(ResponseModel):
    id: str = Field(examples=["dlv_06gztrpz170we29n8r9na1k3t0"])
    event_id: str = Field(examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    event_type: str = Field(examples=["payment.completed"])
    webhook_endpoint_id: str | None = Field(
        description="null where it goes to a payment's own `webhookUrl`", examples=["we_06gztrpz170we29n8r9na1k3t0"]
    )
    url: str = Field(
        description="Of an endpoint: its URL when this delivery was made", examples=["http://localhost:4242/hook"]
    )
    status: DeliveryStatus = Field(examples=["delivered"])
    dead_reason: DeadReasonCode | None = Field(description="Why nobody tries any more", examples=["attempts_exhausted"])
    attempt_count: int
    last_status: int | None = Field(description="What the newest attempt was answered", examples=[200])
    last_error: ErrorCode | None = Field(description="What went wrong with it, where a status does not say it")
    next_attempt_at: Moment | None = Field(description="While it is pending")
    resend_id: str | None = Field(description="Where it was sent again: of which resend it is, or which resend job")
    created_at: Moment
    updated_at: Moment


class PhasesOut(ResponseModel):
    """How long each part took, in milliseconds; null for what the attempt did not come to, or did not need."""

    dns_ms: int | None
    connect_ms: int | None = Field(description="Dialling, and TLS")
    wait_ms: int | None = Field(description="Sending the request, until the head of the answer was there")
    receive_ms: int | None


class HeaderOut(ResponseModel):
    name: str = Field(examples=["content-type"])
    value: str = Field(examples=["text/plain"])


class AttemptOut(ResponseModel):
    at: Moment
    url: str | None = Field(
        description="Where it went; null where an older version did not keep it",
        examples=["http://localhost:4242/hook"],
    )
    duration_ms: int
    phases: PhasesOut
    status: int | None = Field(
        description="null where no answer came; one that broke off has an `error` as well", examples=[200]
    )
    error: ErrorCode | None = Field(description="What went wrong, where a status does not say it", examples=["timeout"])
    request_headers: list[HeaderOut] = Field(description="Secrets are left out")
    response_headers: list[HeaderOut] = Field(description="Secrets are left out")
    response: str | None = Field(description="What was answered, at most 16 KiB of it")


class DeliveryWithAttempts(DeliveryOut):
    attempts: list[AttemptOut] = Field(description="Oldest first")


class DeliveryPage(ResponseModel):
    deliveries: list[DeliveryOut]
    total_deliveries: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(description="True where there are more than 1,000")
    has_more: bool
    next_cursor: str | None
