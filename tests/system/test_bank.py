"""The bank simulator: each operation once, whatever is repeated, raced, lost or late, and books that say so."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import bson
import pymongo
import pytest

from bank import rules
from bank.books import INDEXES, Books, Totals
from bank.engine import BankEngine, Outcome, Silence
from core.database import Database
from domain.acquiring import Answer, Operation, Verdict
from domain.bank_scenarios import (
    GENERIC_DECLINE,
    INSUFFICIENT_FUNDS,
    LATE_S,
    REFUND_FAILED,
    SCENARIOS,
    Reply,
)
from tests.acquiring import PAN, VISA, approved, capture, declined, fresh, hold, pending, refund, sale, unknown, void

DATABASE = "bank"


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


@pytest.fixture(scope="module")
def rival(database: Database) -> BankEngine:
    """Another process's, over the same books."""
    return BankEngine(Books(database), b"k" * 32, magic_amounts=False)


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
    assert await verdict(engine, refund(operation, 2_000)) is Verdict.APPROVED
    assert await totals(engine, operation) == Totals("USD", 10_000, 10_000, 0, 10_000)


async def test_a_capture_takes_no_more_than_was_authorised_and_once(engine: BankEngine) -> None:
    operation = hold()
    await ask(engine, operation)

    too_much, part, again = capture(operation, 10_001), capture(operation, 2_500), capture(operation, 1)

    assert await ask(engine, too_much) == declined(too_much, rules.INVALID_AMOUNT)
    assert await ask(engine, part) == approved(part)
    assert await ask(engine, again) == declined(again, rules.CAPTURED)
    assert await ask(engine, too_much) == declined(too_much, rules.INVALID_AMOUNT)
    assert await engine.look_up([part, again, operation]) == [
        approved(part),
        declined(again, rules.CAPTURED),
        approved(operation),
    ]
    assert await totals(engine, operation) == Totals("USD", 10_000, 2_500, 0, 0)


async def test_a_refund_needs_a_capture_and_a_void_needs_none(engine: BankEngine) -> None:
    operation, taken = hold(), sale()
    await engine.submit([operation, taken])
    early, late_void, calling_off = refund(operation), void(taken), void(operation)

    assert await ask(engine, early) == declined(early, rules.NOT_CAPTURED)
    assert await ask(engine, late_void) == declined(late_void, rules.CAPTURED)
    assert await ask(engine, calling_off) == approved(calling_off)
    assert await totals(engine, operation) == Totals("USD", 10_000, 0, 10_000, 0)


async def test_another_merchant_has_no_such_authorisation(engine: BankEngine) -> None:
    operation = hold()
    await ask(engine, operation)
    for stranger in (
        replace(capture(operation), merchant_id="user_other"),
        replace(void(operation), merchant_id="user_other"),
        replace(capture(operation), currency="EUR"),
    ):
        assert await ask(engine, stranger) == declined(stranger, rules.NO_AUTHORISATION)
        assert await engine.look_up([stranger]) == [unknown(stranger)]


async def test_voiding_what_has_not_arrived_refuses_it_when_it_does(engine: BankEngine) -> None:
    operation = sale()
    calling_off = void(operation)
    assert await engine.look_up([operation]) == [unknown(operation)]

    assert await at_once(engine, [calling_off] * 20) == [Verdict.APPROVED] * 20

    assert await ask(engine, operation) == declined(operation, rules.CALLED_OFF)
    assert await engine.look_up([operation, calling_off]) == [
        declined(operation, rules.CALLED_OFF),
        approved(calling_off),
    ]
    assert await totals(engine, operation) == Totals("USD", 0, 0, 0, 0)


async def test_an_authorisation_and_its_void_at_once_leave_nothing_held(engine: BankEngine) -> None:
    for _ in range(10):
        operation = hold()

        first, calling_off = await at_once(engine, [operation, void(operation)])

        assert calling_off is Verdict.APPROVED
        books = await totals(engine, operation)
        assert books.authorised_minor == books.voided_minor == (10_000 if first is Verdict.APPROVED else 0)


async def test_a_balance_is_spent_once_whatever_is_raced_or_repeated(engine: BankEngine, rival: BankEngine) -> None:
    merchant_id = fresh("user")
    operations = [sale(PAN["balance_500"], 20_000, merchant_id=merchant_id) for _ in range(6)]

    here, there = await asyncio.gather(at_once(engine, operations * 2), at_once(rival, operations * 2))

    assert here.count(Verdict.APPROVED) == 2 * 2
    assert here[:6] == here[6:] == there[:6] == there[6:]
    rest, too_much = (sale(PAN["balance_500"], amount, merchant_id=merchant_id) for amount in (10_000, 1))
    assert await ask(engine, rest) == approved(rest)
    assert await ask(engine, too_much) == declined(too_much, INSUFFICIENT_FUNDS)
    assert (await totals(engine, rest)).captured_minor == 50_000


