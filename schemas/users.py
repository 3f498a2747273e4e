"""Accounts and sessions, as clients send and see them."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from domain.roles import Role
from schemas.common import NOT_BLANK, Moment, RequestModel, ResponseModel, example

# The address form of HTML's e-mail input (WHATWG HTML, section 4.10.5.1.5), with at least one dot in the domain.
EMAIL_PATTERN = (
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$"
)

Email = Annotated[str, Field(pattern=EMAIL_PATTERN, max_length=254, examples=["ada@example.com"])]
Password = Annotated[str, Field(min_length=8, max_length=64, repr=False, examples=["correct-horse-battery"])]
_EXAMPLE_LOGIN: JsonDict = {"email": "ada@example.com", "password": "correct-horse-battery"}


class SelfChosenRole(StrEnum):
    USER = "user"
    MERCHANT = "merchant"


class GrantedRole(StrEnum):
    USER = "user"
    MERCHANT = "merchant"
    ADMIN = "admin"


class RegisterRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"name": "Ada Lovelace", **_EXAMPLE_LOGIN, "role": "merchant"}))

    name: str = Field(min_length=2, max_length=100, pattern=NOT_BLANK, examples=["Ada Lovelace"])
    email: Email
    password: Password
    role: SelfChosenRole = SelfChosenRole.USER


class Registered(ResponseModel):
    shows_a_secret: ClassVar[bool] = True

    message: str = "User registered successfully."
    user_id: str = Field(examples=["user_06gztrpz170we29n8r9na1k3t0"])
    api_key: str = Field(description="Shown here and never again", examples=["psp_sk_06gztrpz170we29n8r9na1k3t0…"])
    webhook_secret: str = Field(description="Shown here and never again", examples=["whsec_C2FVsBQIhrscChlQIMV…"])
    role: Role
    created_at: Moment


class WebhookSecretRotated(ResponseModel):
    shows_a_secret: ClassVar[bool] = True

    webhook_secret: str = Field(description="Shown here and never again", examples=["whsec_C2FVsBQIhrscChlQIMV…"])
    previous_secret_expires_at: Moment | None = Field(description="Until when the secret so far counts as well")


class LoginRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example(_EXAMPLE_LOGIN))

    email: str = Field(min_length=1, max_length=254, examples=["ada@example.com"])
    password: str = Field(min_length=1, max_length=1024, repr=False, examples=["correct-horse-battery"])


class LoginForm(BaseModel):
    """OAuth 2's password form (RFC 6749, section 4.3.2). Fields that it does not name are ignored, as OAuth 2 asks."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {"grant_type": "password", "username": "ada@example.com", "password": "correct-horse-battery"}
        )
    )

    grant_type: Literal["password"] = "password"
    username: str = Field(min_length=1, max_length=254, description="The e-mail address", examples=["ada@example.com"])
    password: str = Field(min_length=1, max_length=1024, repr=False, examples=["correct-horse-battery"])


class RefreshRequest(RequestModel):
    model_config = ConfigDict(
        alias_generator=None, json_schema_extra=example({"refresh_token": "psp_rt_06gztrpz170we29n8r9na1k3t0…"})
    )

    refresh_token: str = Field(min_length=1, max_length=256, repr=False)


class TokenPair(ResponseModel):
    """OAuth 2's names (RFC 6749, section 5.1), with whose it is."""

    model_config = ConfigDict(alias_generator=None)

    shows_a_secret: ClassVar[bool] = True

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9…"])
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - OAuth 2's name of the kind
    expires_in: int = Field(description="Seconds", examples=[7200])
    refresh_token: str = Field(
        description="Works once; the answer to its use holds the next one",
        examples=["psp_rt_06gztrpz170we29n8r9na1k3t0…"],
    )
    user_id: str = Field(alias="userId", examples=["user_06gztrpz170we29n8r9na1k3t0"])
    role: Role


class ApiKeySummary(ResponseModel):
    """A key as its owner sees it afterwards: never the key itself."""

    id: str = Field(examples=["key_06gztrpz170we29n8r9na1k3t0"])
    name: str = Field(examples=["nightly report"])
    prefix: str = Field(examples=["psp_sk_06gztrpz…"])
    created_at: Moment


class UserOut(ResponseModel):
    id: str = Field(examples=["user_06gztrpz170we29n8r9na1k3t0"])
    name: str = Field(examples=["Ada Lovelace"])
    email: str = Field(examples=["ada@example.com"])
    role: Role
    api_keys: list[ApiKeySummary]
    created_at: Moment
    updated_at: Moment


class UserPage(ResponseModel):
    users: list[UserOut]
    total_users: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None


class UserQuery(RequestModel):
    role: Role | None = None
    email: str | None = Field(None, max_length=254)
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class RoleChange(RequestModel):
    model_config = ConfigDict(alias_generator=None, json_schema_extra=example({"new_role": "merchant"}))

    new_role: GrantedRole


class RoleChanged(ResponseModel):
    message: str = Field(examples=["User role updated to 'merchant'"])
    user_id: str = Field(examples=["user_06gztrpz170we29n8r9na1k3t0"])
    role: Role


class Welcome(ResponseModel):
    message: str = Field(examples=["Access granted — authenticated user."])
    user_id: str = Field(examples=["user_06gztrpz170we29n8r9na1k3t0"])
    role: Role
