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
from core.database import DuplicateKey
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
        follow_ups: dict[str, list[Operation]] = {}
        authorisations: list[Operation] = []
        for operation in asked.values():
            if operation.kind is OperationKind.AUTHORISE:
                authorisations.append(operation)
            else:
                follow_ups.setdefault(operation.authorisation_id, []).append(operation)
        outcomes: dict[str, Outcome] = {}
        if authorisations:
            outcomes |= await self._authorise(authorisations)
        if follow_ups:
            found = await self._books.find(list(follow_ups))
            for part in await asyncio.gather(
                *(self._follow(found.get(one), following) for one, following in follow_ups.items())
            ):
                outcomes |= part
        return [outcomes[operation.id] for operation in operations]

    async def look_up(self, operations: Sequence[Operation]) -> list[Answer]:
        """What became of each. UNKNOWN where the bank has never carried it out."""
        found = await self._books.find([operation.authorisation_id for operation in operations])
        now = clock.now()
        return [
            _answer_of(found.get(operation.authorisation_id), operation.id, now)
            or Answer(operation.id, Verdict.UNKNOWN)
            for operation in operations
        ]

    async def look_up_one(self, operation_id: str) -> Answer:
        """The same for one whose authorisation is not known."""
        found = await self._books.find_by_operation(operation_id)
        return _answer_of(found, operation_id, clock.now()) or Answer(operation_id, Verdict.UNKNOWN)

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

    async def _follow(self, found: Authorisation | None, operations: Sequence[Operation]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        for operation in operations:
            found, outcomes[operation.id] = await self._follow_one(found, operation)
        return outcomes

    async def _follow_one(
        self, found: Authorisation | None, operation: Operation
    ) -> tuple[Authorisation | None, Outcome]:
        """Carry out one capture, void or refund. Also the authorisation as it is then."""
        for attempt in range(MAX_TRIES):
            now = clock.now()
            if attempt:
                await asyncio.sleep(random.uniform(0, 0.002 * attempt))  # noqa: S311 - spreads rivals, guards nothing
                found = (await self._books.find([operation.authorisation_id])).get(operation.authorisation_id)
            known = _answer_of(found, operation.id, now)
            if known is not None:
                return found, known
            if found is None and operation.kind is OperationKind.VOID:
                buried = rules.tombstone(operation, now)
                if (await self._books.add([buried]))[0]:
                    return buried, Answer(operation.id, Verdict.APPROVED)
                continue
            if found is None or not rules.concerns(found, operation):
                return found, Answer(operation.id, Verdict.DECLINED, rules.NO_AUTHORISATION)
            after = rules.follow(found, operation, now)
            try:
                written = await self._books.replace(found, after, now)
            except DuplicateKey:
                return found, Answer(operation.id, Verdict.DECLINED, rules.NO_AUTHORISATION)
            if written:
                answer = _answer_of(after, operation.id, now)
                assert answer is not None
                return after, answer
        return found, Silence.UNAVAILABLE


def _is_lost(decided: Authorisation) -> bool:
    scenario = scenario_by_id(decided.scenario_id) if decided.scenario_id else None
    return scenario is not None and scenario.reply is Reply.LOST


def _answer_of(found: Authorisation | None, operation_id: str, now: datetime) -> Answer | None:
    if found is None:
        return None
    if found.id == operation_id:
        return found.answer(now)
    follow_up = found.follow_up(operation_id)
    return follow_up.answer(now) if follow_up else None


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
