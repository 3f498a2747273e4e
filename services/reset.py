"""Emptying the database of a server that teams test against, between two suites say."""

from bank import books
from core.database import Database
from core.errors import Forbidden, WrongDatabase
from domain.audit import Action
from repositories import indexes
from repositories.accounts import AccountRepository
from services.audit import Audit, Origin

KEPT = frozenset({"keyring", "guards", "audit", "audit_head", "heartbeats"})
"""The key that hashes are made with, without which no session and no signature would go on; the audit log; and workers'
signs of life."""
_SOURCES = ("payments", "customers", "webhook_endpoints")
_PASSES = 2
"""What a worker has in hand while its source goes may be written after the first one."""


class Reset:
    def __init__(self, database: Database, accounts: AccountRepository, audit: Audit, *, production: bool):
        self._database = database
        self._accounts = accounts
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
        admins = await self._accounts.system_admins()
        names = (indexes.INDEXES.keys() | books.INDEXES.keys()) - KEPT
        # Sources first: what is derived from them (events, deliveries, refunds in lists) is made by workers.
        ordered = sorted(names, key=lambda name: (name not in _SOURCES, name))
        kept = {"users": {"_id": {"$in": admins}}, "sessions": {"owner_id": {"$in": admins}}}
        return sum([await self._database.empty(name, kept.get(name)) for _ in range(_PASSES) for name in ordered])