async def test_a_balance_is_each_merchants_and_currencys_own(engine: BankEngine) -> None:
    merchant_id = fresh("user")

    assert await verdict(engine, sale(PAN["balance_500"], 50_000, merchant_id=merchant_id)) is Verdict.APPROVED
    assert await verdict(engine, sale(PAN["balance_500"], 50_000)) is Verdict.APPROVED
    in_yen = [sale(PAN["balance_500"], amount, merchant_id=merchant_id, currency="JPY") for amount in (500, 1)]
    assert [await verdict(engine, one) for one in in_yen] == [Verdict.APPROVED, Verdict.DECLINED]


async def test_what_is_voided_refunded_or_not_captured_can_be_spent_again(engine: BankEngine) -> None:
    merchant_id = fresh("user")

    async def balance_is(amount_minor: int) -> None:
        probe = hold(PAN["balance_500"], amount_minor, merchant_id=merchant_id)
        too_much = hold(PAN["balance_500"], amount_minor + 1, merchant_id=merchant_id)
        assert await verdict(engine, too_much) is Verdict.DECLINED
        assert await verdict(engine, probe) is Verdict.APPROVED
        assert await verdict(engine, void(probe)) is Verdict.APPROVED

    voided = hold(PAN["balance_500"], 50_000, merchant_id=merchant_id)
    await ask(engine, voided)
    await at_once(engine, [void(voided)] * 5 + [void(voided)])
    await balance_is(50_000)
    part = hold(PAN["balance_500"], 30_000, merchant_id=merchant_id)
    await ask(engine, part)
    await at_once(engine, [capture(part, 10_000)] * 5)
    await balance_is(40_000)
    back = refund(part, 4_000)
    assert set(await at_once(engine, [back] * 5)) == {Verdict.APPROVED}
    await balance_is(44_000)


async def test_what_is_late_is_pending_until_its_time_has_come(engine: BankEngine) -> None:
    success, failure = sale(PAN["late_success"]), hold(PAN["late_failure"])
    both = [success, failure]
    calm, bad = sale(PAN["refund_pending_then_succeeds"]), sale(PAN["refund_pending_then_fails"])
    await engine.submit([calm, bad])
    going, failing, too_much = refund(calm, 6_000), refund(bad, 6_000), refund(bad, 6_000)

    assert await engine.submit(both) == [pending(one) for one in both]
    assert await engine.submit(both) == [pending(one) for one in both]
    assert await engine.look_up(both) == [pending(one) for one in both]
    early = [capture(success), refund(success), capture(failure)]
    assert {await verdict(engine, one) for one in early} == {Verdict.DECLINED}
    assert await totals(engine, success) == Totals("USD", 0, 0, 0, 0)
    assert await engine.submit([going, failing]) == [pending(going), pending(failing)]
    # What is being refunded is reserved.
    assert await ask(engine, too_much) == declined(too_much, rules.INVALID_AMOUNT)
    assert (await totals(engine, calm)).refunded_minor == 0

    await asyncio.sleep(LATE_S)

    assert await engine.submit(both) == [approved(success), declined(failure, GENERIC_DECLINE)]
    assert await totals(engine, success) == Totals("USD", 10_000, 10_000, 0, 0)
    assert await totals(engine, failure) == Totals("USD", 0, 0, 0, 0)
    assert await engine.look_up([going, failing]) == [approved(going), declined(failing, REFUND_FAILED)]
    assert (await totals(engine, calm)).refunded_minor == 6_000
    assert (await totals(engine, bad)).refunded_minor == 0
    # What failed is free again; what was refused stays refused.
    again = refund(bad)
    assert await ask(engine, again) == pending(again)
    assert await verdict(engine, too_much) is Verdict.DECLINED


async def test_what_is_called_off_before_it_is_decided_never_comes(engine: BankEngine) -> None:
    operation = sale(PAN["late_success"])
    await ask(engine, operation)

    assert await verdict(engine, void(operation)) is Verdict.APPROVED

    assert await engine.look_up([operation]) == [declined(operation, rules.CALLED_OFF)]
    assert await totals(engine, operation) == Totals("USD", 0, 0, 0, 0)


