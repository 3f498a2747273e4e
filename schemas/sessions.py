"""Sessions, as their owner sees them."""

from pydantic import ConfigDict, Field

from schemas.common import Moment, RequestModel, ResponseModel, example
from schemas.users import Password


class SessionOut(ResponseModel):
    id: str = Field(examples=["sess_06gztrpz170we29n8r9na1k3t0"])
    current: bool = Field(description="Whether the request came with a token of this session")
    address: str | None = Field(description="Where the login came from", examples=["203.0.113.7"])
    user_agent: str | None = Field(description="What the client called itself, cut at 200 characters")
    created_at: Moment
    last_used_at: Moment = Field(description="When its refresh token was used last, or else when it began")
    expires_at: Moment = Field(description="When its refresh token expires, unless it is used before")


class SessionPage(ResponseModel):
    sessions: list[SessionOut]
    total_sessions: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None


class PasswordChange(RequestModel):
    model_config = ConfigDict(
        json_schema_extra=example({"currentPassword": "correct-horse-battery", "newPassword": "staple-of-the-battery"})
    )

    current_password: str = Field(min_length=1, max_length=1024, repr=False, examples=["correct-horse-battery"])
    new_password: Password
