"""The card vault: numbers go in, and come out for the bank alone."""

from dataclasses import replace

from core.crypto import CannotDecrypt, Sealer, keyed_hash
from domain.bank_scenarios import ThreeDSecure, three_d_secure
from domain.cards import CardDetails, StoredCard


class CardVault:
    def __init__(self, sealer: Sealer, hash_key: bytes):
        self._sealer = sealer
        self._hash_key = hash_key

    def seal(self, owner_id: str, card: CardDetails, token_id: str) -> StoredCard:
        """The card as it may be kept, sealed for one token of one owner; what it pays or is saved as can be its own."""
        return StoredCard(
            token_id=token_id,
            brand=card.brand,
            masked=card.masked,
            exp_month=card.exp_month,
            exp_year=card.exp_year,
            holder_name=card.holder_name,
            # Of one owner: whoever could have any number fingerprinted would find the digits that a mask leaves out.
            fingerprint=keyed_hash(self._hash_key, f"card_fingerprint:{owner_id}", card.pan.encode()).hex()[:32],
            sealed_pan=self._sealer.seal(card.pan.encode(), card_purpose(owner_id, token_id)),
            challenges=three_d_secure(card.pan) is ThreeDSecure.REQUIRED,
        )

    def renewed(self, owner_id: str, card: StoredCard) -> StoredCard:
        """The card as it may be copied: sealed under the newest key, so that no copy escapes a rotation of keys."""
        try:
            sealed_pan = self._sealer.renewed(card.sealed_pan, card_purpose(owner_id, card.token_id))
        except CannotDecrypt:
            return card  # its payment waits for the key, like those that were made before the key was lost
        return card if sealed_pan == card.sealed_pan else replace(card, sealed_pan=sealed_pan)

    def open(self, owner_id: str, card: StoredCard) -> str:
        """The number, to be sent to the bank and nowhere else."""
        return self._sealer.open(card.sealed_pan, card_purpose(owner_id, card.token_id)).decode()


def card_purpose(owner_id: str, token_id: str) -> str:
    """What a card's number is sealed for."""
    return f"card:{owner_id}:{token_id}"
