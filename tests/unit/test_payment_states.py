"""Only the moves of the table happen, each with exactly one event."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.payments import MOVES, Change, MoveNotAllowed, Payment, Status, begin_processing, cancel, complete, create
from domain.payments import amend as amend_fields
from domain.payments import delete as hide

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
COMMANDS: dict[Callable[[Payment, datetime], Change], tuple[Status, set[Status]]] = {
    begin_processing: (Status.PROCESSING, {Status.PENDING, Status.REQUIRES_ACTION}),
    complete: (Status.COMPLETED, {Status.PROCESSING, Status.AUTHORIZED}),
    cancel: (Status.CANCELLED, {Status.PENDING, Status.REQUIRES_ACTION, Status.AUTHORIZED}),
}
FINAL = {Status.FAILED, Status.CANCELLED, Status.EXPIRED, Status.REFUNDED}


def payment(status: Status) -> Payment:
    return Payment(
        id="txn_1",
        owner_id="user_1",
        customer_name="Grace",
        amount_minor=100,
        currency="USD",
        status=status,
        created_at=NOW,
        updated_at=NOW,
        due_at=NOW,
        sequence=7,
        version=4,
    )


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_moves_or_is_refused(status: Status, command: Callable[[Payment, datetime], Change]) -> None:
    wanted, allowed_from = COMMANDS[command]
    before = payment(status)
    if status not in allowed_from:
        with pytest.raises(MoveNotAllowed, match=f"'txn_1' is {status}; it cannot become {wanted}"):
            command(before, LATER)
        return

    change = command(before, LATER)

    assert (change.payment.status, change.payment.updated_at) == (wanted, LATER)
    assert (change.payment.version, change.payment.sequence) == (5, 8)
    (event,) = change.events
    assert (event.type, event.sequence, event.payment) == (f"payment.{wanted}", 8, change.payment)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_final_state_stays(status: Status) -> None:
    assert not MOVES[status]


def test_every_state_can_be_reached_from_pending() -> None:
    reached, found = {Status.PENDING}, {Status.PENDING}
    while found:
        found = {after for status in found for after in MOVES[status]} - reached
        reached |= found

    assert reached == set(Status)


def test_no_money_is_given_back_that_was_not_taken() -> None:
    assert all(not moves & {Status.CANCELLED, Status.EXPIRED} for status, moves in MOVES.items() if status in AFTER)


AFTER = {Status.PROCESSING, Status.COMPLETED, Status.PARTIALLY_REFUNDED, Status.REFUNDED}


def test_a_payment_begins_with_its_first_event() -> None:
    change = create(replace(payment(Status.PENDING), sequence=1, version=1))

    (event,) = change.events
    assert (event.type, event.sequence, event.payment) == ("payment.created", 1, change.payment)
    assert change.payment.version == 1


def test_completing_captures_the_whole_amount_and_ends_the_work() -> None:
    completed = complete(payment(Status.PROCESSING), LATER).payment

    assert (completed.amount_captured_minor, completed.due_at) == (100, None)


def test_a_payment_that_is_processing_stays_due() -> None:
    assert begin_processing(payment(Status.PENDING), LATER).payment.due_at == NOW


def test_describing_it_otherwise_is_no_event() -> None:
    change = amend_fields(payment(Status.COMPLETED), LATER, details="new")

    assert (change.payment.details, change.payment.version, change.payment.sequence) == ("new", 5, 7)
    assert not change.events


@pytest.mark.parametrize("status", Status)
def test_deleting_hides_and_first_cancels_what_can_be_cancelled(status: Status) -> None:
    change = hide(payment(status), LATER)

    cancelled = Status.CANCELLED in MOVES[status]
    assert change.payment.deleted
    assert change.payment.version == 5
    assert change.payment.status is (Status.CANCELLED if cancelled else status)
    assert [event.type for event in change.events] == (["payment.cancelled"] if cancelled else [])
