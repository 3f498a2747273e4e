"""Sessions: logging in, rotating refresh tokens, and knowing at each request whether a token still counts."""

import asyncio
import hmac
from datetime import timedelta

from core import clock
from core.access_tokens import TokenSigner
from core.crypto import keyed_hash
from core.database import Database, Session
from core.errors import LoginFailed, NotFound, TokenInvalid
from core.security import REFRESH_TOKEN, Credential, PasswordHasher
from domain.accounts import Identity, fold_email
from domain.audit import Action, AuditOutcome
from domain.redaction import redact_text
from repositories.accounts import AccountRepository
from repositories.pages import CursorInvalid
from repositories.sessions import SessionRecord, SessionRepository
from schemas.common import PageQuery
from schemas.sessions import SessionOut, SessionPage
from schemas.users import TokenPair
from services.audit import Actor, Audit, Origin
from services.caller import Caller
from services.login_throttle import LoginThrottle
from services.validation import invalid

REFRESH_TOKEN_LIFETIME = timedelta(days=14)
_PURPOSE = "refresh_token"
_LONGEST_USER_AGENT = 200


class Sessions:
    def __init__(
        self,
        database: Database,
        accounts: AccountRepository,
        sessions: SessionRepository,
        hasher: PasswordHasher,
        throttle: LoginThrottle,
        signer: TokenSigner,
        audit: Audit,
        hash_key: bytes,
    ):
        self._database = database
        self._accounts = accounts
        self._sessions = sessions
        self._hasher = hasher
        self._throttle = throttle
        self._signer = signer
        self._audit = audit
        self._hash_key = hash_key

    async def log_in(self, email: str, password: str, origin: Origin, *, user_agent: str | None = None) -> TokenPair:
        """Open a session. Raises LoginFailed, as slowly for an unknown e-mail address as for a wrong password, and
        TooManyAttempts before it looks at either.

        The address and `user_agent` are for its owner, who may wonder one day whose session this is.
        """
        tried, address = fold_email(email), origin.address
        await self._throttle.admit(tried, address)
        account = await self._accounts.find_by_email(email)
        if not await self._hasher.verify(password, account.password_hash if account else None) or account is None:
            # An e-mail address that nobody has is not written down: it may be a password in the wrong field.
            target_id = account.id if account else None
            await self._audit.record(origin, Action.LOGGED_IN, target_id, outcome=AuditOutcome.FAILED)
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
                user_agent=redact_text(user_agent[:_LONGEST_USER_AGENT]) if user_agent else None,
            )
        )
        # Whoever dies in between leaves a session whose tokens nobody has.
        await self._audit.record(
            origin.of(Caller(account.id, account.role, refresh_token.id)), Action.LOGGED_IN, account.id
        )
        return self._pair(Identity(account.id, account.role, account.credentials_version), refresh_token)

    async def refresh(self, text: str, origin: Origin) -> TokenPair:
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
            await self._end_reused(session, origin)
            raise TokenInvalid
        return self._pair(identity, upcoming)

    async def log_out(self, actor: Actor) -> None:
        """End the caller's session: its tokens stop with this write."""
        assert actor.caller.session_id is not None
        await self._end(actor, actor.caller.session_id, Action.LOGGED_OUT)

    async def page(self, caller: Caller, query: PageQuery) -> SessionPage:
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

    async def end(self, actor: Actor, session_id: str) -> None:
        """End one of the caller's sessions: its tokens stop with this write. Raises NotFound."""
        if not await self._end(actor, session_id, Action.SESSION_ENDED):
            raise NotFound(f"Session '{session_id}' not found.")

    async def end_all(self, actor: Actor) -> None:
        """The caller's own among them."""
        account_id = actor.caller.account_id

        async def end(session: Session) -> None:
            await self._sessions.end_all(account_id, session)
            await self._audit.record(actor, Action.ALL_SESSIONS_ENDED, account_id, session=session)

        await self._database.in_transaction(end)

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

    async def _end(self, actor: Actor, session_id: str, action: Action) -> bool:
        async def end(session: Session) -> bool:
            ended = await self._sessions.end(actor.caller.account_id, session_id, session)
            if ended:
                await self._audit.record(actor, action, session_id, session=session)
            return ended

        return await self._database.in_transaction(end)

    async def _end_reused(self, reused: SessionRecord, origin: Origin) -> None:
        """Written down once: of a session that has ended, every token is just a wrong one."""

        async def end(session: Session) -> None:
            if await self._sessions.end(reused.owner_id, reused.id, session):
                await self._audit.record(
                    origin,
                    Action.REFRESH_TOKEN_REUSED,
                    reused.owner_id,
                    outcome=AuditOutcome.DENIED,
                    session_id=reused.id,
                    session=session,
                )

        await self._database.in_transaction(end)

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
