"""The bank: it decides and books what gateways ask of it. Right on its own, whoever calls it how often at once."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from bank import rules
from bank.books import Books, Totals
from bank.rules import Authorisation
from core import clock
from core.crypto import keyed_hash
from domain.acquiring import Answer, Operation, OperationKind, Verdict
from domain.bank_scenarios import MAGIC_AMOUNTS, Reply, Scenario, scenario_by_id, scenario_of

_ACCOUNT = "bank:account"
MAX_TRIES = 40
"""Of one change, against others of the same authorisation. One of the rivals gets through each time."""


class Silence(StrEnum):
    """Why no answer comes."""

    LOST = "lost"
    """It was carried out, and the answer does not arrive."""
    UNAVAILABLE = "unavailable"
    """It was not carried out."""


Outcome = Answer | Silence


@dataclass(frozen=True, slots=True)
class SettlementLine:
    kind: OperationKind
    """A capture or a refund."""
    operation_id: str
    authorisation_id: str
    merchant_id: str
    amount_minor: int
    currency: str
    at: datetime


class BankEngine:
    def __init__(self, books: Books, hash_key: bytes, *, magic_amounts: bool):
        self._books = books
        self._hash_key = hash_key
        self._magic_amounts = MAGIC_AMOUNTS if magic_amounts else {}

    async def submit(self, operations: Sequence[Operation]) -> list[Outcome]:
        """Carry out each operation once, whatever is repeated, and answer for each in order.

        Authorisations come first, in one write; what follows the same authorisation keeps its order. Raises
        DriverError, after which the whole batch may be sent again.
        """
        asked = {operation.id: operation for operation in operations}
        authorisations = [one for one in asked.values() if one.kind is OperationKind.AUTHORISE]
        follow_ups = [one for one in asked.values() if one.kind is not OperationKind.AUTHORISE]
        outcomes: dict[str, Outcome] = {}
        if authorisations:
            outcomes |= await self._authorise(authorisations)
        if follow_ups:
            outcomes |= await self._follow(follow_ups)
        return [outcomes[operation.id] for operation in operations]

    async def look_up(self, operations: Sequence[Operation]) -> list[Answer]:
        """What became of each. UNKNOWN where the bank has never carried it out."""
        found = await self._books.find([operation.authorisation_id for operation in operations])
        now = clock.now()
        return [
            rules.answer_of(found.get(operation.authorisation_id), operation.id, now)
            or Answer(operation.id, Verdict.UNKNOWN)
            for operation in operations
        ]

    async def look_up_one(self, operation_id: str) -> Answer:
        """The same for one whose authorisation is not known."""
        found = await self._books.find_by_operation(operation_id)
        return rules.answer_of(found, operation_id, clock.now()) or Answer(operation_id, Verdict.UNKNOWN)

    async def totals(self, merchant_id: str | None = None) -> list[Totals]:
        """What the books say of a merchant, or of all, by currency."""
        return await self._books.totals(merchant_id, clock.now())

    async def settlement_lines(self, day: date) -> list[SettlementLine]:
        """Every capture and refund that succeeded on that day (UTC), in order of time."""
        start = datetime.combine(day, time.min, UTC)
        end, now = start + timedelta(days=1), clock.now()
        lines = [
            line
            async for one in self._books.moved_between(start, end)
            for line in _settled(one, now)
            if start <= line.at < end
        ]
        return sorted(lines, key=lambda line: (line.at, line.operation_id))

    async def _authorise(self, operations: Sequence[Operation]) -> dict[str, Outcome]:
        now = clock.now()
        outcomes: dict[str, Outcome] = {}
        plain: list[Authorisation] = []
        repeated: list[str] = []
        for operation in operations:
            scenario = scenario_of(operation.pan) if operation.pan is not None else None
            decided = rules.authorise(operation, scenario, self._magic_amounts.get(operation.amount_minor), now)
            if scenario is None:
                plain.append(decided)
            elif scenario.reply is Reply.UNAVAILABLE_ONCE and await self._books.add_first_attempt(operation.id):
                outcomes[operation.id] = Silence.UNAVAILABLE
            elif scenario.balance_major is None or decided.decline is not None:
                plain.append(decided)
            else:
                await self._spend(operation, scenario, decided)
                repeated.append(operation.id)  # what was written is read back
        for decided, is_new in zip(plain, await self._books.add(plain), strict=True):
            if is_new:
                outcomes[decided.id] = Silence.LOST if _is_lost(decided) else decided.answer(now)
            else:
                repeated.append(decided.id)
        if repeated:
            found = await self._books.find(repeated)
            now = clock.now()
            outcomes |= {operation_id: found[operation_id].answer(now) for operation_id in repeated}
        return outcomes

    async def _spend(self, operation: Operation, scenario: Scenario, approved: Authorisation) -> None:
        """Authorise against the balance of the card at this merchant, or decline. Once for each operation."""
        limit_minor = scenario.balance_minor(operation.currency)
        assert operation.pan is not None and limit_minor is not None and scenario.decline is not None
        owner = f"{operation.merchant_id} {operation.currency} {operation.pan}"
        approved = replace(approved, account=keyed_hash(self._hash_key, _ACCOUNT, owner.encode()))
        declined = rules.refuse(approved, scenario.decline)
        await self._books.add_within_balance(approved, declined, limit_minor)

    async def _follow(self, operations: Sequence[Operation]) -> dict[str, Outcome]:
        """Captures, voids and refunds: read, decide, and write all that nobody else has changed meanwhile; again for
        the rest."""
        outcomes: dict[str, Outcome] = {}
        waiting = list(operations)
        for attempt in range(MAX_TRIES):
            if attempt:
                await asyncio.sleep(random.uniform(0, 0.002 * attempt))  # noqa: S311 - spreads rivals, guards nothing
            found = await self._books.find([operation.authorisation_id for operation in waiting])
            now = clock.now()
            changed: dict[str, Authorisation] = {}
            for operation in waiting:
                before = changed.get(operation.authorisation_id) or found.get(operation.authorisation_id)
                after = rules.follow(before, operation, now)
                if after is not None and after is not before:
                    changed[after.id] = after
            written = await self._books.change([(found.get(one), after) for one, after in changed.items()], now)
            for operation in waiting:
                one = operation.authorisation_id
                if one in written or one not in changed:
                    answer = rules.answer_of(changed.get(one) or found.get(one), operation.id, now)
                    refused = Answer(operation.id, Verdict.DECLINED, rules.NO_AUTHORISATION)
                    outcomes[operation.id] = answer or refused
            waiting = [operation for operation in waiting if operation.id not in outcomes]
            if not waiting:
                return outcomes
        return outcomes | {operation.id: Silence.UNAVAILABLE for operation in waiting}


def _is_lost(decided: Authorisation) -> bool:
    scenario = scenario_by_id(decided.scenario_id) if decided.scenario_id else None
    return scenario is not None and scenario.reply is Reply.LOST


def _settled(one: Authorisation, now: datetime) -> list[SettlementLine]:
    """The capture and the refunds that have succeeded by now."""
    if not one.approved(now) or one.captured_at is None:
        return []
    captures = (done.id for done in one.follow_ups if done.kind is OperationKind.CAPTURE and done.decline is None)
    moved = [(OperationKind.CAPTURE, next(captures, one.id), one.captured_minor, one.captured_at)]
    moved += [
        (OperationKind.REFUND, done.id, done.amount_minor, done.decided_at)
        for done in one.follow_ups
        if done.kind is OperationKind.REFUND and done.succeeded(now)
    ]
    return [
        SettlementLine(kind, operation_id, one.id, one.merchant_id, amount_minor, one.currency, at)
        for kind, operation_id, amount_minor, at in moved
    ]
