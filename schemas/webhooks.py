"""Incoming webhooks, and what is answered to them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.common import ResponseModel, example

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
    id: str = Field(description="The id of the message that was received")
    duplicate: bool = Field(description="True where this message had been received before; it had no second effect")
