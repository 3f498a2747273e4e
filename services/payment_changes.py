"""Changing a payment: read it, let the rules decide, write it if nobody else did; once for each idempotency key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from core import ids, json_codec
from core.database import Database, Session
from core.errors import AmountExceeded, InvalidState, NotFound
from domain.payments import AmountTooLarge, Change, NotAccepted, Payment, PaymentEvent
from repositories.claims import Claim
from repositories.outbox import OutboxEvent
from repositories.payments import ClaimTaken, PaymentRepository, Write
from schemas.payments import payment_view
from schemas.refunds import refund_view
from services.caller import Caller
from services.idempotency import Answer, fingerprint_of, replay
from services.races import until_won
from services.signals import Signals


@dataclass(frozen=True, slots=True)
class Once:
    """A command that an idempotency key makes happen once: who, where, under which key, and what was asked for."""

    caller: Caller
    route: str
    key: str
    fields: dict[str, Any]

    @property
    def claim_id(self) -> str:
        return ids.derived("idem", self.caller.account_id, self.route, self.key)


Read = Callable[[], Awaitable[Payment]]
Decide = Callable[[Payment], Change]


class PaymentChanges:
    def __init__(self, database: Database, payments: PaymentRepository, signals: Signals, hash_key: bytes):
        self._database = database
        self._payments = payments
        self._signals = signals
        self._hash_key = hash_key

    async def own(self, caller: Caller, payment_id: str) -> Payment:
        """The caller's payment, unless it is deleted. Raises NotFound."""
        payment = await self._payments.get(caller.account_id, payment_id)
        if payment is None:
            raise NotFound(f"Transaction '{payment_id}' not found for this user.")
        return payment

    async def apply(
        self,
        read: Read,
        decide: Decide,
        request_id: str | None,
        claim: Callable[[Change], Claim | None] = lambda _: None,
    ) -> Change:
        """Read, decide, write if nobody else wrote meanwhile; a lost race begins again. What it causes is known to be
        of this request.

        Raises what `read` raises, InvalidState, AmountExceeded, ClaimTaken, and Contention after many lost races.
        """

        async def turn() -> Change | None:
            before = await read()
            change = _decided(decide, before, request_id)
            if not await self._payments.save(Write(before, change.payment, outbox(change), claim(change))):
                return None
            self._ring(change)
            return change

        return await until_won(turn)

    async def apply_recorded(
        self,
        read: Callable[[Session], Awaitable[Payment]],
        decide: Decide,
        record: Callable[[Payment, Session], Awaitable[None]],
        request_id: str | None,
    ) -> None:
        """The same in one transaction with what is written down of it, given the payment as it was."""

        async def change(session: Session) -> Change | None:
            before = await read(session)
            change = _decided(decide, before, request_id)
            if not await self._payments.save(Write(before, change.payment, outbox(change), None), session):
                return None
            await record(before, session)
            return change

        self._ring(await until_won(lambda: self._database.in_transaction(change)))

    async def apply_once(
        self, once: Once, read: Read, decide: Decide, *, status: int, shown: Callable[[Change], bytes]
    ) -> Answer:
        """The same, and an answer that the same key and fields get again to the byte, whatever happens later."""
        asked = fingerprint_of(self._hash_key, once.fields)

        async def first() -> Claim | None:
            return await self._payments.command_claim(once.caller.account_id, once.claim_id)

        async def read_unclaimed() -> Payment:
            if await first() is not None:
                raise ClaimTaken
            return await read()

        try:
            change = await self.apply(
                read_unclaimed,
                decide,
                once.caller.request_id,
                lambda change: Claim(once.claim_id, asked, status, shown(change)),
            )
        except ClaimTaken:
            return replay(await first(), asked)
        except (InvalidState, AmountExceeded):
            # The same key, sent twice at once: the other one may have been carried out meanwhile.
            claim = await first()
            if claim is None:
                raise
            return replay(claim, asked)
        return Answer(status, shown(change))

    def _ring(self, change: Change) -> None:
        if change.events:
            self._signals.outbox_filled(self._payments.outbox)
        if change.payment.intents:
            self._signals.payment_due(0)


def _decided(decide: Decide, before: Payment, request_id: str | None) -> Change:
    try:
        change = decide(replace(before, request_id=request_id))
    except NotAccepted as error:
        raise InvalidState(str(error)) from None
    except AmountTooLarge as error:
        raise AmountExceeded(str(error)) from None
    # To describe or to hide it is no step: what it does next is still because of the request before.
    return change if change.events else Change(replace(change.payment, request_id=before.request_id))


def outbox(change: Change) -> tuple[OutboxEvent, ...]:
    """A change's events as they are written beside it, each with the object as the API showed it then."""
    return tuple(
        OutboxEvent(
            ids.fresh("evt"),
            event.type,
            event.sequence,
            event.payment.updated_at,
            shown_json(event),
            event.refund.id if event.refund else None,
            event.payment.request_id,
        )
        for event in change.events
    )


def payment_json(payment: Payment) -> bytes:
    return json_codec.dumps(payment_view(payment))


def shown_json(event: PaymentEvent) -> bytes:
    """What an event is about, as the API shows it right after."""
    if event.refund is not None:
        return json_codec.dumps(refund_view(event.refund, event.payment))
    return payment_json(event.payment)
