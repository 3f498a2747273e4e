"""Accounts, in `users`. An account and its API keys are one document, so what acts for it changes with it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from core.coalesce import Coalescer
from core.database import Database, Document, DuplicateKey, Session, UpdateOne
from domain.accounts import Account, Identity, SigningAccount, fold_email
from domain.api_keys import ALL_SCOPES, ApiKey, Scope
from domain.roles import Role
from repositories.pages import Page, Sort, read_page

SYSTEM_ADMINS: Document = {"role": Role.SYSTEM_ADMIN.value, "deleted": False}
_IDENTITY = {"role": 1, "credentials_version": 1}
_IDENTITY_AND_KEYS = {**_IDENTITY, "api_keys": 1}
_SIGNING = {"webhook_secret": 1, "previous_webhook_secret_ends_at": 1}


class EmailInUse(Exception):
    """Another account that is not deleted has this e-mail address."""


class AccountRepository:
    def __init__(self, database: Database):
        self._users = database["users"]
        self._guards = database["guards"]
        self._identities = Coalescer(self._read_identities)
        self._by_key = Coalescer(self._read_by_key)

    async def insert(self, account: Account, session: Session) -> None:
        """Raises EmailInUse."""
        try:
            await self._users.insert_one(_to_document(account), session=session)
        except DuplicateKey:
            raise EmailInUse from None

    async def get(self, account_id: str, session: Session | None = None) -> Account | None:
        """The account, unless it is deleted."""
        document = await self._users.find_one({"_id": account_id, "deleted": False}, session=session)
        return _from_document(document) if document else None

    async def created_at(self, account_ids: Sequence[str]) -> dict[str, datetime]:
        """When those of them that exist were made, the deleted ones included."""
        rows = self._users.find({"_id": {"$in": list(account_ids)}}, {"created_at": 1})
        return {row["_id"]: row["created_at"] async for row in rows}

    async def find_by_email(self, email: str) -> Account | None:
        document = await self._users.find_one({"email_folded": fold_email(email), "deleted": False})
        return _from_document(document) if document else None

    async def identify(self, account_id: str) -> Identity | None:
        """What a request needs of an account, unless it is deleted. Shares its round trip with others."""
        return await self._identities(account_id)

    async def identify_key(self, key_id: str) -> tuple[Identity, ApiKey] | None:
        """The key and whose it is, unless its account is deleted. Shares its round trip with others."""
        return await self._by_key(key_id)

    async def save_keys(self, account_id: str, keys: Sequence[ApiKey], now: datetime, session: Session) -> None:
        """Exchange the keys of an account that was read in the same transaction, which a rival makes begin anew."""
        changed = {"api_keys": [_key_to_document(key) for key in keys], "updated_at": now}
        await self._users.update_one({"_id": account_id}, {"$set": changed}, session=session)

    async def note_key_uses(self, used: Mapping[str, datetime], precision: timedelta) -> None:
        """Write down when keys were last used, but for those of which a use so close before is written down already."""
        writes = [
            UpdateOne(
                {"api_keys": {"$elemMatch": {"id": key_id, "last_used_at": {"$not": {"$gt": at - precision}}}}},
                {"$set": {"api_keys.$.last_used_at": at}},
            )
            for key_id, at in used.items()
        ]
        await self._users.bulk_write(writes, ordered=False)

    async def signing(self, account_ids: Sequence[str], session: Session | None = None) -> list[SigningAccount]:
        """Deleted accounts included: what was still to be told on their behalf is told."""
        wanted = {"_id": {"$in": list(account_ids)}}
        rows = await self._users.find(wanted, _SIGNING, session=session).to_list(None)
        # An account whose secret was never rotated has no time at which one ends.
        return [
            SigningAccount(row["_id"], bytes(row["webhook_secret"]), row.get("previous_webhook_secret_ends_at"))
            for row in rows
        ]

    async def save_secrets(
        self, before: SigningAccount, after: SigningAccount, now: datetime, session: Session | None = None
    ) -> bool:
        """Exchange the webhook secrets on condition that they are still those that were read, in an account that is not
        deleted. False where they are not."""
        result = await self._users.update_one(
            {"_id": before.id, "deleted": False, "webhook_secret": before.sealed_secrets},
            {
                "$set": {
                    "webhook_secret": after.sealed_secrets,
                    "previous_webhook_secret_ends_at": after.previous_secret_ends_at,
                    "updated_at": now,
                }
            },
            session=session,
        )
        return bool(result.matched_count)

    async def page(self, *, role: Role | None, email: str | None, limit: int, cursor: str | None) -> Page[Account]:
        wanted: Document = {"deleted": False}
        if role is not None:
            wanted["role"] = role.value
        if email is not None:
            wanted["email_folded"] = fold_email(email)
        newest_first = Sort("created_at", descending=True)
        return await read_page(self._users, wanted, newest_first, limit=limit, cursor=cursor, build=_from_document)

    async def count_by_role(self) -> dict[str, int]:
        counts = {role.value: 0 for role in Role}
        for role in Role:
            counts[role.value] = await self._users.count_documents({"role": role.value, "deleted": False})
        return counts

    async def has_system_admin(self) -> bool:
        return await self._users.find_one(SYSTEM_ADMINS, {"_id": 1}) is not None

    async def set_role(self, account_id: str, expected: Role, role: Role, now: datetime, session: Session) -> bool:
        """Change a role on condition that it is still the expected one. False where it is not."""
        result = await self._users.update_one(
            {"_id": account_id, "deleted": False, "role": expected.value},
            {"$set": {"role": role.value, "updated_at": now}},
            session=session,
        )
        return bool(result.matched_count)

    async def set_password(self, account: Account, password_hash: str, now: datetime, session: Session) -> bool:
        """Change the password on condition that nobody else did since the account was read. Sessions that were opened
        before end with this write."""
        result = await self._users.update_one(
            {"_id": account.id, "deleted": False, "credentials_version": account.credentials_version},
            {"$set": {"password_hash": password_hash, "updated_at": now}, "$inc": {"credentials_version": 1}},
            session=session,
        )
        return bool(result.matched_count)

    async def delete(self, account_id: str, expected: Role, now: datetime, session: Session) -> bool:
        """Delete on condition that the role is still the expected one. Its keys and tokens stop with this write."""
        result = await self._users.update_one(
            {"_id": account_id, "deleted": False, "role": expected.value},
            {"$set": {"deleted": True, "updated_at": now}},
            session=session,
        )
        return bool(result.matched_count)

    async def guard_system_admins(self, session: Session) -> list[str]:
        """The ids of all system_admins, inside a transaction that no rival can be in at the same time.

        Both rivals write the guard document; the second one's transaction is started again and reads what the first
        has left. Counting without it left no system_admin at all when two removed each other.
        """
        await self._guards.update_one({"_id": "system_admins"}, {"$inc": {"writes": 1}}, upsert=True, session=session)
        rows = self._users.find(SYSTEM_ADMINS, {"_id": 1}, session=session)
        return [row["_id"] async for row in rows]

    async def _read_identities(self, account_ids: list[str]) -> list[Identity | None]:
        rows = self._users.find({"_id": {"$in": list(set(account_ids))}, "deleted": False}, _IDENTITY)
        found = {row["_id"]: _identity(row) for row in await rows.to_list(None)}
        return [found.get(account_id) for account_id in account_ids]

    async def _read_by_key(self, key_ids: list[str]) -> list[tuple[Identity, ApiKey] | None]:
        wanted = set(key_ids)
        rows = self._users.find({"api_keys.id": {"$in": list(wanted)}, "deleted": False}, _IDENTITY_AND_KEYS)
        found = {
            key["id"]: (_identity(row), _key_from_document(key))
            for row in await rows.to_list(None)
            for key in row["api_keys"]
            if key["id"] in wanted
        }
        return [found.get(key_id) for key_id in key_ids]


def _identity(row: Document) -> Identity:
    return Identity(row["_id"], Role(row["role"]), row["credentials_version"])


def _to_document(account: Account) -> Document:
    return {
        "_id": account.id,
        "name": account.name,
        "email": account.email,
        "email_folded": fold_email(account.email),
        "role": account.role.value,
        "password_hash": account.password_hash,
        "credentials_version": account.credentials_version,
        "webhook_secret": account.sealed_webhook_secret,
        "api_keys": [_key_to_document(key) for key in account.api_keys],
        "created_at": account.created_at,
        "updated_at": account.updated_at,
        "deleted": account.deleted,
    }


def _from_document(row: Document) -> Account:
    return Account(
        id=row["_id"],
        name=row["name"],
        email=row["email"],
        role=Role(row["role"]),
        password_hash=row["password_hash"],
        credentials_version=row["credentials_version"],
        sealed_webhook_secret=bytes(row["webhook_secret"]),
        api_keys=tuple(_key_from_document(key) for key in row["api_keys"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deleted=row["deleted"],
    )


def _key_to_document(key: ApiKey) -> Document:
    """Without what a key does not have: most have neither end nor networks. No scopes are all scopes, those that a
    later version adds included."""
    document: Document = {"id": key.id, "name": key.name, "hash": key.hash, "created_at": key.created_at}
    if key.scopes != ALL_SCOPES:
        document["scopes"] = sorted(key.scopes)
    if key.allowed_networks:
        document["allowed_networks"] = list(key.allowed_networks)
    for name in ("expires_at", "last_used_at", "previous_hash", "previous_ends_at"):
        if (value := getattr(key, name)) is not None:
            document[name] = value
    return document


def _key_from_document(row: Document) -> ApiKey:
    previous_hash = row.get("previous_hash")
    return ApiKey(
        id=row["id"],
        name=row["name"],
        hash=bytes(row["hash"]),
        created_at=row["created_at"],
        # A scope that this version does not know opens nothing here.
        scopes=frozenset(scope for scope in Scope if scope in row["scopes"]) if "scopes" in row else ALL_SCOPES,
        expires_at=row.get("expires_at"),
        allowed_networks=tuple(row.get("allowed_networks", ())),
        last_used_at=row.get("last_used_at"),
        previous_hash=None if previous_hash is None else bytes(previous_hash),
        previous_ends_at=row.get("previous_ends_at"),
    )
