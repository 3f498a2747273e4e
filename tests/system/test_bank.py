"""The bank simulator: each operation once, whatever is repeated, raced, lost or late, and books that say so."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest

from bank import rules
from bank.books import Books, Totals
from bank.engine import BankEngine, Outcome
from core.database import Database
from domain.acquiring import Answer, Decline, Operation, OperationKind, Verdict
from domain.bank_scenarios import (
    SCENARIOS,
    Reply,
)

DATABASE = "bank"
PAN = {scenario.id: scenario.pan for scenario in SCENARIOS}
VISA = PAN["success_visa"]


@pytest.fixture(scope="module")
async def database(mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]]) -> AsyncIterator[Database]:
    database = Database(mongo_uri, DATABASE)
    await Books(database).create_indexes()
    yield database
    database.close()
    mongo.drop_database(DATABASE)


@pytest.fixture(scope="module")
def engine(database: Database) -> BankEngine:
    return BankEngine(Books(database), b"k" * 32, magic_amounts=False)


def fresh(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def sale(pan: str | None = VISA, amount_minor: int = 10_000, *, capture: bool = True, **fields: Any) -> Operation:
    operation_id = fresh("auth")
    return Operation(
        id=operation_id,
        kind=OperationKind.AUTHORISE,
        authorisation_id=operation_id,
        merchant_id=fields.pop("merchant_id", fresh("user")),
        amount_minor=amount_minor,
        currency=fields.pop("currency", "USD"),
        capture=capture,
        pan=pan,
    )


def hold(pan: str | None = VISA, amount_minor: int = 10_000, **fields: Any) -> Operation:
    return sale(pan, amount_minor, capture=False, **fields)


def after(authorisation: Operation, kind: OperationKind, amount_minor: int | None = None) -> Operation:
    return Operation(
        id=fresh(kind),
        kind=kind,
        authorisation_id=authorisation.id,
        merchant_id=authorisation.merchant_id,
        amount_minor=authorisation.amount_minor if amount_minor is None else amount_minor,
        currency=authorisation.currency,
    )


def capture(authorisation: Operation, amount_minor: int | None = None) -> Operation:
    return after(authorisation, OperationKind.CAPTURE, amount_minor)


def void(authorisation: Operation) -> Operation:
    return after(authorisation, OperationKind.VOID)


def refund(authorisation: Operation, amount_minor: int | None = None) -> Operation:
    return after(authorisation, OperationKind.REFUND, amount_minor)


async def ask(engine: BankEngine, operation: Operation) -> Outcome:
    (outcome,) = await engine.submit([operation])
    return outcome


async def verdict(engine: BankEngine, operation: Operation) -> Verdict:
    outcome = await ask(engine, operation)
    assert isinstance(outcome, Answer)
    return outcome.verdict


async def totals(engine: BankEngine, of: Operation) -> Totals:
    (found,) = await engine.totals(of.merchant_id)
    return found


async def at_once(engine: BankEngine, operations: list[Operation]) -> list[Verdict]:
    """Each sent by itself, all at the same moment."""
    return list(await asyncio.gather(*(verdict(engine, operation) for operation in operations)))


def approved(operation: Operation) -> Answer:
    return Answer(operation.id, Verdict.APPROVED)


def declined(operation: Operation, decline: Decline) -> Answer:
    return Answer(operation.id, Verdict.DECLINED, decline)


def unknown(operation: Operation) -> Answer:
    return Answer(operation.id, Verdict.UNKNOWN)


def pending(operation: Operation) -> Answer:
    return Answer(operation.id, Verdict.PENDING)


PROMPT = [one for one in SCENARIOS if one.reply is Reply.PROMPT]


@pytest.mark.parametrize("scenario", PROMPT, ids=lambda one: one.id)
async def test_each_card_does_what_its_row_says(engine: BankEngine, scenario: Any) -> None:
    operation = sale(scenario.pan)

    expected = declined(operation, scenario.decline) if scenario.always_declined else approved(operation)
    assert await ask(engine, operation) == expected
    assert await engine.look_up([operation]) == [expected]


async def test_a_whole_batch_is_answered_in_order(engine: BankEngine) -> None:
    first, second, third = sale(None), sale(PAN["lost_card"]), hold("4111111111111111")
    taking = capture(third)
    unheard_of = refund(sale())

    answers = await engine.submit([taking, first, second, unheard_of, third, first])

    assert answers == [
        approved(taking),
        approved(first),
        declined(second, next(one.decline for one in SCENARIOS if one.id == "lost_card" and one.decline)),
        declined(unheard_of, rules.NO_AUTHORISATION),
        approved(third),
        approved(first),
    ]


async def test_twenty_parallel_repeats_are_one_authorisation(engine: BankEngine) -> None:
    operation = sale()

    assert await at_once(engine, [operation] * 20) == [Verdict.APPROVED] * 20
    assert await totals(engine, operation) == Totals("USD", 10_000, 10_000, 0, 0)


async def test_twenty_parallel_repeats_of_each_follow_up_count_once(engine: BankEngine) -> None:
    operation = hold()
    await ask(engine, operation)

    assert await at_once(engine, [capture(operation, 6_000)] * 20) == [Verdict.APPROVED] * 20
    assert await at_once(engine, [refund(operation, 4_000)] * 20) == [Verdict.APPROVED] * 20
    assert await totals(engine, operation) == Totals("USD", 10_000, 6_000, 0, 4_000)


async def test_of_rival_captures_and_voids_one_wins(engine: BankEngine) -> None:
    for _ in range(5):
        operation = hold()
        await ask(engine, operation)
        rivals = [capture(operation), void(operation), capture(operation, 5_000)]

        verdicts = await at_once(engine, rivals)

        assert verdicts.count(Verdict.APPROVED) == 1
        books = await totals(engine, operation)
        assert (books.captured_minor > 0) != (books.voided_minor > 0)
        assert await at_once(engine, rivals) == verdicts


async def test_refunds_never_exceed_what_was_captured(engine: BankEngine) -> None:
    operation = sale()
    await ask(engine, operation)

    verdicts = await at_once(engine, [refund(operation, 4_000) for _ in range(20)])

    assert verdicts.count(Verdict.APPROVED) == 2
    assert await ask(engine, refund(operation, 2_000)) == Answer((await _last(engine, operation)), Verdict.APPROVED)
    assert await totals(engine, operation) == Totals("USD", 10_000, 10_000, 0, 10_000)


async def _last(engine: BankEngine, operation: Operation) -> str:
    found = await engine._books.find([operation.id])
    return found[operation.id].follow_ups[-1].id
