"""Encryption at rest and keyed hashes. Keys come from the settings and from the keyring in the database."""

import hmac
import secrets
from base64 import b64decode
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D, section 5.2.1.1


class CannotDecrypt(Exception):
    """No key at hand opens this: it was written under another ENCRYPTION_KEY, or changed since."""


class Sealer:
    """Seals small secrets with AES-256-GCM.

    A sealed value is the first four bytes of its key's SHA-256 (so that keys can be rotated), a random nonce, and
    the ciphertext with its tag. The purpose is bound in as associated data: a value sealed for one owner or field
    does not open as another's.
    """

    def __init__(self, keys: list[bytes]):
        if not keys:
            raise ValueError("at least one key is needed")
        self._newest = _key_id(keys[0])
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}

    def seal(self, plain: bytes, purpose: str) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return self._newest + nonce + self._ciphers[self._newest].encrypt(nonce, plain, purpose.encode())

    def renewed(self, sealed: bytes, purpose: str) -> bytes:
        """The same under the newest key: the value itself where it is. Raises CannotDecrypt."""
        if sealed[:4] == self._newest:
            return sealed
        return self.seal(self.open(sealed, purpose), purpose)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises CannotDecrypt."""
        cipher = self._ciphers.get(sealed[:4])
        if cipher is None:
            raise CannotDecrypt("sealed under a key that is not in ENCRYPTION_KEY")
        try:
            return cipher.decrypt(sealed[4 : 4 + NONCE_BYTES], sealed[4 + NONCE_BYTES :], purpose.encode())
        except InvalidTag:
            raise CannotDecrypt("the sealed value was changed, or sealed for another purpose") from None


def keyed_hash(key: bytes, purpose: str, value: bytes) -> bytes:
    """HMAC-SHA256 of a value for one purpose: equal values under two purposes give unrelated hashes."""
    return hmac.digest(key, purpose.encode() + b"\0" + value, sha256)


def parse_key(encoded: str) -> bytes:
    """Base64 of exactly 32 bytes. Raises ValueError otherwise."""
    key = b64decode(encoded, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key is base64 of {KEY_BYTES} bytes, this one has {len(key)}")
    return key


def _key_id(key: bytes) -> bytes:
    return sha256(key).digest()[:4]
