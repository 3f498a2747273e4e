"""Incoming webhooks, and what is answered to them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.signing import Refusal
from schemas.common import Moment, ResponseModel, example

EventName = Field(None, min_length=1, max_length=255, examples=["payment.completed"])


class IncomingWebhook(BaseModel):
    """What a sender puts into a webhook: `event` (or `type`), `id`, `data`, and whatever else it likes."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        json_schema_extra=example(
            {
                "id": "evt_06gztrpz170we29n8r9na1k3t0",
                "event": "payment.completed",
                "data": {"id": "txn_06gztrpz170we29n8r9na1k3t0", "status": "completed"},
            }
        ),
    )

    id: str = Field(min_length=1, max_length=255, examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    event: str | None = EventName
    type: str | None = EventName
    data: dict[str, Any]

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.event is None and self.type is None:
            raise ValueError("event (or type) is needed")
        return self

    @property
    def name(self) -> str:
        return self.event or self.type or ""


class WebhookReceipt(ResponseModel):
    status: Literal["verified"] = "verified"
    id: str = Field(description="The id of the message that was received", examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    duplicate: bool = Field(description="True where this message had been received before; it had no second effect")


class IncomingWebhookSummary(ResponseModel):
    id: str = Field(examples=["inw_06gztrpz170we29n8r9na1k3t0"])
    message_id: str = Field(description="The `id` inside the message", examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    event: str = Field(examples=["payment.completed"])
    state: Literal["received", "processed"] = Field(description="`processed` once a worker has carried out its effect")
    received_at: Moment
    processed_at: Moment | None


class IncomingWebhookOut(IncomingWebhookSummary):
    body: str = Field(
        description="The message as it arrived, to the byte",
        examples=['{"id":"evt_06gztrpz170we29n8r9na1k3t0","event":"payment.completed","data":{}}'],
    )


class IncomingWebhookPage(ResponseModel):
    incoming_webhooks: list[IncomingWebhookSummary]
    total_incoming_webhooks: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None
    refused: dict[Refusal, int] = Field(
        description="How many messages did not verify, for each reason. They are counted and not stored",
        examples=[{"missing": 0, "malformed": 0, "stale": 1, "wrong": 2}],
    )
