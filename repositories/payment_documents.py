"""A payment as it stands in its document, and back."""

from typing import Any

from core.database import Document
from domain.acquiring import OperationKind
from domain.cards import Brand, StoredCard
from domain.money import comparable
from domain.payments import CaptureMethod, Failure, Intent, Payment, Refund, RefundStatus, Status


def to_document(payment: Payment) -> Document:
    document: Document = {
        "_id": payment.id,
        "owner_id": payment.owner_id,
        "deleted": payment.deleted,
        "status": payment.status.value,
        "customer_name": payment.customer_name,
        "customer_name_folded": payment.customer_name.casefold(),
        "amount_minor": payment.amount_minor,
        "amount_comparable": comparable(payment.amount_minor, payment.currency),
        "amount_captured_minor": payment.amount_captured_minor,
        "amount_refunded_minor": payment.amount_refunded_minor,
        "currency": payment.currency,
        "capture": payment.capture.value,
        "created_at": payment.created_at,
        "updated_at": payment.updated_at,
        "sequence": payment.sequence,
        "version": payment.version,
    }
    optional = {
        "details": payment.details,
        "webhook_url": payment.webhook_url,
        "reference": payment.reference,
        # Pairs, because names of the client's choosing have no place among field names.
        "metadata": [list(pair) for pair in payment.metadata.items()] if payment.metadata else None,
        "customer_id": payment.customer_id,
        "card": card_document(payment.card) if payment.card else None,
        "card_token_id": payment.card_token_id,
        "challenge_url": payment.challenge_url,
        "payment_key_id": payment.payment_key_id,
        "payment_key_use": payment.payment_key_use,
        "failure": _failure_document(payment.failure) if payment.failure else None,
        "refunds": [_refund_document(refund) for refund in payment.refunds] or None,
        "intents": [_intent_document(intent) for intent in payment.intents] or None,
        "acts_at": payment.acts_at,
        "request_id": payment.request_id,
        # What workers find it by.
        "due_at": payment.due_at,
    }
    document.update({field: value for field, value in optional.items() if value is not None})
    return document


def from_document(row: Document) -> Payment:
    metadata, card, failure = row.get("metadata"), row.get("card"), row.get("failure")
    return Payment(
        id=row["_id"],
        owner_id=row["owner_id"],
        deleted=row["deleted"],
        status=Status(row["status"]),
        customer_name=row["customer_name"],
        amount_minor=row["amount_minor"],
        amount_captured_minor=row["amount_captured_minor"],
        amount_refunded_minor=row["amount_refunded_minor"],
        currency=row["currency"],
        capture=CaptureMethod(row["capture"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        sequence=row["sequence"],
        version=row["version"],
        details=row.get("details"),
        webhook_url=row.get("webhook_url"),
        reference=row.get("reference"),
        metadata=dict(metadata) if metadata else None,
        customer_id=row.get("customer_id"),
        card=card_from(card) if card else None,
        card_token_id=row.get("card_token_id"),
        challenge_url=row.get("challenge_url"),
        payment_key_id=row.get("payment_key_id"),
        payment_key_use=row.get("payment_key_use"),
        failure=_failure(failure) if failure else None,
        refunds=tuple(_refund(refund) for refund in row.get("refunds", ())),
        intents=tuple(_intent(intent) for intent in row.get("intents", ())),
        acts_at=row.get("acts_at"),
        request_id=row.get("request_id"),
        in_hand="lease_token" in row,
    )


def card_document(card: StoredCard) -> Document:
    return {
        "token_id": card.token_id,
        "brand": card.brand.value,
        "masked": card.masked,
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "holder_name": card.holder_name,
        "fingerprint": card.fingerprint,
        "sealed_pan": card.sealed_pan,
        "challenges": card.challenges,
    }


def card_from(row: Document) -> StoredCard:
    return StoredCard(
        token_id=row["token_id"],
        brand=Brand(row["brand"]),
        masked=row["masked"],
        exp_month=row["exp_month"],
        exp_year=row["exp_year"],
        holder_name=row["holder_name"],
        fingerprint=row["fingerprint"],
        sealed_pan=bytes(row["sealed_pan"]),
        challenges=row["challenges"],
    )


def _refund_document(refund: Refund) -> Document:
    document: Document = {
        "id": refund.id,
        "amount_minor": refund.amount_minor,
        "status": refund.status.value,
        "created_at": refund.created_at,
        "updated_at": refund.updated_at,
        "sequence": refund.sequence,
    }
    if refund.reason is not None:
        document["reason"] = refund.reason
    if refund.failure is not None:
        document["failure"] = _failure_document(refund.failure)
    return document


def _refund(row: Document) -> Refund:
    failure = row.get("failure")
    return Refund(
        id=row["id"],
        amount_minor=row["amount_minor"],
        status=RefundStatus(row["status"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        reason=row.get("reason"),
        failure=_failure(failure) if failure else None,
        sequence=row.get("sequence", 0),
    )


def _intent_document(intent: Intent) -> Document:
    document: Document = {
        "operation_id": intent.operation_id,
        "kind": intent.kind.value,
        "amount_minor": intent.amount_minor,
        "due_at": intent.due_at,
        "attempts": intent.attempts,
    }
    if intent.refund_id is not None:
        document["refund_id"] = intent.refund_id
    if intent.request_id is not None:
        document["request_id"] = intent.request_id
    return document


def _intent(row: Document) -> Intent:
    return Intent(
        operation_id=row["operation_id"],
        kind=OperationKind(row["kind"]),
        amount_minor=row["amount_minor"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        refund_id=row.get("refund_id"),
        request_id=row.get("request_id"),
    )


def _failure_document(failure: Failure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "message": failure.message,
        "decline_code": failure.decline_code,
        "network_code": failure.network_code,
    }


def _failure(row: Document) -> Failure:
    return Failure(row["code"], row["message"], row["decline_code"], row["network_code"])
