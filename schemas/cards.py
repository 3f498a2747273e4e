"""Cards, as clients send and see them."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict, JsonValue
from pydantic_core import PydanticKnownError

from core import clock
from core.clock import rfc3339
from domain import cards, redaction
from domain.cards import Brand, CardDetails, StoredCard
from schemas.common import Moment, ObjectId, RequestModel, ResponseModel, example

TYPED_CARD: JsonDict = {"number": "4242 4242 4242 4242", "expMonth": 12, "expYear": 2030, "cvc": "123"}
_MAX_YEAR_DIGITS = 4


def _typed_integer(value: object) -> object:
    """An integer, or its digits: card forms send both."""
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_YEAR_DIGITS):
            raise PydanticKnownError("int_parsing")
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticKnownError("int_type")
    return value


def _typed(digits: str, *ranges: tuple[int, int]) -> JsonDict:
    """The JSON Schema of an integer in one of these ranges, or of its digits, which match the pattern."""
    numbers: list[JsonValue] = [{"type": "integer", "minimum": first, "maximum": last} for first, last in ranges]
    return {"anyOf": [*numbers, {"type": "string", "pattern": digits}]}


_TypedInteger = Annotated[int, BeforeValidator(_typed_integer)]
ExpiryMonth = Annotated[
    _TypedInteger, Field(ge=1, le=12), WithJsonSchema(_typed("^(0{0,3}[1-9]|0{0,2}1[0-2])$", (1, 12)))
]
ExpiryYear = Annotated[_TypedInteger, WithJsonSchema(_typed("^(0{0,2}[0-9]{1,2}|20[0-9]{2})$", (0, 99), (2000, 2099)))]


class CardInput(RequestModel):
    """A card as it is typed. Its security code is checked here, and kept nowhere."""

    model_config = ConfigDict(json_schema_extra=example(TYPED_CARD), hide_input_in_errors=True)

    number: str = Field(
        max_length=40,
        repr=False,
        description="Spaces and dashes are accepted",
        examples=["4242 4242 4242 4242"],
        json_schema_extra={"format": "card-number", "pattern": "^[ -]*[0-9](?:[ -]*[0-9]){11,18}[ -]*$"},
    )
    exp_month: ExpiryMonth = Field(examples=[12])
    exp_year: ExpiryYear = Field(description="Two or four digits", examples=[2030])
    cvc: str = Field(
        repr=False,
        description="Three digits, four for American Express",
        examples=["123"],
        json_schema_extra={"pattern": "^[0-9]{3,4}$"},
    )
    holder_name: str | None = Field(None, min_length=1, max_length=200, examples=["Grace Hopper"])

    @field_validator("number")
    @classmethod
    def _digits(cls, value: str) -> str:
        pan, _ = cards.parse_pan(value)
        return pan

    @field_validator("exp_year")
    @classmethod
    def _not_expired(cls, value: int, info: ValidationInfo) -> int:
        year = cards.full_year(value)
        if "exp_month" in info.data:
            cards.require_not_expired(info.data["exp_month"], year, clock.now())
        return year

    @field_validator("cvc")
    @classmethod
    def _fits_the_brand(cls, value: str, info: ValidationInfo) -> str:
        if "number" in info.data:
            cards.require_cvc(value, _brand(info.data["number"]))
        return value

    @field_validator("holder_name")
    @classmethod
    def _is_no_number(cls, value: str | None) -> str | None:
        # Of all fields this one stands next to the number, and it is kept and shown as it was sent.
        if value is not None and redaction.mask_pans(value) != value:
            raise ValueError("a card number is no name")
        return value

    def details(self) -> CardDetails:
        return CardDetails(self.number, _brand(self.number), self.exp_month, self.exp_year, self.holder_name)

    def fingerprint_source(self) -> dict[str, Any]:
        """What makes it another card. The security code is no part of it: not even its hash is kept."""
        return {"number": self.number, "exp": [self.exp_month, self.exp_year], "holder_name": self.holder_name}


class CardOut(ResponseModel):
    """A card as it is shown: never more of its number than the first six and the last four digits."""

    brand: Brand
    number: str = Field(examples=["424242XXXXXX4242"])
    last4: str = Field(examples=["4242"])
    exp_month: int = Field(examples=[12])
    exp_year: int = Field(examples=[2030])
    cvc: str = Field(description="Always `XXX`: it is not kept", examples=["XXX"])
    holder_name: str | None
    fingerprint: str = Field(
        description="The same for the same number in one account", examples=["9c1f0e2ab5d84b63a1f07c3e5d2b8a90"]
    )


class CardTokenOut(ResponseModel):
    shows_a_secret: ClassVar[bool] = True

    id: str = Field(description="Pays for one payment", examples=["tok_06gztrpz170we29n8r9na1k3t0"])
    card: CardOut
    created_at: Moment
    expires_at: Moment


class SaveCardRequest(RequestModel):
    """A card that was typed, or a token of one."""

    model_config = ConfigDict(json_schema_extra=example({"card": TYPED_CARD}))

    card: CardInput | None = None
    card_token: ObjectId | None = Field(None, examples=["tok_06gztrpz170we29n8r9na1k3t0"])

    @model_validator(mode="after")
    def _one_card(self) -> Self:
        if (self.card is None) == (self.card_token is None):
            raise ValueError("either card or cardToken is needed")
        return self

    def fingerprint_source(self) -> dict[str, Any]:
        return {"card": self.card.fingerprint_source() if self.card else None, "card_token": self.card_token}


class _SavedCardIds(ResponseModel):
    id: str = Field(examples=["card_06gztrpz170we29n8r9na1k3t0"])
    customer_id: str = Field(examples=["cus_06gztrpz170we29n8r9na1k3t0"])


# The bases are in this order so that the ids are shown first, as everywhere else.
class SavedCardOut(CardOut, _SavedCardIds):
    created_at: Moment


class SavedCardPage(ResponseModel):
    cards: list[SavedCardOut]
    total_cards: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None


def token_view(token_id: str, card: StoredCard, created_at: datetime, expires_at: datetime) -> dict[str, Any]:
    """A token as the API shows it: the fields of CardTokenOut, ready for JSON."""
    return {
        "id": token_id,
        "card": card_view(card),
        "createdAt": rfc3339(created_at),
        "expiresAt": rfc3339(expires_at),
    }


def saved_card_view(card_id: str, customer_id: str, card: StoredCard, created_at: datetime) -> dict[str, Any]:
    """A saved card as the API shows it: the fields of SavedCardOut, ready for JSON."""
    return {"id": card_id, "customerId": customer_id, **card_view(card), "createdAt": rfc3339(created_at)}


def card_view(card: StoredCard) -> dict[str, Any]:
    """A card as the API shows it: the fields of CardOut, ready for JSON."""
    return {
        "brand": card.brand.value,
        "number": card.masked,
        "last4": card.last4,
        "expMonth": card.exp_month,
        "expYear": card.exp_year,
        "cvc": "XXX",
        "holderName": card.holder_name,
        "fingerprint": card.fingerprint,
    }


def _brand(pan: str) -> Brand:
    brand = cards.brand_of(pan)
    assert brand is not None, "a number that was checked has a brand"
    return brand
