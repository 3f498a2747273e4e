"""What the service says of itself, and the figures of the dashboard."""

from typing import Literal

from pydantic import Field

from core.version import VERSION
from domain.roles import Role
from schemas.common import Moment, ResponseModel


class StatusMetrics(ResponseModel):
    total_transactions: int
    last_restart: Moment


class StatusOut(ResponseModel):
    status: Literal["ok", "degraded"]
    service: str = "Mock Payment Gateway"
    version: str = f"v{VERSION}"
    message: str = "All systems operational."
    metrics: StatusMetrics


class LiveOut(ResponseModel):
    status: Literal["live"] = "live"


class ReadyOut(ResponseModel):
    status: Literal["ready"] = "ready"


class Volume(ResponseModel):
    currency: str = Field(examples=["USD"])
    count: int = Field(examples=[17])
    amount: float = Field(examples=[1708.5])
    amount_minor: int = Field(examples=[170850])


class WebhookFigures(ResponseModel):
    delivered: int
    waiting: int
    dead: int
    success_rate: float | None = Field(description="Delivered of those that came to an end; null where none has")


class HourFigure(ResponseModel):
    hour: Moment
    count: int


class Dashboard(ResponseModel):
    message: str = "Welcome to the admin dashboard."
    user_id: str = Field(examples=["user_06gztrpz170we29n8r9na1k3t0"])
    role: Role
    users_by_role: dict[str, int] = Field(examples=[{"user": 3, "merchant": 2, "admin": 1, "system_admin": 1}])
    payments_by_status: dict[str, int] = Field(
        description="Of the 10,000 newest payments", examples=[{"completed": 17, "failed": 2}]
    )
    volume_by_currency: list[Volume] = Field(description="What was captured of the 10,000 newest payments")
    webhooks: WebhookFigures = Field(description="What became of the 10,000 newest deliveries")
    last24_hours: list[HourFigure] = Field(description="Payments created in each hour, up to 10,000; oldest first")
