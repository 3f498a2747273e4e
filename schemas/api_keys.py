"""API keys, as clients send and see them. The key itself is in one answer only."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from domain.api_keys import ApiKey, Scope, network_of
from schemas.common import NOT_BLANK, Moment, RequestModel, ResponseModel, example
from schemas.payment_keys import LONGEST_LIFE_S
from schemas.users import ApiKeySummary

MOST_NETWORKS = 20
LONGEST_OVERLAP_HOURS = 24


def _network(value: str) -> str:
    try:
        return network_of(value)
    except ValueError:
        raise ValueError(
            "no network: one is written 203.0.113.0/24 or 2001:db8::/32, without bits of a host, or is an address"
        ) from None


Network = Annotated[str, Field(min_length=2, max_length=64, examples=["203.0.113.0/24"]), AfterValidator(_network)]


class ApiKeyRequest(RequestModel):
    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "name": "nightly report",
                "scopes": ["payments:read", "events:read"],
                "expiresIn": 2592000,
                "allowedNetworks": ["127.0.0.0/8", "::1/128"],
            }
        )
    )

    name: str = Field(min_length=1, max_length=100, pattern=NOT_BLANK, examples=["nightly report"])
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope), description="What the key opens")
    expires_in: int | None = Field(
        None, ge=1, le=LONGEST_LIFE_S, strict=True, description="Seconds; null for no end", examples=[2592000]
    )
    allowed_networks: list[Network] | None = Field(
        None,
        min_length=1,
        max_length=MOST_NETWORKS,
        description="Where the key may be used from, in CIDR notation; null for anywhere",
    )


class ApiKeyRotation(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"overlapHours": 2}))

    overlap_hours: int = Field(
        1, ge=0, le=LONGEST_OVERLAP_HOURS, strict=True, description="For how long the old text counts as well"
    )


class ApiKeyOut(ApiKeySummary):
    scopes: list[Scope]
    allowed_networks: list[str] | None = Field(description="Null for anywhere", examples=[["127.0.0.0/8"]])
    expires_at: Moment | None
    last_used_at: Moment | None = Field(description="To the minute")
    previous_key_expires_at: Moment | None = Field(description="Until when the text before the rotation counts as well")


class ApiKeyMade(ApiKeyOut):
    shows_a_secret: ClassVar[bool] = True

    api_key: str = Field(description="Shown here and never again", examples=["psp_sk_06gztrpz170we29n8r9na1k3t0…"])


class ApiKeyPage(ResponseModel):
    api_keys: list[ApiKeyOut]
    total_api_keys: int
    has_more: bool
    next_cursor: str | None


def api_key_out(key: ApiKey, now: datetime) -> ApiKeyOut:
    return ApiKeyOut(
        id=key.id,
        name=key.name,
        prefix=key.prefix,
        created_at=key.created_at,
        scopes=[scope for scope in Scope if scope in key.scopes],
        allowed_networks=list(key.allowed_networks) or None,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        previous_key_expires_at=key.previous_ends_at if key.overlaps(now) else None,
    )
