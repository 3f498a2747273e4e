"""Accounts: registering, reading, changing roles, deleting, and the first system_admin."""

import secrets
from dataclasses import dataclass

from core import clock, ids
from core.common_passwords import is_common
from core.database import Database, Session
from core.errors import (
    BadRequest,
    Contention,
    EmailTaken,
    Forbidden,
    LastSystemAdmin,
    NotFound,
    TokenInvalid,
    WrongPassword,
)
from core.security import PasswordHasher, new_webhook_secret
from domain.accounts import Account, SigningAccount, fold_email
from domain.api_keys import ApiKey
from domain.audit import Action
from domain.roles import Role, may_delete
from repositories.accounts import AccountRepository, EmailInUse
from repositories.pages import CursorInvalid, Page
from schemas.users import (
    ApiKeySummary,
    Registered,
    RegisterRequest,
    RoleChanged,
    UserOut,
    UserPage,
    UserQuery,
    WebhookSecretRotated,
)
from services.api_keys import ApiKeys
from services.audit import COMMAND_LINE, Actor, Audit, Origin
from services.caller import Caller
from services.login_throttle import LoginThrottle
from services.validation import invalid
from services.webhook_secrets import AccountSecrets

_TRIES = 5
_ONLY_ADMINS = "Access denied. Only system_admin/admin can delete users."
_ONLY_SYSTEM_ADMIN = "Only system_admin can change user roles."


@dataclass(frozen=True, slots=True)
class MadeAdmin:
    """A system_admin that was just made; the password is known to nobody else."""

    email: str
    password: str


