"""The pages where 3-D Secure asks a cardholder: who has a page's address may answer, and nobody else knows it."""

import hmac

from core.crypto import keyed_hash
from core.errors import NotFound

_PURPOSE = "three_d_secure_challenge"


class Challenges:
    def __init__(self, hash_key: bytes):
        self._hash_key = hash_key

    def url(self, base_url: str, payment_id: str) -> str:
        """The page for this payment, under the address by which the client reached us."""
        return f"{base_url.rstrip('/')}/3ds/{payment_id}/{self._proof(payment_id)}"

    def require(self, payment_id: str, proof: str) -> None:
        """Raises NotFound for an address that we did not give out."""
        if not hmac.compare_digest(self._proof(payment_id).encode(), proof.encode("utf-8", "replace")):
            raise NotFound

    def _proof(self, payment_id: str) -> str:
        return keyed_hash(self._hash_key, _PURPOSE, payment_id.encode("utf-8", "replace")).hex()[:32]
