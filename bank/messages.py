"""What goes over the wire between a gateway and the bank: the bank's HTTP API and its client both read it from here."""

from typing import Annotated

from pydantic import Field, model_validator

from domain.acquiring import Answer, Decline, Operation, OperationKind, Verdict
from domain.money import MAX_AMOUNT_MINOR
from schemas.common import CurrencyCode, Moment, RequestModel, ResponseModel

MAX_BATCH = 500

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
RequestId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
AmountMinor = Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR, strict=True)]


class AuthorisationIn(RequestModel):
    """An authorisation, or with `capture` a sale. Its id is also the one that captures, voids and refunds name."""

    id: Id
    merchant_id: Id
    amount_minor: AmountMinor
    currency: CurrencyCode
    capture: bool = False
    pan: str | None = Field(default=None, pattern=r"^[0-9]{12,19}$", repr=False)
    request_id: RequestId | None = None

    def operation(self) -> Operation:
        return Operation(kind=OperationKind.AUTHORISE, authorisation_id=self.id, **self.model_dump())


class FollowUpIn(RequestModel):
    """A capture, void or refund of an authorisation."""

    id: Id
    authorisation_id: Id
    merchant_id: Id
    amount_minor: AmountMinor
    currency: CurrencyCode
    request_id: RequestId | None = None

    def operation(self, kind: OperationKind) -> Operation:
        return Operation(kind=kind, **self.model_dump())


class OperationIn(AuthorisationIn):
    """Any operation, in a batch."""

    kind: OperationKind
    authorisation_id: Id

    @model_validator(mode="after")
    def _authorises_itself(self) -> "OperationIn":
        if (self.kind is OperationKind.AUTHORISE) != (self.id == self.authorisation_id):
            raise ValueError("an authorisation, and nothing else, has its own id as authorisationId")
        return self

    def operation(self) -> Operation:
        return Operation(**self.model_dump())


class BatchIn(RequestModel):
    operations: Annotated[list[OperationIn], Field(min_length=1, max_length=MAX_BATCH)]


class AnswerOut(ResponseModel):
    operation_id: str
    verdict: Verdict
    decline: Decline | None = None

    @classmethod
    def of(cls, answer: Answer) -> "AnswerOut":
        return cls(operation_id=answer.operation_id, verdict=answer.verdict, decline=answer.decline)

    def answer(self) -> Answer:
        return Answer(self.operation_id, self.verdict, self.decline)


class BatchOut(ResponseModel):
    """The answers, without those that do not arrive."""

    answers: list[AnswerOut]


class SettlementLineOut(ResponseModel):
    kind: OperationKind
    operation_id: str
    authorisation_id: str
    merchant_id: str
    amount_minor: int
    currency: str
    at: Moment


class SettlementTotalOut(ResponseModel):
    """What one merchant moved in one currency on that day."""

    merchant_id: str
    currency: str
    captures: int
    captured_minor: int
    refunds: int
    refunded_minor: int
    net_minor: int


class SettlementFileOut(ResponseModel):
    day: str
    complete: bool = Field(description="Whether the day is over and in the books, so that nothing can be added")
    lines: list[SettlementLineOut]
    totals: list[SettlementTotalOut]


class TotalsOut(ResponseModel):
    currency: str
    authorised_minor: int
    captured_minor: int
    voided_minor: int
    refunded_minor: int
