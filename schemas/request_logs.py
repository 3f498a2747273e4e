"""The request log, as an account sees its own."""

from typing import Literal

from pydantic import Field

from schemas.common import Moment, MomentGiven, RequestModel, ResponseModel

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class RequestLogQuery(RequestModel):
    method: Method | None = None
    route: str | None = Field(
        None, min_length=1, max_length=200, description="The template of the path", examples=["/api/v1/payments/charge"]
    )
    status: str | None = Field(
        None, pattern=r"^[1-5](?:xx|[0-9][0-9])$", description="One status, or a class of them: `4xx`", examples=["4xx"]
    )
    request_id: str | None = Field(None, min_length=1, max_length=128)
    created_from: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    created_to: MomentGiven | None = Field(None, description="RFC 3339, inclusive")
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)

    @property
    def statuses(self) -> tuple[int | None, int | None]:
        """The lowest and the highest that are wanted."""
        if self.status is None:
            return None, None
        return int(self.status.replace("x", "0")), int(self.status.replace("x", "9"))


class RequestLogOut(ResponseModel):
    id: str = Field(examples=["rql_06gztrpz170we29n8r9na1k3t0"])
    created_at: Moment = Field(description="When the request arrived")
    duration_ms: int = Field(description="Until its answer was sent")
    method: str = Field(examples=["POST"])
    route: str = Field(description="The template of the path", examples=["/api/v1/payments/{payment_id}"])
    path: str = Field(
        description="As it was sent, with the query, cut at 2,000 characters",
        examples=["/api/v1/payments/txn_06gztrpz170we29n8r9na1k3t0"],
    )
    status: int = Field(examples=[201])
    request_id: str = Field(examples=["req_06gztrpz170we29n8r9na1k3t0"])
    idempotency_key: str | None
    api_key_id: str | None = Field(
        description="The API key that was shown", examples=["key_06gztrpz170we29n8r9na1k3t0"]
    )
    session_id: str | None = Field(description="The session that the access token belongs to")
    payment_key_id: str | None = Field(description="The payment key that was shown")
    address: str | None = Field(description="Where the request came from", examples=["203.0.113.7"])


class RequestLogWithBodies(RequestLogOut):
    request_body: str = Field(
        description="Without secrets, cut at 4,096 characters",
        examples=['{"details":"Two tickets, row 8"}'],
    )
    response_body: str = Field(
        description="Without secrets, cut at 4,096 characters",
        examples=['{"id":"txn_06gztrpz170we29n8r9na1k3t0"}'],
    )


class RequestLogPage(ResponseModel):
    request_logs: list[RequestLogOut]
    total_request_logs: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None
