"""Types and bases that the public contract is made of."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticKnownError
from yarl import URL

from core.clock import rfc3339
from domain.money import EXPONENTS, MAX_AMOUNT_MINOR

MAX_URL_LENGTH = 2048


class RequestModel(BaseModel):
    """What a client sends. camelCase names; a field that is not known is an error, so no typo passes silently."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _is_an_object(cls, value: object) -> object:
        # FastAPI reads the attributes of whatever it is given, and a number that has become a Decimal has some: a
        # body of `1.5` would pass for an object without fields.
        if not isinstance(value, dict):
            raise PydanticKnownError("model_attributes_type")
        return value


class ResponseModel(BaseModel):
    """What a client gets. camelCase names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    shows_a_secret: ClassVar[bool] = False
    """Whether no cache may keep it (routers/route.py sees to that)."""


def example(body: JsonDict) -> JsonDict:
    """A whole body for `/docs` to offer; examples of single fields cannot say which of them belong together."""
    return {"examples": [body]}


def _currency(value: str) -> str:
    code = value.upper()
    if not value.isascii() or code not in EXPONENTS:
        raise ValueError("not an ISO 4217 currency code")
    return code


def _number(value: object) -> Decimal:
    """A JSON number. Not a bool, not a string: both are mistakes in the client's code that would bite later."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        raise PydanticKnownError("float_type")
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise PydanticKnownError("finite_number")
    return number


_MOST_DECIMALS = max(EXPONENTS.values())
_MOST_DIGITS = len(str(MAX_AMOUNT_MINOR))
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ]|\Z)", re.ASCII)
_ONLY_NUMBERS = re.compile(r"((0x[0-9a-f]*|[0-9]+)(\.|$))+", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"([a-z0-9_-]{1,63}(\.|$))+", re.ASCII | re.IGNORECASE)
_LONGEST_NAME = 253
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)


def _number_in_url(value: object) -> object:
    if not isinstance(value, str) or not _PLAIN_NUMBER.fullmatch(value):
        raise PydanticKnownError("float_parsing")
    number = Decimal(value)
    if number < 0:
        raise PydanticKnownError("greater_than_equal", {"ge": 0})
    return number


def _positive(value: Decimal) -> Decimal:
    if value <= 0:
        raise PydanticKnownError("greater_than", {"gt": 0})
    if not -_MOST_DECIMALS <= value.adjusted() < _MOST_DIGITS:
        raise ValueError("no currency has such an amount")
    return value


def canonical(amount: Decimal) -> str:
    """One text for each amount, with all of its digits: 1.50 is 1.5."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _http_url(value: str) -> str:
    """An http(s) URL without credentials, to a host that there could be. Where it leads is checked at dialling."""
    if not value.isprintable() or " " in value:
        raise ValueError("a URL has no spaces or control characters")
    try:
        url = URL(value)
        host, port = url.host and url.raw_host, url.port
    except (ValueError, IndexError):  # yarl 1.25 fails with an IndexError on "http://[a]@"
        raise ValueError("not a URL") from None
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("an absolute http or https URL is needed")
    if url.user is not None or url.password is not None:
        raise ValueError("a URL here carries no user name or password")
    if port is not None and not 0 < port < 65536:
        raise ValueError("a port is 1 to 65535")
    _check_host(host)
    return value


def _check_host(host: str) -> None:
    """A host as it is looked up: an IPv6 address, an IPv4 address of four decimal numbers, or a name."""
    if ":" in host or _ONLY_NUMBERS.fullmatch(host):
        # To the system's resolver `127.1` and `0x7f000001` are addresses as well, to the sender they are none.
        try:
            ip_address(host)
        except ValueError:
            raise ValueError("no IP address: one is written 192.0.2.1 or [2001:db8::1]") from None
    elif len(host.removesuffix(".")) > _LONGEST_NAME or not _NAME.fullmatch(host):
        raise ValueError("no host name: one has parts of 1 to 63 letters, digits, hyphens and underscores")


def _utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None


def _written_out(value: object) -> object:
    """Text that begins with a date. Numbers would be read as seconds, or as milliseconds, since 1970, and `20260131` is
    meant as neither."""
    if not isinstance(value, str) or not _DATE.match(value):
        raise PydanticKnownError("datetime_type")
    return value


NOT_BLANK = r"[^\s\x1c-\x1f\x85\ufeff]"
"""At least one character that is no space in any dialect of regular expressions: whoever reads the OpenAPI document, in
JavaScript, say, is of one mind with this server on what is blank."""

CurrencyCode = Annotated[
    str,
    Field(
        min_length=3,
        max_length=3,
        examples=["USD"],
        description="ISO 4217 code; lower case is accepted",
        json_schema_extra={"format": "currency", "pattern": "^[A-Za-z]{3}$"},
    ),
    AfterValidator(_currency),
]
AmountMajor = Annotated[
    Decimal,
    BeforeValidator(_number),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": MAX_AMOUNT_MINOR, "examples": [100.5]}),
    Field(description="In major units, with no more decimals than the currency has"),
]
PositiveAmount = Annotated[AmountMajor, AfterValidator(_positive)]
AmountBound = Annotated[
    Decimal, BeforeValidator(_number_in_url), WithJsonSchema({"type": "number", "minimum": 0, "examples": [10]})
]
HttpUrl = Annotated[
    str,
    Field(max_length=MAX_URL_LENGTH, examples=["http://localhost:4242/hook"]),
    AfterValidator(_http_url),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uri",
            "maxLength": MAX_URL_LENGTH,
            "description": "An absolute http or https URL without user name and password. Its host is a name, an IPv4 "
            "address of four decimal numbers, or an IPv6 address in brackets",
        }
    ),
]
Moment = Annotated[
    datetime,
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T07:25:01.123Z"]}),
]
MomentGiven = Annotated[
    datetime,
    BeforeValidator(_written_out),
    AfterValidator(_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T07:25:01.123Z"]}),
]
"""What a client sends, in a query or a body alike. Without a zone it is UTC; a date alone is its first moment."""
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=40)],
        Annotated[str, Field(max_length=500)],
    ],
    Field(max_length=50, examples=[{"orderId": "A-1001"}], description="Up to 50 texts of your own"),
]
Details = Annotated[str, Field(max_length=1000, examples=["Two tickets, row 7"])]
ObjectId = Annotated[str, Field(min_length=1, max_length=64)]
Reference = Annotated[str, Field(max_length=255, examples=["order-1001"])]


class PageQuery(RequestModel):
    limit: int = Field(50, ge=1, le=100)
    cursor: str | None = Field(None, max_length=512)


class EmptyBody(RequestModel):
    """A route that needs no fields accepts a body that is absent, null or empty."""

    model_config = ConfigDict(json_schema_extra=example({}))


class Problem(ResponseModel):
    """Every error has this form. `code` is for programs, `detail` for people."""

    detail: str | list[dict[str, Any]] = Field(examples=["Invalid or expired token."])
    code: str = Field(examples=["invalid_token"])
    request_id: str = Field(examples=["req_06gztrpz170we29n8r9na1k3t0"])


class Message(ResponseModel):
    message: str = Field(examples=["Transaction 'txn_06gztrpz170we29n8r9na1k3t0' deleted successfully."])
