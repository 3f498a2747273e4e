"""Payment keys, as clients send and see them."""

from decimal import Decimal
from typing import ClassVar

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from domain import money
from domain.payment_keys import PaymentKey
from schemas.common import CurrencyCode, Moment, PositiveAmount, RequestModel, ResponseModel, example

LONGEST_LIFE_S = 366 * 24 * 3600


class PaymentKeyRequest(RequestModel):
    model_config = ConfigDict(json_schema_extra=example({"expiresIn": 900, "amount": 12.5, "currency": "EUR"}))

    expires_in: int = Field(3600, ge=1, le=LONGEST_LIFE_S, strict=True, description="Seconds", examples=[900])
    max_uses: int | None = Field(
        1, ge=1, le=1_000_000, strict=True, description="How many payments it opens; null for any number", examples=[1]
    )
    # Before the amount, whose decimals depend on it.
    currency: CurrencyCode | None = None
    amount: PositiveAmount | None = Field(None, description="Where set, it opens payments of just this amount")

    @field_validator("amount")
    @classmethod
    def _fits_the_currency(cls, value: Decimal | None, info: ValidationInfo) -> Decimal | None:
        if value is not None and "currency" in info.data:  # where it is not, that is told already
            currency: str | None = info.data["currency"]
            if currency is None:
                raise ValueError("an amount needs a currency")
            money.to_minor(value, currency)
        return value

    @property
    def amount_minor(self) -> int | None:
        amount: Decimal | None = self.amount
        return None if amount is None or self.currency is None else money.to_minor(amount, self.currency)


class PaymentKeyOut(ResponseModel):
    id: str = Field(examples=["pk_06gztrpz170we29n8r9na1k3t0"])
    prefix: str = Field(examples=["pk_06gztrpz17…"])
    max_uses: int | None
    uses: int | None = Field(description="How many of a limited number are used up")
    amount: float | None
    amount_minor: int | None
    currency: str | None
    revoked: bool
    created_at: Moment
    expires_at: Moment


class PaymentKeyMade(PaymentKeyOut):
    shows_a_secret: ClassVar[bool] = True

    payment_key: str = Field(description="Shown here and never again", examples=["pk_06gztrpz170we29n8r9na1k3t0…"])


class PaymentKeyPage(ResponseModel):
    payment_keys: list[PaymentKeyOut]
    total_payment_keys: int
    total_is_lower_bound: bool = False
    has_more: bool
    next_cursor: str | None


def payment_key_out(key: PaymentKey, uses: int | None) -> PaymentKeyOut:
    amount = None
    if key.amount_minor is not None and key.currency is not None:
        amount = money.to_major(key.amount_minor, key.currency)
    return PaymentKeyOut(
        id=key.id,
        prefix=key.prefix,
        max_uses=key.max_uses,
        uses=uses,
        amount=amount,
        amount_minor=key.amount_minor,
        currency=key.currency,
        revoked=key.revoked,
        created_at=key.created_at,
        expires_at=key.expires_at,
    )
