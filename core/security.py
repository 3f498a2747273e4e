"""Passwords, and the opaque credentials (API keys, refresh tokens). Knows no database."""

import asyncio
import os
import secrets
import sys
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from passlib.hash import bcrypt_sha256

from core import ids
from core.errors import Unavailable

T = TypeVar("T")

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_LENGTH = 32  # base62: 190 bits
HASHING_NICENESS = 10  # sched(7): a tenth of the weight of 0
CHECKSUM_LENGTH = 6  # base62 holds a CRC-32 in six characters


class PasswordHasher:
    """bcrypt over SHA-256 (so that its 72 bytes cut nothing off), in threads of its own.

    One core is left to payments, and the queue is bounded: when it is full, `Unavailable` (503) is raised at once.
    """

    def __init__(self, cost: int, *, max_waiting: int = 64):
        self._scheme = bcrypt_sha256.using(rounds=cost)
        self._threads = ThreadPoolExecutor(
            max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="bcrypt", initializer=_give_way
        )
        self._max_waiting = max_waiting
        self._waiting = 0
        self._nobodys_hash = self._scheme.hash(secrets.token_urlsafe(16))

    async def hash(self, password: str) -> str:
        return await self._run(partial(self._scheme.hash, password))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password fits. Without a hash it takes as long and is False, so that an unknown e-mail
        address answers no sooner than a known one."""
        fits = await self._run(partial(self._scheme.verify, password, password_hash or self._nobodys_hash))
        return fits and password_hash is not None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: "partial[T]") -> T:
        if self._waiting >= self._max_waiting:
            raise Unavailable("Too many logins at once. Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


@dataclass(frozen=True, slots=True)
class Credential:
    """An opaque credential: a public id to find it by, and the whole text, of which only a keyed hash is kept."""

    id: str
    text: str


class CredentialKind:
    """Makes and reads credentials of one kind: prefix, id part, 32 random base62 characters, checksum.

    The checksum lets a mistyped or made-up one be refused without asking the database (and lets secret scanners
    recognise a real one); it is no protection.
    """

    def __init__(self, text_prefix: str, id_prefix: str):
        self._text_prefix = text_prefix
        self._id_prefix = id_prefix
        self._length = len(text_prefix) + ids.ENCODED_LENGTH + RANDOM_LENGTH + CHECKSUM_LENGTH

    def issue(self, credential_id: str | None = None) -> Credential:
        """A new credential; with an id, a new text for the same id (a rotated one)."""
        credential_id = credential_id or ids.fresh(self._id_prefix)
        random = "".join(secrets.choice(_BASE62) for _ in range(RANDOM_LENGTH))
        body = self._text_prefix + credential_id.removeprefix(f"{self._id_prefix}_") + random
        return Credential(credential_id, body + _checksum(body))

    def parse(self, text: str) -> Credential | None:
        """The credential, or None where prefix, length or checksum are wrong."""
        if len(text) != self._length or not text.startswith(self._text_prefix) or not text.isascii():
            return None
        body = text[:-CHECKSUM_LENGTH]
        if text[-CHECKSUM_LENGTH:] != _checksum(body):
            return None
        start = len(self._text_prefix)
        return Credential(f"{self._id_prefix}_{body[start : start + ids.ENCODED_LENGTH]}", text)


API_KEY = CredentialKind("psp_sk_", "key")
PAYMENT_KEY = CredentialKind("pk_", "pk")
REFRESH_TOKEN = CredentialKind("psp_rt_", "sess")


def new_webhook_secret() -> str:
    """`whsec_` and base64 of 32 random bytes: the form that Standard Webhooks libraries take."""
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode("ascii")


def _give_way() -> None:
    """Leaves nine tenths of a core that others want to them: hashing is long, and no payment should wait for it.
    Linux alone gives each thread a priority of its own."""
    if sys.platform == "linux":
        os.nice(HASHING_NICENESS)


def _checksum(body: str) -> str:
    number, characters = zlib.crc32(body.encode("ascii")), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, 62)
        characters = _BASE62[digit] + characters
    return characters
