"""A payment as plain arithmetic: what a client that knows the rules expects of it, with no database and no bank."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from domain.acquiring import Decline
from domain.bank_scenarios import SCENARIOS, RefundReply, Reply, Scenario, ThreeDSecure
from domain.money import EXPONENTS
from domain.payments import ACCEPTS, Command, Status

BY_ID = {scenario.id: scenario for scenario in SCENARIOS}
SLOW = frozenset(one.id for one in SCENARIOS if one.reply is Reply.LATE or one.refund_reply is not RefundReply.PROMPT)
"""Cards whose bank takes two seconds over something."""
REFUNDABLE = (Status.COMPLETED, Status.PARTIALLY_REFUNDED)


def major(amount_minor: int, currency: str) -> float:
    """The number that a client sends: 10050 USD as 100.5."""
    return float(Decimal(amount_minor).scaleb(-EXPONENTS[currency]))


@dataclass
class RefundModel:
    id: str
    amount_minor: int
    status: str = "pending"


@dataclass
class PaymentModel:
    """`status` is None while the payment is on its way to where `rests_at` says that it comes to rest."""

    id: str
    amount_minor: int
    currency: str
    manual: bool
    scenario: Scenario | None
    decline: Decline | None
    status: Status | None = None
    authenticated: bool = False
    captured_minor: int = 0
    refunds: list[RefundModel] = field(default_factory=list)
    failure_code: str | None = None
    amended: bool = False
    deleted: bool = False

    @property
    def rests_at(self) -> Status:
        challenges = self.scenario is not None and self.scenario.three_d_secure is ThreeDSecure.REQUIRED
        if challenges and not self.authenticated:
            return Status.REQUIRES_ACTION
        if self.decline is not None:
            return Status.FAILED
        return Status.AUTHORIZED if self.manual else Status.COMPLETED

    @property
    def sure(self) -> bool:
        """Whether nothing is under way, so that it does not change by itself."""
        return self.status is not None and not self.pending_refunds

    @property
    def pending_refunds(self) -> list[RefundModel]:
        return [one for one in self.refunds if one.status == "pending"]

    @property
    def refunded_minor(self) -> int:
        return sum(one.amount_minor for one in self.refunds if one.status == "succeeded")

    @property
    def refundable_minor(self) -> int:
        """What is left if every refund that is pending succeeds."""
        return self.captured_minor - sum(one.amount_minor for one in self.refunds if one.status != "failed")

    @property
    def largest_refund_minor(self) -> int:
        """The most that a refund can be by now: what the bank may have refused meanwhile is free again."""
        if self.status is None:
            return self.amount_minor
        refused = sum(one.amount_minor for one in self.pending_refunds) if self._refuses_refunds else 0
        return self.refundable_minor + refused

    @property
    def _refuses_refunds(self) -> bool:
        return self.scenario is not None and self.scenario.refund_reply is RefundReply.LATE_FAILURE

    def may_accept(self, command: Command) -> set[bool]:
        """Whether the state allows a command: one of the two, or either while the payment is on its way."""
        if self.status is None:
            before = set() if self.authenticated else {Status.PENDING}
            return {command in ACCEPTS[status] for status in before | {Status.PROCESSING, self.rests_at}}
        if command is Command.REFUND and self.pending_refunds:
            # The last of them may succeed meanwhile and leave nothing, or fail and leave something again.
            return {True} if self.refundable_minor else {True, False}
        return {command in ACCEPTS[self.status]}

    def arrive(self) -> None:
        """Everything under way has come to its end."""
        if self.status is None:
            self.status = self.rests_at
            if self.status is Status.COMPLETED:
                self.captured_minor = self.amount_minor
            if self.status is Status.FAILED and self.decline is not None:
                self.failure_code = self.decline.code
        for refund in self.pending_refunds:
            refund.status = "failed" if self._refuses_refunds else "succeeded"
        if self.status in REFUNDABLE and self.refunded_minor:
            whole = self.refunded_minor == self.captured_minor
            self.status = Status.REFUNDED if whole else Status.PARTIALLY_REFUNDED

    def agrees(self, shown: dict[str, Any]) -> None:
        """What the API shows is what the model holds."""
        assert self.status is not None
        assert shown["status"] == self.status.value, (self, shown)
        assert shown["amountMinor"] == self.amount_minor, (self, shown)
        assert shown["amountCapturedMinor"] == self.captured_minor, (self, shown)
        assert shown["amountRefundedMinor"] == self.refunded_minor, (self, shown)
        assert (shown["failure"] or {}).get("code") == self.failure_code, (self, shown)
        theirs = {one["id"]: (one["amountMinor"], one["status"]) for one in shown["refunds"]}
        assert theirs == {one.id: (one.amount_minor, one.status) for one in self.refunds}, (self, shown)
