"""Sending events again: one delivery, one event, or a range of time as a job."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from schemas.common import Moment, MomentGiven, ObjectId, RequestModel, ResponseModel, example
from schemas.deliveries import DeliveryOut
from schemas.event_types import EventPattern

ResendJobStatus = Literal["running", "completed", "cancelled"]
_ENDPOINT_ID = "we_06gztrpz170we29n8r9na1k3t0"
EventPatterns = Annotated[
    list[EventPattern],
    Field(min_length=1, max_length=50, examples=[["payment.*"]], description="Types, or all of a kind: `payment.*`"),
]


class ResendEventRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"webhookEndpointId": _ENDPOINT_ID}))

    webhook_endpoint_id: ObjectId | None = Field(
        None, description="To this endpoint alone, whether it subscribes to such events or not"
    )


class ResentEvent(ResponseModel):
    event_id: str = Field(examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    deliveries: list[DeliveryOut]


class ResendJobRequest(RequestModel):
    model_config = ConfigDict(
        json_schema_extra=example(
            {"from": "2026-11-21T00:00:00Z", "to": "2026-11-22T00:00:00Z", "types": ["payment.*"], "failedOnly": True}
        )
    )

    since: MomentGiven = Field(alias="from", description="When the events happened; RFC 3339, inclusive")
    until: MomentGiven = Field(alias="to", description="RFC 3339, inclusive; what happens later is never resent")
    types: EventPatterns | None = None
    failed_only: bool = Field(
        False,
        strict=True,
        description="Only where all of an event's deliveries to a target are dead letters: none was delivered or waits",
    )
    webhook_endpoint_id: ObjectId | None = Field(None, description="To this endpoint alone")

    def fingerprint_source(self) -> dict[str, Any]:
        """What makes a repetition of this request the same request."""
        return self.model_dump(mode="json")


class ResendJobOut(ResponseModel):
    id: str = Field(examples=["rsj_06gztrpz170we29n8r9na1k3t0"])
    status: ResendJobStatus
    since: Moment = Field(alias="from")
    until: Moment = Field(alias="to")
    types: list[str] = Field(examples=[["payment.*"]])
    failed_only: bool
    webhook_endpoint_id: str | None
    events_read: int = Field(description="How far it has come")
    events_total: int = Field(description="When it was made, exact up to 1,000")
    events_total_is_lower_bound: bool = Field(description="True where there were more than 1,000")
    deliveries_made: int
    created_at: Moment
    updated_at: Moment
    ended_at: Moment | None = Field(description="When it was completed or cancelled")


class ResendJobPage(ResponseModel):
    resend_jobs: list[ResendJobOut]
    total_resend_jobs: int = Field(description="Exact up to 1,000")
    total_is_lower_bound: bool = Field(description="True where there are more than 1,000")
    has_more: bool
    next_cursor: str | None
