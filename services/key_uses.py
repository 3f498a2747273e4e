"""When each API key was last used: written down in batches and off the requests' way, or not at all."""

import asyncio
import logging
from datetime import datetime, timedelta

from core.database import DriverError
from domain.api_keys import ApiKey
from repositories.accounts import AccountRepository

_LOG = logging.getLogger(__name__)
PRECISION = timedelta(minutes=1)
"""A use is written down where none has been for so long: of a key's uses one a minute, in whichever process."""
_PAUSE_S = 1.0
"""What is used within it shares a write. A key that cannot be written down is tried again this often at most."""
_MOST_WAITING = 1000


class KeyUses:
    def __init__(self, accounts: AccountRepository):
        self._accounts = accounts
        self._waiting: dict[str, datetime] = {}
        self._writer: asyncio.Task[None] | None = None

    def note(self, key: ApiKey, now: datetime) -> None:
        """The key is used. Costs nothing where that was written down within a minute; never fails, never waits."""
        if key.last_used_at is not None and now - key.last_used_at < PRECISION:
            return
        if len(self._waiting) < _MOST_WAITING or key.id in self._waiting:
            self._waiting[key.id] = now
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_S)
            if not self._waiting:
                return
            used, self._waiting = self._waiting, {}
            try:
                await self._accounts.note_key_uses(used, PRECISION)
            except DriverError as error:
                _LOG.debug("the last use of %d API keys was not written down: %s", len(used), error)
