"""Only the moves of the table happen, each with exactly one event for each object that changed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from domain import payments as rules
from domain.acquiring import Answer, Decline, OperationKind, Verdict
from domain.bank_answers import answered
from domain.cards import Brand, StoredCard
from domain.payments import (
    ACCEPTS,
    AUTHORISATION_LIFETIME,
    MOVES,
    AmountTooLarge,
    CaptureMethod,
    Change,
    Command,
    NotAccepted,
    Payment,
    RefundStatus,
    Status,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
DECLINE = Decline("card_declined", "insufficient_funds", "The card has insufficient funds.", "51")
CARD = StoredCard("tok_1", Brand.VISA, "424242XXXXXX4242", 12, 2030, None, "f", b"sealed")
FINAL = {Status.FAILED, Status.CANCELLED, Status.EXPIRED, Status.REFUNDED}

COMMANDS: dict[Command, tuple[Callable[[Payment, datetime], Change], Status | None]] = {
    Command.CANCEL: (rules.cancel, Status.CANCELLED),
    Command.CAPTURE: (rules.capture, Status.COMPLETED),
    Command.AUTHENTICATE: (partial(rules.authenticate, succeeded=True), Status.PROCESSING),
    # A refund that is requested moves nothing yet; the bank's answer does.
    Command.REFUND: (partial(rules.request_refund, refund_id="re_1", amount_minor=40, reason=None), None),
}
assert COMMANDS.keys() == set(Command)


def payment(status: Status, **fields: object) -> Payment:
    captured = 100 if status in (Status.COMPLETED, Status.PARTIALLY_REFUNDED, Status.REFUNDED) else 0
    made = Payment(
        id="txn_1",
        owner_id="user_1",
        customer_name="Grace",
        amount_minor=100,
        currency="USD",
        status=status,
        created_at=NOW,
        updated_at=NOW,
        amount_captured_minor=captured,
        acts_at={Status.PENDING: NOW, Status.AUTHORIZED: NOW + AUTHORISATION_LIFETIME}.get(status),
        sequence=7,
        version=4,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def processing(**fields: object) -> Payment:
    return rules.begin(payment(Status.PENDING, **fields), NOW).payment


def refunding(amount_minor: int, of: Payment | None = None) -> Payment:
    paid = of or payment(Status.COMPLETED)
    return rules.request_refund(paid, NOW, f"re_{len(paid.refunds)}", amount_minor, None).payment


def answer(paid: Payment, verdict: Verdict, intent: int = 0) -> Change:
    asked = paid.intents[intent]
    decline = DECLINE if verdict is Verdict.DECLINED else None
    return answered(paid, asked, Answer(asked.operation_id, verdict, decline), LATER)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("command", Command)
def test_a_command_is_carried_out_or_refused_in_every_state(status: Status, command: Command) -> None:
    carry_out, wanted = COMMANDS[command]
    before = payment(status)
    if command not in ACCEPTS[status]:
        with pytest.raises(NotAccepted, match=f"'txn_1' is {status}; it cannot be {command}"):
            carry_out(before, LATER)
        return

    change = carry_out(before, LATER)

    after = wanted or status
    assert (change.payment.status, change.payment.updated_at) == (after, LATER)
    assert after is status or after in MOVES[status]
    assert (change.payment.version, change.payment.sequence) == (5, 8)
    (event,) = change.events
    assert (event.type, event.sequence, event.payment) == (
        f"payment.{wanted}" if wanted else "refund.created",
        8,
        change.payment,
    )


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_final_state_stays(status: Status) -> None:
    assert not MOVES[status]
    assert not ACCEPTS[status]


def test_every_state_can_be_reached_from_pending() -> None:
    reached, found = {Status.PENDING}, {Status.PENDING}
    while found:
        found = {after for status in found for after in MOVES[status]} - reached
        reached |= found

    assert reached == set(Status)


def test_a_payment_begins_with_its_first_event() -> None:
    change = rules.create(payment(Status.PENDING, sequence=1, version=1))

    (event,) = change.events
    assert (event.type, event.sequence, event.payment) == ("payment.created", 1, change.payment)
    assert change.payment.version == 1


def test_what_the_bank_is_to_be_told_is_written_before_it_is_told() -> None:
    begun = rules.begin(payment(Status.PENDING), LATER).payment

    (intent,) = begun.intents
    assert (intent.kind, intent.operation_id) == (OperationKind.AUTHORISE, begun.authorisation_id)
    assert begun.due_at == LATER
    # Somebody else who does the same has the same operation.
    assert rules.begin(payment(Status.PENDING), LATER + timedelta(days=1)).payment.intents[0].operation_id == (
        intent.operation_id
    )


def test_an_approved_authorisation_completes_and_ends_the_work() -> None:
    change = answer(processing(), Verdict.APPROVED)

    assert change.payment.status is Status.COMPLETED
    assert (change.payment.amount_captured_minor, change.payment.due_at) == (100, None)


def test_a_manual_capture_holds_the_money_for_seven_days() -> None:
    held = answer(processing(capture=CaptureMethod.MANUAL), Verdict.APPROVED).payment

    assert (held.status, held.amount_captured_minor) == (Status.AUTHORIZED, 0)
    assert held.due_at == LATER + timedelta(days=7)
    expired = rules.expire(held, LATER).payment
    assert (expired.status, expired.intents[0].kind) == (Status.EXPIRED, OperationKind.VOID)


def test_nothing_is_captured_once_the_seven_days_are_over() -> None:
    held = payment(Status.AUTHORIZED)

    assert rules.capture(held, NOW + timedelta(days=7, seconds=-1)).payment.status is Status.COMPLETED
    with pytest.raises(NotAccepted, match="is expired; it cannot be captured"):
        rules.capture(held, NOW + timedelta(days=7))


def test_a_part_can_be_captured_and_never_more_than_was_authorised() -> None:
    captured = rules.capture(payment(Status.AUTHORIZED), NOW, 60).payment

    assert (captured.amount_captured_minor, captured.refundable_minor) == (60, 60)
    assert (captured.intents[0].kind, captured.intents[0].amount_minor) == (OperationKind.CAPTURE, 60)
    with pytest.raises(AmountTooLarge):
        rules.capture(payment(Status.AUTHORIZED), NOW, 101)


def test_a_declined_payment_fails_and_says_why() -> None:
    failed = answer(processing(), Verdict.DECLINED).payment

    assert failed.status is Status.FAILED
    assert failed.failure is not None
    assert (failed.failure.decline_code, failed.failure.network_code) == ("insufficient_funds", "51")
    assert failed.due_at is None


@pytest.mark.parametrize("verdict", [Verdict.PENDING, Verdict.UNKNOWN, None])
def test_a_bank_that_does_not_decide_fails_nothing(verdict: Verdict | None) -> None:
    before = processing()
    intent = before.intents[0]

    change = answered(before, intent, Answer(intent.operation_id, verdict) if verdict else None, LATER)

    (again,) = change.payment.intents
    assert (again.operation_id, again.attempts) == (intent.operation_id, 1)
    assert again.due_at > LATER
    assert (change.payment.status, change.payment.updated_at, change.events) == (Status.PROCESSING, NOW, ())


def test_only_what_the_bank_authorised_is_voided_there() -> None:
    assert rules.cancel(payment(Status.PENDING), LATER).payment.intents == ()
    assert rules.cancel(payment(Status.REQUIRES_ACTION), LATER).payment.intents == ()
    (intent,) = rules.cancel(payment(Status.AUTHORIZED), LATER).payment.intents
    assert intent.kind is OperationKind.VOID


@pytest.mark.parametrize("verdict", [Verdict.DECLINED, None])
def test_nobody_gives_up_telling_the_bank_of_a_capture(verdict: Verdict | None) -> None:
    captured = rules.capture(payment(Status.AUTHORIZED), NOW).payment
    intent = captured.intents[0]

    after = answered(captured, intent, Answer(intent.operation_id, verdict) if verdict else None, LATER).payment

    assert (after.status, len(after.intents)) == (Status.COMPLETED, 1)
    assert (
        answered(after, after.intents[0], Answer(intent.operation_id, Verdict.APPROVED), LATER).payment.due_at is None
    )


def test_a_card_that_asks_for_3d_secure_waits_for_its_holder() -> None:
    asked = rules.begin(payment(Status.PENDING, card=replace(CARD, challenges=True)), LATER).payment

    assert (asked.status, asked.due_at, asked.intents) == (Status.REQUIRES_ACTION, None, ())
    assert rules.authenticate(asked, LATER, succeeded=True).payment.intents[0].kind is OperationKind.AUTHORISE
    refused = rules.authenticate(asked, LATER, succeeded=False).payment
    assert refused.failure is not None
    assert (refused.status, refused.failure.code) == (Status.FAILED, "authentication_failed")


def test_a_refund_reserves_its_amount_and_gives_it_back_when_the_bank_refuses() -> None:
    before = refunding(40)
    assert (before.refundable_minor, before.amount_refunded_minor, before.status) == (60, 0, Status.COMPLETED)

    change = answer(before, Verdict.DECLINED)

    assert (change.payment.refundable_minor, change.payment.status) == (100, Status.COMPLETED)
    (event,) = change.events
    assert event.refund is not None
    assert (event.type, event.refund.status) == ("refund.failed", RefundStatus.FAILED)


@pytest.mark.parametrize(("amount_minor", "status"), [(40, Status.PARTIALLY_REFUNDED), (100, Status.REFUNDED)])
def test_a_refund_that_succeeds_is_one_event_for_each_object_that_changed(amount_minor: int, status: Status) -> None:
    before = refunding(amount_minor)

    change = answer(before, Verdict.APPROVED)

    assert [(event.type, event.sequence) for event in change.events] == [
        ("refund.succeeded", before.sequence + 1),
        (f"payment.{status}", before.sequence + 2),
    ]
    assert change.payment.version > before.version
    assert (change.payment.amount_refunded_minor, change.payment.status) == (amount_minor, status)


@pytest.mark.parametrize("amount_minor", [61, 0, -1])
def test_no_more_is_refunded_than_is_left(amount_minor: int) -> None:
    with pytest.raises(AmountTooLarge):
        rules.request_refund(refunding(40), NOW, "re_9", amount_minor, None)


def test_without_an_amount_all_that_is_left_is_refunded() -> None:
    whole = rules.request_refund(refunding(40), NOW, "re_9", None, None).payment

    assert (whole.refundable_minor, whole.refunds[-1].amount_minor) == (0, 60)


def test_a_payment_has_at_most_a_hundred_refunds() -> None:
    paid = payment(Status.COMPLETED, amount_captured_minor=1000)
    for _ in range(rules.MAX_REFUNDS):
        paid = refunding(1, paid)

    with pytest.raises(NotAccepted, match="100 refunds"):
        refunding(1, paid)


def test_a_refund_waits_for_the_capture_and_not_for_other_refunds() -> None:
    captured = rules.capture(payment(Status.AUTHORIZED), NOW).payment
    both = refunding(10, refunding(10, captured))

    assert [intent.kind for intent in both.sendable] == [OperationKind.CAPTURE]
    confirmed = answer(both, Verdict.APPROVED).payment
    assert [intent.kind for intent in confirmed.sendable] == [OperationKind.REFUND] * 2


def test_describing_it_otherwise_is_no_event() -> None:
    change = rules.amend(payment(Status.COMPLETED), LATER, details="new")

    assert (change.payment.details, change.payment.version, change.payment.sequence) == ("new", 5, 7)
    assert not change.events


@pytest.mark.parametrize("status", Status)
def test_deleting_hides_and_first_cancels_what_can_be_cancelled(status: Status) -> None:
    change = rules.delete(payment(status), LATER)

    cancelled = Command.CANCEL in ACCEPTS[status]
    assert change.payment.deleted
    assert change.payment.version > 4
    assert change.payment.status is (Status.CANCELLED if cancelled else status)
    assert [event.type for event in change.events] == (["payment.cancelled"] if cancelled else [])
