"""What a gateway and its acquirer (the bank) say to each other: operations, and the answers to them."""

from dataclasses import dataclass, field
from enum import StrEnum


class OperationKind(StrEnum):
    AUTHORISE = "authorise"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing asked of the bank. Its id is the same on every attempt; the bank carries an id out once."""

    id: str
    kind: OperationKind
    authorisation_id: str
    """The id of the authorisation that it belongs to; of an authorisation, its own id."""
    merchant_id: str
    amount_minor: int
    currency: str
    capture: bool = False
    """Of an authorisation: the money is taken in the same step (a sale)."""
    pan: str | None = field(default=None, repr=False)
    """Of an authorisation: the card's number. None for a payment without a card, which the bank approves."""
    request_id: str | None = None
    """Of the request that caused it, for the logs; None where none did."""


class Verdict(StrEnum):
    APPROVED = "approved"
    DECLINED = "declined"
    PENDING = "pending"
    """The bank has it and has not decided: ask again."""
    UNKNOWN = "unknown"
    """Answer to a look-up only: the bank has never heard of it, so it may be sent (again)."""


@dataclass(frozen=True, slots=True)
class Decline:
    """Why the bank refused."""

    code: str
    """`card_declined`, `expired_card`, `incorrect_cvc`, `processing_error`, …: Stripe's error codes."""
    decline_code: str
    """`insufficient_funds`, `lost_card`, …: Stripe's decline codes."""
    message: str
    network_code: str
    """ISO 8583 response code, field 39: 05, 51, 54, …"""


@dataclass(frozen=True, slots=True)
class Answer:
    operation_id: str
    verdict: Verdict
    decline: Decline | None = None
    """Set where the verdict is DECLINED."""
