"""Webhook endpoints, as clients send and see them."""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from domain.webhook_endpoints import DisabledReason, EndpointStatus, Ordering, WebhookEndpoint
from schemas.common import HttpUrl, Metadata, Moment, RequestModel, ResponseModel, example
from schemas.event_types import EventPattern

MAX_OVERLAP_DAYS = 7
_LONGEST_DELAY_S = 7 * 24 * 3600

Subscriptions = Annotated[
    list[EventPattern],
    Field(
        min_length=1,
        max_length=50,
        examples=[["payment.completed", "refund.*"]],
        description="Event types, all of a kind (`payment.*`), or everything (`*`)",
    ),
]
Description = Annotated[str, Field(max_length=1000, examples=["Order system"])]
RetrySchedule = Annotated[
    list[Annotated[int, Field(ge=0, le=_LONGEST_DELAY_S, strict=True)]],
    Field(
        min_length=1,
        max_length=20,
        examples=[[5, 60, 300]],
        description="Seconds before the second attempt and each after it; null for the service's own schedule",
    ),
]
Timeout = Annotated[
    int, Field(ge=1, le=15, strict=True, examples=[10], description="Seconds for a whole attempt, from DNS to the end")
]
MaxInFlight = Annotated[
    int,
    Field(
        ge=1, le=64, strict=True, examples=[4], description="How many requests of one worker may be under way at once"
    ),
]
OrderingChoice = Annotated[
    Ordering, Field(examples=["none"], description="`object`: the events of one object are sent one after the other")
]
_EXAMPLE: JsonDict = {
    "url": "http://localhost:4242/hook",
    "events": ["payment.completed", "refund.*"],
    "description": "Order system",
    "metadata": {"team": "orders"},
}


class WebhookEndpointRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example(_EXAMPLE))

    url: HttpUrl
    events: Subscriptions
    description: Description | None = None
    metadata: Metadata | None = None
    status: EndpointStatus = EndpointStatus.ENABLED
    retry_schedule: RetrySchedule | None = None
    timeout: Timeout = 15
    max_in_flight: MaxInFlight = 8
    ordering: OrderingChoice = Ordering.NONE


class WebhookEndpointPatch(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"events": ["payment.*"], "status": "disabled"}))

    # What cannot be cleared has null as no value of it; these defaults are never read (see changes).
    url: HttpUrl = Field(default_factory=str)
    events: Subscriptions = Field(default_factory=list)
    description: Description | None = None
    metadata: Metadata | None = None
    status: EndpointStatus = Field(default_factory=lambda: EndpointStatus.ENABLED)
    retry_schedule: RetrySchedule | None = None
    timeout: Timeout = Field(default_factory=int)
    max_in_flight: MaxInFlight = Field(default_factory=int)
    ordering: OrderingChoice = Field(default_factory=lambda: Ordering.NONE)

    def changes(self) -> dict[str, Any]:
        """Only what was sent: null clears a field, an absent one stays."""
        return self.model_dump(exclude_unset=True)


class RotateRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"overlapDays": 3}))

    overlap_days: int = Field(
        1, ge=0, le=MAX_OVERLAP_DAYS, strict=True, description="How long the secret so far signs as well", examples=[3]
    )


class WebhookEndpointOut(ResponseModel):
    id: str = Field(examples=["we_06gztrpz170we29n8r9na1k3t0"])
    owner_id: str
    url: str
    events: list[str]
    description: str | None
    metadata: dict[str, str]
    status: EndpointStatus
    retry_schedule: list[int] | None
    timeout: int
    max_in_flight: int
    ordering: Ordering
    disabled_reason: DisabledReason | None = Field(
        description="Why the service disabled it: `gone` after a 410, `failing` after five days without a success"
    )
    created_at: Moment
    updated_at: Moment


class WebhookEndpointMade(WebhookEndpointOut):
    shows_a_secret: ClassVar[bool] = True

    secret: str = Field(description="What it is signed with", examples=["whsec_…"])


class WebhookSecretOut(ResponseModel):
    shows_a_secret: ClassVar[bool] = True

    secret: str = Field(examples=["whsec_…"])
    previous_secret: str | None = Field(description="Signs as well while a rotation overlaps")
    previous_secret_expires_at: Moment | None


class WebhookTestOut(ResponseModel):
    event_id: str = Field(examples=["evt_06gztrpz170we29n8r9na1k3t0"])
    delivery_id: str = Field(examples=["dlv_06gztrpz170we29n8r9na1k3t0"])


class WebhookEndpointPage(ResponseModel):
    webhook_endpoints: list[WebhookEndpointOut]
    total_webhook_endpoints: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None


def webhook_endpoint_out(endpoint: WebhookEndpoint) -> WebhookEndpointOut:
    return WebhookEndpointOut(
        id=endpoint.id,
        owner_id=endpoint.owner_id,
        url=endpoint.url,
        events=list(endpoint.events),
        description=endpoint.description,
        metadata=dict(endpoint.metadata or {}),
        status=endpoint.status,
        retry_schedule=None if endpoint.retry_schedule_s is None else list(endpoint.retry_schedule_s),
        timeout=endpoint.timeout_s,
        max_in_flight=endpoint.max_in_flight,
        ordering=endpoint.ordering,
        disabled_reason=endpoint.disabled_reason,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
    )


def webhook_endpoint_view(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """The same, ready for JSON."""
    return webhook_endpoint_out(endpoint).model_dump(mode="json", by_alias=True)