class Accounts:
    def __init__(
        self,
        database: Database,
        accounts: AccountRepository,
        api_keys: ApiKeys,
        hasher: PasswordHasher,
        throttle: LoginThrottle,
        webhook_secrets: AccountSecrets,
        audit: Audit,
        *,
        refuses_common_passwords: bool,
    ):
        self._database = database
        self._accounts = accounts
        self._api_keys = api_keys
        self._hasher = hasher
        self._throttle = throttle
        self._webhook_secrets = webhook_secrets
        self._audit = audit
        self._refuses_common_passwords = refuses_common_passwords

    async def register(self, request: RegisterRequest, origin: Origin) -> Registered:
        """Make an account with its first API key and its webhook secret, all in one write. Raises EmailTaken, and
        InvalidRequest for a common password where those are refused."""
        self._refuse_common("password", request.password)
        # Asked before the costly hash; the unique index decides the race of two that register at once.
        if await self._accounts.find_by_email(request.email):
            raise EmailTaken
        key, key_text = self._api_keys.issue("default", clock.now())
        account, webhook_secret = await self._insert(
            request.name, request.email, request.password, Role(request.role), (key,), origin
        )
        return Registered(
            user_id=account.id,
            api_key=key_text,
            webhook_secret=webhook_secret,
            role=account.role,
            created_at=account.created_at,
        )

    async def get(self, account_id: str) -> UserOut:
        return _view(await self._find(account_id, f"User '{account_id}' not found."))

    async def look_up(self, actor: Actor, account_id: str) -> UserOut:
        """Any account, for an admin. That another's was read is in the audit log. Raises NotFound."""
        found = await self.get(account_id)
        if account_id != actor.caller.account_id:
            await self._audit.record(actor, Action.ACCOUNT_READ, account_id)
        return found

    async def page(self, actor: Actor, query: UserQuery) -> UserPage:
        """Every account, newest first. That they were read is in the audit log."""
        try:
            page: Page[Account] = await self._accounts.page(
                role=query.role, email=query.email, limit=query.limit, cursor=query.cursor
            )
        except CursorInvalid as error:
            raise invalid(("query", "cursor"), str(error), query.cursor) from None
        await self._audit.record(actor, Action.ACCOUNTS_LISTED, None)
        return UserPage(
            users=[_view(account) for account in page.items],
            total_users=page.total,
            total_is_lower_bound=page.total_is_lower_bound,
            has_more=page.next_cursor is not None,
            next_cursor=page.next_cursor,
        )

    async def rotate_webhook_secret(self, actor: Actor, *, overlap_days: int) -> WebhookSecretRotated:
        """A new webhook secret, which only this answer shows. The one so far counts as well until the overlap ends, and
        one before that no longer. Raises Contention where the account is being deleted, and CannotDecrypt with an
        overlap only."""
        account_id, new_secret = actor.caller.account_id, new_webhook_secret()

        async def exchange(session: Session) -> SigningAccount:
            now = clock.now()
            (before,) = await self._accounts.signing([account_id], session)
            after = self._webhook_secrets.rotated(before, new_secret, now, overlap_days=overlap_days)
            if not await self._accounts.save_secrets(before, after, now, session):
                raise Contention
            await self._audit.record(
                actor,
                Action.ACCOUNT_SECRET_ROTATED,
                account_id,
                before={"previous_secret_ends_at": before.previous_secret_ends_at},
                after={"previous_secret_ends_at": after.previous_secret_ends_at},
                session=session,
            )
            return after

        rotated = await self._database.in_transaction(exchange)
        return WebhookSecretRotated(
            webhook_secret=new_secret, previous_secret_expires_at=rotated.previous_secret_ends_at
        )

    async def change_password(self, actor: Actor, current: str, new: str) -> None:
        """Change the caller's password: all sessions end with this write. Raises WrongPassword, TooManyAttempts, and
        InvalidRequest for a common password where those are refused."""
        self._refuse_common("newPassword", new)
        account = await self._accounts.get(actor.caller.account_id)
        if account is None:
            raise TokenInvalid  # deleted a moment ago
        # As at a login: a stolen token must not let anybody try passwords.
        tried = fold_email(account.email)
        await self._throttle.admit(tried, actor.address)
        if not await self._hasher.verify(current, account.password_hash):
            raise WrongPassword
        await self._throttle.succeeded(tried, actor.address)
        new_hash = await self._hasher.hash(new)

        async def change(session: Session) -> None:
            # On condition that nobody else changed it since it was checked.
            if not await self._accounts.set_password(account, new_hash, clock.now(), session):
                raise Contention
            await self._audit.record(actor, Action.PASSWORD_CHANGED, account.id, session=session)

        await self._database.in_transaction(change)

    async def change_role(self, actor: Actor, account_id: str, role: Role) -> RoleChanged:
        """Give another account a role. Raises NotFound, Forbidden for one's own, LastSystemAdmin."""
        if account_id == actor.caller.account_id:
            raise Forbidden("Nobody can change their own role.")
        for _ in range(_TRIES):
            account = await self._find(account_id, "User not found.")
            if account.role is role or await self._set_role(actor, account, role):
                return RoleChanged(message=f"User role updated to '{role}'", user_id=account_id, role=role)
        raise Contention

    async def delete(self, actor: Actor, account_id: str) -> None:
        """Delete another account: with this write its keys and tokens stop."""
        caller = actor.caller
        if not caller.is_admin:
            raise Forbidden(_ONLY_ADMINS)
        if account_id == caller.account_id:
            raise BadRequest("Admins cannot delete their own user account.")
        for _ in range(_TRIES):
            account = await self._find(account_id, f"User '{account_id}' not found.")
            if not may_delete(caller.role, account.role):
                raise Forbidden("Access denied. Only a system_admin can delete an admin or a system_admin.")
            if await self._delete(actor, account):
                return
        raise Contention

    async def ensure_system_admin(self, email: str, password: str | None) -> MadeAdmin | None:
        """Make the first system_admin where there is none. What was made is returned to one process only."""
        if await self._accounts.has_system_admin():
            return None
        try:
            return await self.create_system_admin(email, password)
        except EmailTaken:
            return None  # another process that starts now was first

    async def create_system_admin(self, email: str, password: str | None) -> MadeAdmin:
        """Make a system_admin, with a random password where none is given. Raises EmailTaken."""
        chosen = password or secrets.token_urlsafe(18)
        account, _ = await self._insert("System Admin", email, chosen, Role.SYSTEM_ADMIN, (), COMMAND_LINE)
        return MadeAdmin(account.email, chosen)

    def _refuse_common(self, field: str, password: str) -> None:
        if self._refuses_common_passwords and is_common(password):
            raise invalid(("body", field), "this is one of the 10,000 most common passwords", password)

    async def _insert(
        self, name: str, email: str, password: str, role: Role, keys: tuple[ApiKey, ...], origin: Origin
    ) -> tuple[Account, str]:
        account_id, webhook_secret, now = ids.fresh("user"), new_webhook_secret(), clock.now()
        account = Account(
            id=account_id,
            name=name,
            email=email,
            role=role,
            password_hash=await self._hasher.hash(password),
            sealed_webhook_secret=self._webhook_secrets.seal(account_id, webhook_secret),
            api_keys=keys,
            created_at=now,
            updated_at=now,
        )

        async def insert(session: Session) -> None:
            await self._accounts.insert(account, session)
            await self._audit.record(
                origin, Action.ACCOUNT_REGISTERED, account.id, after={"role": role.value}, session=session
            )

        try:
            await self._database.in_transaction(insert)
        except EmailInUse:
            raise EmailTaken from None
        return account, webhook_secret

    async def _find(self, account_id: str, missing: str) -> Account:
        account = await self._accounts.get(account_id)
        if account is None:
            raise NotFound(missing)
        return account

    async def _set_role(self, actor: Actor, account: Account, role: Role) -> bool:
        async def change(session: Session) -> bool:
            if account.role is Role.SYSTEM_ADMIN:
                await self._refuse_to_remove_the_last(actor.caller, session, _ONLY_SYSTEM_ADMIN)
            if not await self._accounts.set_role(account.id, account.role, role, clock.now(), session):
                return False
            before, after = {"role": account.role.value}, {"role": role.value}
            await self._audit.record(
                actor, Action.ROLE_CHANGED, account.id, before=before, after=after, session=session
            )
            return True

        return await self._database.in_transaction(change)

    async def _delete(self, actor: Actor, account: Account) -> bool:
        async def remove(session: Session) -> bool:
            if account.role is Role.SYSTEM_ADMIN:
                await self._refuse_to_remove_the_last(actor.caller, session, _ONLY_ADMINS)
            if not await self._accounts.delete(account.id, account.role, clock.now(), session):
                return False
            before = {"role": account.role.value}
            await self._audit.record(actor, Action.ACCOUNT_DELETED, account.id, before=before, session=session)
            return True

        return await self._database.in_transaction(remove)

    async def _refuse_to_remove_the_last(self, caller: Caller, session: Session, refusal: str) -> None:
        remaining = await self._accounts.guard_system_admins(session)
        if caller.account_id not in remaining:
            raise Forbidden(refusal)  # demoted or deleted a moment ago
        if len(remaining) <= 1:
            raise LastSystemAdmin


def _view(account: Account) -> UserOut:
    return UserOut(
        id=account.id,
        name=account.name,
        email=account.email,
        role=account.role,
        api_keys=[
            ApiKeySummary(id=key.id, name=key.name, prefix=key.prefix, created_at=key.created_at)
            for key in account.api_keys
        ],
        created_at=account.created_at,
        updated_at=account.updated_at,
    )
