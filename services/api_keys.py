"""API keys: made, shown once, found again by their id and a keyed hash, rotated and revoked."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter

from core import clock
from core.crypto import keyed_hash
from core.database import Database, Session
from core.errors import ApiKeyInvalid, Contention, Forbidden, NotFound, TooManyApiKeys
from core.ids import is_id
from core.security import API_KEY
from domain.api_keys import MOST_KEYS, ApiKey
from domain.audit import Action, State
from domain.roles import MERCHANTS, denial
from repositories.accounts import AccountRepository
from schemas.api_keys import ApiKeyMade, ApiKeyPage, ApiKeyRequest, api_key_out
from schemas.common import PageQuery
from services.audit import Actor, Audit
from services.caller import Caller, CallerRefused
from services.key_uses import KeyUses
from services.validation import invalid

_PURPOSE = "api_key"

Keys = tuple[ApiKey, ...]


class ApiKeys:
    def __init__(self, database: Database, accounts: AccountRepository, uses: KeyUses, audit: Audit, hash_key: bytes):
        self._database = database
        self._accounts = accounts
        self._uses = uses
        self._audit = audit
        self._hash_key = hash_key

    def issue(self, name: str, now: datetime) -> tuple[ApiKey, str]:
        """A new key with all scopes: what is kept of it, and the text that only its owner will ever see."""
        credential = API_KEY.issue()
        return ApiKey(credential.id, name, self._hash(credential.text), now), credential.text

    async def authenticate(self, text: str | None, address: str | None) -> Caller:
        """Whose key this is, and what it opens. Raises ApiKeyInvalid; a wrong checksum does so without asking the
        database. Raises CallerRefused where the key may not be used from this address."""
        credential = API_KEY.parse(text) if text else None
        if credential is None:
            raise ApiKeyInvalid
        found = await self._accounts.identify_key(credential.id)
        if found is None:
            raise ApiKeyInvalid
        (identity, key), now = found, clock.now()
        if not self._fits(key, credential.text, now) or key.ended(now):
            raise ApiKeyInvalid
        caller = Caller(identity.account_id, identity.role, api_key_id=key.id, scopes=key.scopes)
        if not key.opens_from(address):
            raise CallerRefused("Access denied. The API key may not be used from this address.", caller)
        self._uses.note(key, now)
        return caller

    async def page(self, caller: Caller, query: PageQuery) -> ApiKeyPage:
        """One's own keys, newest first, as their ids are. Raises InvalidRequest."""
        after = query.cursor
        if after is not None and not is_id(after):
            raise invalid(("query", "cursor"), "The cursor is not one that this list gave out", after)
        account, now = await self._accounts.get(caller.account_id), clock.now()
        keys = () if account is None else account.api_keys
        wanted = sorted((key for key in keys if after is None or key.id < after), key=attrgetter("id"), reverse=True)
        shown, more = wanted[: query.limit], len(wanted) > query.limit
        return ApiKeyPage(
            api_keys=[api_key_out(key, now) for key in shown],
            total_api_keys=len(keys),
            has_more=more,
            next_cursor=shown[-1].id if more else None,
        )

    async def make(self, actor: Actor, request: ApiKeyRequest) -> ApiKeyMade:
        """A new key, whose text only this answer holds. A user has one at most. Raises Forbidden, TooManyApiKeys,
        Contention."""
        now = clock.now()
        issued, text = self.issue(request.name, now)
        key = replace(
            issued,
            scopes=frozenset(request.scopes),
            expires_at=None if request.expires_in is None else now + timedelta(seconds=request.expires_in),
            allowed_networks=tuple(dict.fromkeys(request.allowed_networks or ())),
        )

        def added(keys: Keys) -> Keys:
            _refuse_to_gain(actor.caller, keys, key)
            if keys and actor.caller.role not in MERCHANTS:
                raise Forbidden(denial(MERCHANTS))
            if len(keys) >= MOST_KEYS:
                raise TooManyApiKeys
            return (*keys, key)

        async def make(session: Session) -> None:
            await self._change(actor.caller, added, session)
            await self._audit.record(actor, Action.API_KEY_MADE, key.id, after=_state(key), session=session)

        await self._database.in_transaction(make)
        return _made(key, text, now)

    async def rotate(self, actor: Actor, key_id: str, *, overlap_hours: int) -> ApiKeyMade:
        """A new text for the same key, which only this answer holds. The text so far counts as well until the overlap
        ends, and one before that no longer. Raises NotFound, Forbidden, Contention."""
        now = clock.now()
        ends_at = now + timedelta(hours=overlap_hours) if overlap_hours else None

        async def rotate(session: Session) -> ApiKeyMade:
            text = ""

            def rotated(keys: Keys) -> Keys:
                nonlocal text
                before = _find(actor.caller, keys, key_id)
                # Not before it is found: a text is made of its id, and what a client sends as one may be anything.
                text = API_KEY.issue(before.id).text
                after = replace(
                    before,
                    hash=self._hash(text),
                    previous_hash=before.hash if ends_at else None,
                    previous_ends_at=ends_at,
                )
                return tuple(after if key.id == key_id else key for key in keys)

            before, after = await self._change(actor.caller, rotated, session)
            (old,), (new,) = ([key for key in keys if key.id == key_id] for keys in (before, after))
            await self._audit.record(
                actor,
                Action.API_KEY_ROTATED,
                key_id,
                before={"previous_ends_at": old.previous_ends_at},
                after={"previous_ends_at": new.previous_ends_at},
                session=session,
            )
            return _made(new, text, now)

        return await self._database.in_transaction(rotate)

    async def revoke(self, actor: Actor, key_id: str) -> None:
        """The key opens nothing from this write on, in any process. Raises NotFound, Forbidden, Contention."""

        async def revoke(session: Session) -> None:
            def remaining(keys: Keys) -> Keys:
                revoked = _find(actor.caller, keys, key_id)
                return tuple(key for key in keys if key is not revoked)

            before, _ = await self._change(actor.caller, remaining, session)
            (revoked,) = (key for key in before if key.id == key_id)
            await self._audit.record(actor, Action.API_KEY_REVOKED, key_id, before=_state(revoked), session=session)

        await self._database.in_transaction(revoke)

    async def _change(self, caller: Caller, change: Callable[[Keys], Keys], session: Session) -> tuple[Keys, Keys]:
        """The keys before and after. Whatever changes them meanwhile makes the transaction begin again."""
        account = await self._accounts.get(caller.account_id, session)
        if account is None:
            raise Contention
        after = change(account.api_keys)
        await self._accounts.save_keys(account.id, after, clock.now(), session)
        return account.api_keys, after

    def _fits(self, key: ApiKey, text: str, now: datetime) -> bool:
        shown = self._hash(text)
        if hmac.compare_digest(key.hash, shown):
            return True
        return key.previous_hash is not None and key.overlaps(now) and hmac.compare_digest(key.previous_hash, shown)

    def _hash(self, text: str) -> bytes:
        return keyed_hash(self._hash_key, _PURPOSE, text.encode())


def _find(caller: Caller, keys: Keys, key_id: str) -> ApiKey:
    for key in keys:
        if key.id == key_id:
            _refuse_to_gain(caller, keys, key)
            return key
    raise NotFound(f"API key '{key_id}' not found.")


def _refuse_to_gain(caller: Caller, keys: Keys, key: ApiKey) -> None:
    """Whoever shows a key gets at no other one that can do more."""
    if caller.api_key_id is None:
        return
    shown = next((one for one in keys if one.id == caller.api_key_id), None)
    if shown is None:
        raise ApiKeyInvalid  # revoked a moment ago
    if not shown.covers(key):
        raise Forbidden("Access denied. An API key makes, rotates and revokes keys that can do no more than itself.")


def _state(key: ApiKey) -> State:
    return {
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "expires_at": key.expires_at,
        "allowed_networks": " ".join(key.allowed_networks) or None,
    }


def _made(key: ApiKey, text: str, now: datetime) -> ApiKeyMade:
    return ApiKeyMade(**api_key_out(key, now).model_dump(), api_key=text)
