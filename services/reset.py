"""Emptying the database of a server that teams test against, between two suites say."""

import asyncio
import time

from bank import books
from core.database import Database
from core.errors import Forbidden, WrongDatabase
from domain.audit import Action
from repositories import indexes, leases, outbox
from repositories.accounts import SYSTEM_ADMINS
from repositories.payments import ASKED
from repositories.sessions import SessionRepository
from services import processing, resend_jobs
from services.audit import Audit, Origin

KEPT = frozenset({"keyring", "guards", "audit", "audit_head", "heartbeats"})
"""The key that hashes are made with, without which no session and no signature would go on; the audit log; and workers'
signs of life."""
_SOURCES = ("payments", "customers", "webhook_endpoints", "resend_jobs")
"""Of whose documents workers, and the bank, make those of other collections."""
_IN_HAND = {"$or": [leases.HELD, outbox.WAITING, ASKED]}
PATIENCE_S = max(processing.LEASE_S, resend_jobs.LEASE_S)
"""Nobody holds one of those for longer; but where no worker runs, or no bank answers, something is in hand for ever."""
_LOOK_EVERY_S = 0.05


class Reset:
    def __init__(self, database: Database, sessions: SessionRepository, audit: Audit, *, production: bool):
        self._database = database
        self._sessions = sessions
        self._audit = audit
        self._production = production

    async def reset(self, who: Origin, database_name: str) -> int:
        """Delete everything but the system_admins, with their sessions, and the audit log; how many documents.

        `database_name` says which database is meant. Raises WrongDatabase, and Forbidden in production. Servers and
        workers go on: each document goes by itself, and no index.
        """
        if self._production:
            raise Forbidden("Access denied. A server in production is never reset.")
        if database_name != self._database.name:
            raise WrongDatabase
        await self._audit.record(who, Action.DATA_RESET, None)
        # Accounts first, so that nobody begins anything new; and what is made of others after those.
        deleted = await self._database.empty("users", SYSTEM_ADMINS) + await self._delete_sources()
        names = (indexes.INDEXES.keys() | books.INDEXES.keys()) - KEPT - {"sessions"}
        for name in sorted(names, key=lambda name: (name != "users", name not in _SOURCES, name)):
            deleted += await self._database.empty(name, SYSTEM_ADMINS if name == "users" else None)
        return deleted + await self._sessions.delete_ownerless()

    async def _delete_sources(self) -> int:
        """Each once nobody has it in hand, so that nobody writes anything of it afterwards."""
        deleted = await self._delete_idle()
        deadline_s = time.monotonic() + PATIENCE_S
        while await self._database.holds_any(_SOURCES) and time.monotonic() < deadline_s:
            await asyncio.sleep(_LOOK_EVERY_S)
            deleted += await self._delete_idle()
        return deleted

    async def _delete_idle(self) -> int:
        return sum([await self._database.empty(name, _IN_HAND) for name in _SOURCES])
