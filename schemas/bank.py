"""The test cards of the bank simulator, as clients see them."""

from pydantic import Field

from domain.acquiring import Decline
from domain.bank_scenarios import MAGIC_AMOUNTS, SCENARIOS, RefundReply, Reply, Scenario, ThreeDSecure
from domain.cards import Brand
from schemas.common import ResponseModel


class DeclineOut(ResponseModel):
    """Why the bank refuses, as a failed payment carries it in `failure`."""

    code: str = Field(examples=["card_declined"])
    decline_code: str = Field(examples=["insufficient_funds"])
    message: str = Field(examples=["The card has insufficient funds."])
    network_code: str = Field(examples=["51"], description="ISO 8583 response code")


class ScenarioOut(ResponseModel):
    id: str = Field(examples=["insufficient_funds"])
    number: str = Field(examples=["4000000000009995"])
    brand: Brand
    description: str = Field(examples=["Insufficient funds"])
    three_d_secure: ThreeDSecure
    succeeds: bool = Field(description="Whether a charge succeeds, within the limits below where there are any")
    failure: DeclineOut | None = Field(description="Of a charge that does not succeed, or is beyond a limit")
    declined_from: int | None = Field(description="The smallest amount that is declined, in major units")
    balance: int | None = Field(description="What can be spent for each account and currency, in major units")
    reply: Reply = Field(description="How the bank's answer comes")
    refund_reply: RefundReply = Field(description="How a refund goes")
    disputed: bool = Field(description="Whether the payer disputes the charge later")


class MagicAmountOut(ResponseModel):
    amount_minor: int = Field(examples=[400051])
    failure: DeclineOut


class ScenarioList(ResponseModel):
    scenarios: list[ScenarioOut]
    magic_amounts: list[MagicAmountOut] = Field(description="Empty unless MAGIC_AMOUNTS is on")


def scenario_list(*, magic_amounts: bool) -> ScenarioList:
    amounts = MAGIC_AMOUNTS if magic_amounts else {}
    return ScenarioList(
        scenarios=[_scenario(one) for one in SCENARIOS],
        magic_amounts=[
            MagicAmountOut(amount_minor=amount_minor, failure=_decline(decline))
            for amount_minor, decline in amounts.items()
        ],
    )


def _scenario(one: Scenario) -> ScenarioOut:
    return ScenarioOut(
        id=one.id,
        number=one.pan,
        brand=one.brand,
        description=one.description,
        three_d_secure=one.three_d_secure,
        succeeds=not one.always_declined,
        failure=_decline(one.decline) if one.decline else None,
        declined_from=one.declined_from_major,
        balance=one.balance_major,
        reply=one.reply,
        refund_reply=one.refund_reply,
        disputed=one.disputed,
    )


def _decline(decline: Decline) -> DeclineOut:
    return DeclineOut(
        code=decline.code,
        decline_code=decline.decline_code,
        message=decline.message,
        network_code=decline.network_code,
    )
