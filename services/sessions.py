"""Sessions: logging in, rotating refresh tokens, and knowing at each request whether a token still counts."""

import asyncio
import hmac
from datetime import timedelta

from core import clock
from core.access_tokens import TokenSigner
from core.crypto import keyed_hash
from core.errors import LoginFailed, NotFound, TokenInvalid
from core.security import REFRESH_TOKEN, Credential, PasswordHasher
from domain.accounts import Identity, fold_email
from repositories.accounts import AccountRepository
from repositories.pages import CursorInvalid
from repositories.sessions import SessionRecord, SessionRepository
from schemas.sessions import SessionOut, SessionPage, SessionQuery
from schemas.users import TokenPair
from services.caller import Caller
from services.login_throttle import LoginThrottle
from services.validation import invalid

REFRESH_TOKEN_LIFETIME = timedelta(days=14)
_PURPOSE = "refresh_token"
_LONGEST_USER_AGENT = 200


class Sessions:
    def __init__(
        self,
        accounts: AccountRepository,
        sessions: SessionRepository,
        hasher: PasswordHasher,
        throttle: LoginThrottle,
        signer: TokenSigner,
        hash_key: bytes,
    ):
        self._accounts = accounts
        self._sessions = sessions
        self._hasher = hasher
        self._throttle = throttle
        self._signer = signer
        self._hash_key = hash_key

    async def log_in(
        self, email: str, password: str, *, address: str | None = None, user_agent: str | None = None
    ) -> TokenPair:
        """Open a session. Raises LoginFailed, as slowly for an unknown e-mail address as for a wrong password, and
        TooManyAttempts before it looks at either.

        `address` and `user_agent` are for its owner, who may wonder one day whose session this is.
        """
        tried = fold_email(email)
        await self._throttle.admit(tried, address)
        account = await self._accounts.find_by_email(email)
        if not await self._hasher.verify(password, account.password_hash if account else None) or account is None:
            raise LoginFailed
        await self._throttle.succeeded(tried, address)
        now = clock.now()
        refresh_token = REFRESH_TOKEN.issue()
        await self._sessions.insert(
            SessionRecord(
                id=refresh_token.id,
                owner_id=account.id,
                refresh_hash=self._hash(refresh_token),
                # Of the account whose password was just checked: if it has changed since, the session is stillborn.
                credentials_version=account.credentials_version,
                created_at=now,
                last_used_at=now,
                expires_at=now + REFRESH_TOKEN_LIFETIME,
                address=address,
                user_agent=user_agent[:_LONGEST_USER_AGENT] if user_agent else None,
            )
        )
        return self._pair(Identity(account.id, account.role, account.credentials_version), refresh_token)

    async def refresh(self, text: str) -> TokenPair:
        """A new pair for a refresh token, which works once. Raises TokenInvalid.

        A token of a session that is not its current one has been used before: somebody else holds a copy, and the
        whole session ends (RFC 9700, section 4.14.2).
        """
        used, now = REFRESH_TOKEN.parse(text), clock.now()
        if used is None:
            raise TokenInvalid
        session = await self._sessions.get(used.id)
        if session is None or session.ended or session.expires_at <= now:
            raise TokenInvalid
        identity = await self._accounts.identify(session.owner_id)
        if identity is None or identity.credentials_version != session.credentials_version:
            raise TokenInvalid
        upcoming = REFRESH_TOKEN.issue(session.id)
        current = hmac.compare_digest(session.refresh_hash, self._hash(used))
        if not current or not await self._sessions.rotate(
            session.id, self._hash(used), self._hash(upcoming), now, now + REFRESH_TOKEN_LIFETIME
        ):
            await self._sessions.end(session.id)
            raise TokenInvalid
        return self._pair(identity, upcoming)

    async def log_out(self, caller: Caller) -> None:
        """End the caller's session: its tokens stop with this write."""
        assert caller.session_id is not None
        await self._sessions.end(caller.session_id)

    async def page(self, caller: Caller, query: SessionQuery) -> SessionPage:
        """The caller's sessions that live."""
        identity = await self._accounts.identify(caller.account_id)
        if identity is None:
            raise TokenInvalid  # deleted a moment ago
        try:
            page = await self._sessions.page(
                caller.account_id, identity.credentials_version, limit=query.limit, cursor=query.cursor
            )
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        return SessionPage(
            sessions=[_shown(one, caller) for one in page.items],
            total_sessions=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def end(self, caller: Caller, session_id: str) -> None:
        """End one of the caller's sessions: its tokens stop with this write. Raises NotFound."""
        if not await self._sessions.end_of(caller.account_id, session_id):
            raise NotFound(f"Session '{session_id}' not found.")

    async def end_all(self, caller: Caller) -> None:
        """The caller's own among them."""
        await self._sessions.end_all(caller.account_id)

    async def authenticate(self, token: str) -> Caller:
        """Who an access token speaks for. Raises TokenInvalid.

        The role is the account's at this moment, and a session that ended, an account that was deleted, or a password
        that changed since, make the token worthless at once.
        """
        claims = self._signer.verify(token)
        session, identity = await asyncio.gather(
            self._sessions.get(claims.session_id), self._accounts.identify(claims.account_id)
        )
        if session is None or session.ended or session.owner_id != claims.account_id:
            raise TokenInvalid
        if identity is None or identity.credentials_version != session.credentials_version:
            raise TokenInvalid
        return Caller(identity.account_id, identity.role, session.id)

    def _pair(self, identity: Identity, refresh_token: Credential) -> TokenPair:
        return TokenPair(
            access_token=self._signer.issue(identity.account_id, refresh_token.id, clock.now()),
            expires_in=int(self._signer.lifetime.total_seconds()),
            refresh_token=refresh_token.text,
            user_id=identity.account_id,
            role=identity.role,
        )

    def _hash(self, credential: Credential) -> bytes:
        return keyed_hash(self._hash_key, _PURPOSE, credential.text.encode())


def _shown(one: SessionRecord, caller: Caller) -> SessionOut:
    return SessionOut(
        id=one.id,
        current=one.id == caller.session_id,
        address=one.address,
        user_agent=one.user_agent,
        created_at=one.created_at,
        last_used_at=one.last_used_at,
        expires_at=one.expires_at,
    )
