"""Taking payments on by themselves: what is due begins or expires, and what the bank is to know it is told."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core import clock
from core.crypto import CannotDecrypt
from domain import payments as rules
from domain.acquiring import Answer, Operation, OperationKind, Verdict
from domain.bank_answers import answered
from domain.payments import CaptureMethod, Change, Intent, Payment, Status
from repositories.payments import Leased, LeasedWrite, PaymentRepository, Write
from services.bank import Bank
from services.payment_changes import outbox
from services.signals import Signals
from services.vault import CardVault

_LOG = logging.getLogger(__name__)
BATCH = 250
LEASE_S = 10
"""How long a payment waits when its worker has died. A batch takes milliseconds; where it takes longer than this,
another worker begins too, and the lease's token lets only one of them write (the bank knows repeated operations)."""
INTENTS_AT_ONCE = 5
"""Of one payment in one write. Each answer adds an event that shows the whole payment, and all of them stand in its
document (16 MB at most) until they are published."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the bank is asked for one payment."""

    leased: Leased
    intent: Intent
    operation: Operation | None
    """None where the card cannot be opened, and so nothing can be asked."""


class Processing:
    def __init__(self, payments: PaymentRepository, bank: Bank, vault: CardVault, signals: Signals):
        self._payments = payments
        self._bank = bank
        self._vault = vault
        self._signals = signals

    async def process_batch(self) -> int:
        """Take a batch of due payments one step on. How many were taken on.

        Each change is written only while the lease stands, and the intent to ask the bank is written before the bank
        is asked: a worker that dies in between leaves a payment that is due, which another takes on when the lease
        ends, with the same operation.
        """
        leased = await self._payments.lease_due(clock.now(), limit=BATCH, lease_s=LEASE_S)
        if leased:
            await self._ask_bank(await self._act(leased))
        return len(leased)

    async def next_due_at(self) -> datetime | None:
        return await self._payments.next_due_at()

    async def _act(self, leased: Sequence[Leased]) -> list[Leased]:
        """Begin what waits and expire what nobody captured. Those that are still ours, as they are now."""
        now = clock.now()
        acts = [(one, _own_act(one.payment, now)) for one in leased]
        ready = [one for one, change in acts if change is None]
        changes = [(one, change) for one, change in acts if change is not None]
        written = await self._write([(one, change, bool(change.payment.intents)) for one, change in changes])
        return ready + [
            Leased(change.payment, one.token)
            for one, change in changes
            if one.payment.id in written and change.payment.intents
        ]

    async def _ask_bank(self, leased: Sequence[Leased]) -> None:
        now = clock.now()
        asked = [
            _Asked(one, intent, self._operation(one.payment, intent))
            for one in leased
            for intent in [due for due in one.payment.sendable if due.due_at <= now][:INTENTS_AT_ONCE]
        ]
        answers = await self._answers(asked)
        changes: dict[str, tuple[Leased, Change]] = {}
        for one, answer in zip(asked, answers, strict=True):
            payment_id = one.leased.payment.id
            before = changes.get(payment_id, (one.leased, Change(one.leased.payment)))[1]
            change = answered(before.payment, one.intent, answer, clock.now())
            changes[payment_id] = one.leased, Change(change.payment, before.events + change.events)
        await self._write([(leased, change, False) for leased, change in changes.values()])

    async def _answers(self, asked: Sequence[_Asked]) -> list[Answer | None]:
        """The bank's answer to each. Whether an operation arrived whose answer never came, the bank is asked first."""
        doubtful = [one.operation for one in asked if one.operation is not None and one.intent.attempts]
        answers: dict[str, Answer | None] = {}
        if doubtful:
            found = await self._bank.look_up(doubtful)
            answers = {operation.id: answer for operation, answer in zip(doubtful, found, strict=True)}
        to_send = [one.operation for one in asked if one.operation is not None and _unsent(one, answers)]
        if to_send:
            sent = await self._bank.submit(to_send)
            answers |= {operation.id: answer for operation, answer in zip(to_send, sent, strict=True)}
        return [answers.get(one.intent.operation_id) for one in asked]

    def _operation(self, payment: Payment, intent: Intent) -> Operation | None:
        authorises = intent.kind is OperationKind.AUTHORISE
        try:
            pan = self._vault.open(payment.owner_id, payment.card) if authorises and payment.card else None
        except CannotDecrypt as error:
            _LOG.error("the card of %s cannot be opened (%s); the payment waits", payment.id, error)
            return None
        return Operation(
            id=intent.operation_id,
            kind=intent.kind,
            authorisation_id=payment.authorisation_id,
            merchant_id=payment.owner_id,
            amount_minor=intent.amount_minor,
            currency=payment.currency,
            capture=authorises and payment.capture is CaptureMethod.AUTOMATIC,
            pan=pan,
        )

    async def _write(self, changes: Sequence[tuple[Leased, Change, bool]]) -> set[str]:
        """Write what was decided. The ids of those that were written; the others are somebody else's now."""
        written = await self._payments.save_leased(
            [
                LeasedWrite(Write(one.payment, change.payment, outbox(change)), one.token, keeps_lease)
                for one, change, keeps_lease in changes
            ]
        )
        if any(change.events for _, change, _ in changes):
            self._signals.outbox_filled()
        return written


def _own_act(payment: Payment, now: datetime) -> Change | None:
    """What happens to a payment by itself at this moment, if anything."""
    if payment.acts_at is None or payment.acts_at > now:
        return None
    return rules.begin(payment, now) if payment.status is Status.PENDING else rules.expire(payment, now)


def _unsent(one: _Asked, found: dict[str, Answer | None]) -> bool:
    """Never sent, or sent and unknown to the bank; not while the bank does not even tell whether it knows it."""
    if not one.intent.attempts:
        return True
    answer = found[one.intent.operation_id]
    return answer is not None and answer.verdict is Verdict.UNKNOWN
