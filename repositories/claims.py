"""Idempotency claims: what a document keeps of the first answer to an Idempotency-Key."""

from dataclasses import dataclass

from core.database import Document


@dataclass(frozen=True, slots=True)
class Claim:
    """The first answer to an idempotency key, and of which request it was."""

    id: str
    fingerprint: bytes
    status: int
    body: bytes


def claim_document(claim: Claim) -> Document:
    return {"id": claim.id, "fingerprint": claim.fingerprint, "status": claim.status, "body": claim.body}


def claim_from(row: Document) -> Claim:
    return Claim(row["id"], bytes(row["fingerprint"]), row["status"], bytes(row["body"]))