async def test_a_lost_answer_is_found_by_looking_up_and_by_repeating(engine: BankEngine) -> None:
    one, other = sale(PAN["bank_timeout"]), sale(PAN["bank_timeout"])

    assert await engine.submit([one, other]) == [Silence.LOST, Silence.LOST]

    assert await engine.look_up([one]) == [approved(one)]
    assert await ask(engine, other) == approved(other)
    assert await totals(engine, one) == Totals("USD", 10_000, 10_000, 0, 0)


async def test_what_was_turned_away_is_unknown_and_carried_out_the_second_time(engine: BankEngine) -> None:
    operation = sale(PAN["bank_unavailable_once"])

    assert await ask(engine, operation) is Silence.UNAVAILABLE
    assert await engine.look_up([operation]) == [unknown(operation)]
    assert await ask(engine, operation) == approved(operation)
    assert await ask(engine, operation) == approved(operation)
    assert await totals(engine, operation) == Totals("USD", 10_000, 10_000, 0, 0)


async def test_magic_amounts_decline_only_where_they_are_on(database: Database, engine: BankEngine) -> None:
    magic = BankEngine(Books(database), b"k" * 32, magic_amounts=True)
    for pan in (None, VISA, PAN["balance_500"]):
        on, off = sale(pan, 400_051), sale(pan, 4_051)
        assert await ask(magic, on) == declined(on, INSUFFICIENT_FUNDS)
        assert await ask(magic, off) == approved(off)
    without = sale(None, 400_051)
    assert await ask(engine, without) == approved(without)


async def test_the_settlement_file_has_the_days_captures_and_refunds(engine: BankEngine) -> None:
    merchant_id = fresh("user")
    bought, held = sale(merchant_id=merchant_id), hold(merchant_id=merchant_id, amount_minor=5_000)
    dropped = hold(merchant_id=merchant_id)
    failed = sale(PAN["stolen_card"], merchant_id=merchant_id)
    taken, back = capture(held, 4_000), refund(bought, 1_000)
    await engine.submit([bought, held, dropped, failed, taken, back, void(dropped), refund(bought, 20_000)])
    today = datetime.now(UTC).date()

    lines = [line for line in await engine.settlement_lines(today) if line.merchant_id == merchant_id]

    assert {(line.kind.value, line.operation_id, line.authorisation_id, line.amount_minor) for line in lines} == {
        ("capture", bought.id, bought.id, 10_000),
        ("capture", taken.id, held.id, 4_000),
        ("refund", back.id, bought.id, 1_000),
    }
    assert await engine.totals(merchant_id) == [Totals("USD", 25_000, 14_000, 10_000, 1_000)]
    yesterday = await engine.settlement_lines(today - timedelta(days=1))
    assert not [line for line in yesterday if line.merchant_id == merchant_id]


def test_a_day_is_complete_when_what_was_decided_before_midnight_is_written() -> None:
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    day = date(2026, 11, 21)

    assert not rules.day_is_complete(day, midnight - timedelta(seconds=1))
    assert not rules.day_is_complete(day, midnight + timedelta(seconds=10))
    assert rules.day_is_complete(day, midnight + timedelta(minutes=2))
    assert not rules.day_is_complete(midnight.date(), midnight + timedelta(minutes=2))


async def test_the_books_hold_no_card_number(
    engine: BankEngine, mongo: pymongo.MongoClient[dict[str, Any]], database: Database
) -> None:
    await engine.submit([sale(scenario.pan) for scenario in SCENARIOS])

    assert set(mongo[DATABASE].list_collection_names()) == set(INDEXES)
    for name in INDEXES:
        written = b"".join(bson.encode(document) for document in mongo[DATABASE][name].find())
        assert written
        assert not [one.id for one in SCENARIOS if one.pan.encode() in written]


async def test_every_question_to_the_books_uses_an_index(
    engine: BankEngine, mongo: pymongo.MongoClient[dict[str, Any]]
) -> None:
    books = mongo[DATABASE]
    books.command("profile", 2)
    operation = sale(PAN["balance_500"])
    back = refund(operation)
    await engine.submit([operation, back, sale(PAN["bank_unavailable_once"])])
    await engine.look_up([operation, back])
    await engine.look_up_one(back.id)
    await engine.settlement_lines(datetime.now(UTC).date())
    await engine.totals(operation.merchant_id)
    books.command("profile", 0)

    plans = {str(row.get("command")): row.get("planSummary", "") for row in books["system.profile"].find()}
    books["system.profile"].drop()
    assert [plan for plan in plans.values() if "IXSCAN" in plan]
    assert not [asked for asked, plan in plans.items() if "COLLSCAN" in plan]
