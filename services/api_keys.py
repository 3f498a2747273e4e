"""API keys: made once, shown once, found again by their id and a keyed hash."""

import hmac
from datetime import datetime

from core.crypto import keyed_hash
from core.errors import ApiKeyInvalid
from core.security import API_KEY
from domain.accounts import ApiKey
from repositories.accounts import AccountRepository
from services.caller import Caller

_PURPOSE = "api_key"


class ApiKeys:
    def __init__(self, accounts: AccountRepository, hash_key: bytes):
        self._accounts = accounts
        self._hash_key = hash_key

    def issue(self, name: str, now: datetime) -> tuple[ApiKey, str]:
        """A new key: what is kept of it, and the text that only its owner will ever see."""
        credential = API_KEY.issue()
        return ApiKey(credential.id, name, self._hash(credential.text), now), credential.text

    async def authenticate(self, text: str | None) -> Caller:
        """Whose key this is. Raises ApiKeyInvalid; a wrong checksum does so without asking the database."""
        credential = API_KEY.parse(text) if text else None
        if credential is None:
            raise ApiKeyInvalid
        found = await self._accounts.identify_key(credential.id)
        if found is None:
            raise ApiKeyInvalid
        identity, expected = found
        if not hmac.compare_digest(expected, self._hash(credential.text)):
            raise ApiKeyInvalid
        return Caller(identity.account_id, identity.role, api_key_id=credential.id)

    def _hash(self, text: str) -> bytes:
        return keyed_hash(self._hash_key, _PURPOSE, text.encode())
