"""Slowing down whoever guesses passwords: before any hashing, and never a lockout for good."""

import math
from datetime import timedelta

from core import clock
from core.crypto import keyed_hash
from core.errors import TooManyAttempts
from domain.addresses import place_of
from repositories.login_attempts import LoginAttemptRepository, Patience

_QUARTER = timedelta(minutes=15)
OF_PAIR = Patience(attempts=5, window=_QUARTER, longest_wait=_QUARTER)
"""Of one account from one address: after the fifth failure in a quarter of an hour, 1 s, 2 s, 4 s … to a quarter."""
OF_ADDRESS = Patience(attempts=100, window=_QUARTER, longest_wait=_QUARTER)
"""Of one address, whatever the account: many people may share it."""
_PURPOSE = "login_attempt"


class LoginThrottle:
    """Attempts are counted by account and address together, so that nobody can keep the owner out from elsewhere; and
    by address alone, so that trying one password at many accounts is slow as well. Of IPv6 a customer has a network
    full of addresses, which count as one."""

    def __init__(self, attempts: LoginAttemptRepository, hash_key: bytes, *, on: bool):
        self._attempts = attempts
        self._hash_key = hash_key
        self._on = on

    async def admit(self, account: str, address: str | None) -> None:
        """Count an attempt as failed, until succeeded() says otherwise. Raises TooManyAttempts instead of counting.

        `account` is whatever names it: what nobody has registered is counted like any other.
        """
        if not self._on:
            return
        now = clock.now()
        for source, patience in ((self._pair(account, address), OF_PAIR), (self._address(address), OF_ADDRESS)):
            waits_until = await self._attempts.begin(source, patience, now)
            if waits_until is not None:
                wait_s = math.ceil((waits_until - now).total_seconds())
                raise TooManyAttempts(headers={"Retry-After": str(max(wait_s, 1))})

    async def succeeded(self, account: str, address: str | None) -> None:
        if not self._on:
            return
        await self._attempts.forget(self._pair(account, address))
        await self._attempts.take_back(self._address(address))

    def _pair(self, account: str, address: str | None) -> bytes:
        return self._hash(f"pair {place_of(address)} {account}")

    def _address(self, address: str | None) -> bytes:
        return self._hash(f"address {place_of(address)}")

    def _hash(self, source: str) -> bytes:
        # Who tried to log in as whom, and from where, is nobody's to read.
        return keyed_hash(self._hash_key, _PURPOSE, source.encode("utf-8", "surrogatepass"))
