"""Taking payments on by themselves: what is due begins or expires, and what the bank is to know it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from core import clock
from core.crypto import CannotDecrypt
from core.logs import structured_logger
from domain import payments as rules
from domain.acquiring import Answer, Operation, OperationKind, Verdict
from domain.bank_answers import answered
from domain.payments import CaptureMethod, Change, Intent, Payment, Status
from repositories.payments import Leased, LeasedWrite, PaymentRepository, Write
from services.bank import Bank
from services.payment_changes import outbox
from services.signals import Signals
from services.vault import CardVault

_LOG = structured_logger("mock_psp.worker")
BATCH = 250
LEASE_S = 10
"""How long a payment waits when its worker has died. A batch takes milliseconds; where it takes longer than this,
another worker begins too, and the lease's token lets only one of them write (the bank knows repeated operations)."""
INTENTS_AT_ONCE = 5
"""Of one payment in one write. Each answer adds an event that shows the whole payment, and all of them stand in its
document (16 MB at most) until they are published."""


@dataclass(frozen=True, slots=True)
class _Started:
    """A payment as it was leased, and what has become of it since."""

    leased: Leased
    change: Change

    @property
    def id(self) -> str:
        return self.leased.payment.id


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the bank is asked for one payment."""

    payment_id: str
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

        Each change is written only while the lease stands. A worker that dies before that leaves a payment that is
        due, which another takes on when the lease ends, with the same operation: its id follows from the payment's.
        """
        leased = await self._payments.lease_due(clock.now(), limit=BATCH, lease_s=LEASE_S)
        if leased:
            await self._ask_bank(await self._act(leased))
        return len(leased)

    async def next_due_at(self) -> datetime | None:
        return await self._payments.next_due_at()

    async def _act(self, leased: Sequence[Leased]) -> list[_Started]:
        """What payments do by themselves: those that are still ours and have something to tell the bank.

        A payment that begins is written with the bank's answer, in one write; until then nobody can cancel it, since it
        is in hand. One that expires could be captured at the same moment, so that is written first.
        """
        now = clock.now()
        started: list[_Started] = []
        first: list[_Started] = []
        for one in leased:
            change = _own_act(one.payment, now)
            waits = change is None or change.payment.status is Status.PROCESSING
            (started if waits else first).append(_Started(one, change or Change(one.payment)))
        written = await self._write(first, keep_lease=True)
        for done in first:
            payment = done.change.payment
            if payment.id in written and payment.intents:
                started.append(_Started(Leased(payment, done.leased.token), Change(payment)))
        return started

    async def _ask_bank(self, started: Sequence[_Started]) -> None:
        now = clock.now()
        asked = [
            _Asked(one.id, intent, self._operation(one.change.payment, intent))
            for one in started
            for intent in [due for due in one.change.payment.sendable if due.due_at <= now][:INTENTS_AT_ONCE]
        ]
        answers = await self._answers(asked)
        by_id = {one.id: one for one in started}
        for one, answer in zip(asked, answers, strict=True):
            before = by_id[one.payment_id]
            change = answered(before.change.payment, one.intent, answer, clock.now())
            events = before.change.events + change.events
            by_id[one.payment_id] = _Started(before.leased, Change(change.payment, events))
        written = await self._write(list(by_id.values()))
        for one, answer in zip(asked, answers, strict=True):
            if answer is not None and one.payment_id in written:
                _log(one, answer)

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
            _LOG.error(
                f"the card of {payment.id} cannot be opened ({error}); the payment waits",
                request_id=intent.request_id,
                payment_id=payment.id,
            )
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
            request_id=intent.request_id,
        )

    async def _write(self, started: Sequence[_Started], *, keep_lease: bool = False) -> set[str]:
        """Write what was decided. The ids of those that were written; the others are somebody else's now.

        Leases are kept, where that is wanted, of payments that have something to tell the bank.
        """
        written = await self._payments.save_leased(
            [
                LeasedWrite(
                    Write(one.leased.payment, one.change.payment, outbox(one.change)),
                    one.leased.token,
                    keeps_lease=keep_lease and bool(one.change.payment.intents),
                )
                for one in started
            ]
        )
        if any(one.change.events for one in started):
            self._signals.outbox_filled(self._payments.outbox)
        return written


def _log(asked: _Asked, answer: Answer) -> None:
    """A line for each answer that was written down. That none comes, HttpBank says once for all."""
    _LOG.info(
        "bank operation",
        request_id=asked.intent.request_id,
        payment_id=asked.payment_id,
        operation_id=asked.intent.operation_id,
        kind=asked.intent.kind.value,
        verdict=answer.verdict.value,
    )


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
