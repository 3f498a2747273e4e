"""Accounts and sessions."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response

from core.errors import (
    Contention,
    EmailTaken,
    LastSystemAdmin,
    LoginFailed,
    NotFound,
    SecretUnreadable,
    TokenInvalid,
    TooManyAttempts,
    Unavailable,
    WrongPassword,
)
from domain.roles import Role
from routers.conditional import conditional, documented_conditional
from routers.dependencies import ActorDep, CallerDep, OriginDep, PspDep
from routers.roles import API
from routers.route import PspRoute, documented
from schemas.common import EmptyBody, Message
from schemas.sessions import PasswordChange
from schemas.users import (
    LoginForm,
    LoginRequest,
    RefreshRequest,
    Registered,
    RegisterRequest,
    RoleChange,
    RoleChanged,
    TokenPair,
    UserOut,
    UserPage,
    UserQuery,
    WebhookSecretRotated,
    Welcome,
)
from schemas.webhook_endpoints import RotateRequest

router = APIRouter(prefix=API, route_class=PspRoute)


@router.post("/users/register", status_code=201, tags=["Users"], responses=documented(EmailTaken, Unavailable))
async def register(psp: PspDep, origin: OriginDep, body: RegisterRequest) -> Registered:
    """Make an account. Its API key and webhook secret are shown in this answer and never again."""
    return await psp.accounts.register(body, origin)


@router.post("/users/login", tags=["Sessions"], responses=documented(LoginFailed, TooManyAttempts, Unavailable))
async def login(psp: PspDep, origin: OriginDep, request: Request, body: LoginRequest) -> TokenPair:
    """Open a session: an access token for the Authorization header, and a refresh token for the next one."""
    return await psp.sessions.log_in(body.email, body.password, origin, user_agent=request.headers.get("User-Agent"))


@router.post("/auth/token", tags=["Sessions"], responses=documented(LoginFailed, TooManyAttempts, Unavailable))
async def token(psp: PspDep, origin: OriginDep, request: Request, form: Annotated[LoginForm, Form()]) -> TokenPair:
    """The same as an OAuth 2 password form; the Authorize button uses it. `username` is the e-mail address."""
    return await psp.sessions.log_in(form.username, form.password, origin, user_agent=request.headers.get("User-Agent"))


@router.post("/users/refresh", tags=["Sessions"], responses=documented(TokenInvalid))
async def refresh(psp: PspDep, origin: OriginDep, body: RefreshRequest) -> TokenPair:
    """Exchange a refresh token for a new pair. It works once; using one twice ends its whole session."""
    return await psp.sessions.refresh(body.refresh_token, origin)


@router.post("/users/logout", tags=["Sessions"])
async def logout(psp: PspDep, actor: ActorDep, body: EmptyBody | None = None) -> Message:
    """End the session. Its tokens stop working at once."""
    await psp.sessions.log_out(actor)
    return Message(message="Logged out successfully.")


@router.post(
    "/users/me/password", tags=["Users"], responses=documented(WrongPassword, Contention, TooManyAttempts, Unavailable)
)
async def change_password(psp: PspDep, actor: ActorDep, body: PasswordChange) -> Message:
    """Change one's own password. Every session ends at once, the one that asks among them; API keys stay."""
    await psp.accounts.change_password(actor, body.current_password, body.new_password)
    return Message(message="Password changed successfully. Log in again.")


@router.get("/users/me", response_model=UserOut, tags=["Users"], **documented_conditional())
async def me(psp: PspDep, caller: CallerDep, request: Request) -> Response:
    """The caller's account, without its secrets."""
    user = await psp.accounts.get(caller.account_id)
    return conditional(request, user.model_dump_json(by_alias=True).encode())


@router.post("/users/me/webhook-secret/rotate", tags=["Users"], responses=documented(Contention, SecretUnreadable))
async def rotate_webhook_secret(
    psp: PspDep, actor: ActorDep, body: RotateRequest | None = None
) -> WebhookSecretRotated:
    """Exchange the account's webhook secret. The new one is shown in this answer and never again. While the overlap
    lasts `webhook-signature` carries a signature of each, `X-Signature` is made with the old one, and what others send
    may be signed with either."""
    chosen = body or RotateRequest()
    return await psp.accounts.rotate_webhook_secret(actor, overlap_days=chosen.overlap_days)


@router.get("/users", tags=["Users"])
async def list_users(psp: PspDep, actor: ActorDep, query: Annotated[UserQuery, Query()]) -> UserPage:
    """Every account, newest first."""
    return await psp.accounts.page(actor, query)


@router.get("/users/{user_id}", response_model=UserOut, tags=["Users"], **documented_conditional(NotFound))
async def get_user(psp: PspDep, actor: ActorDep, user_id: str, request: Request) -> Response:
    """One account."""
    user = await psp.accounts.look_up(actor, user_id)
    return conditional(request, user.model_dump_json(by_alias=True).encode())


@router.patch("/users/{user_id}/role", tags=["Users"], responses=documented(NotFound, Contention, LastSystemAdmin))
async def change_role(psp: PspDep, actor: ActorDep, user_id: str, body: RoleChange) -> RoleChanged:
    """Give an account another role. What its tokens and keys open changes with the next request."""
    return await psp.accounts.change_role(actor, user_id, Role(body.new_role))


@router.get("/protected", tags=["Users"])
async def protected(caller: CallerDep) -> Welcome:
    """Whether an access token works."""
    return Welcome(message="Access granted — authenticated user.", user_id=caller.account_id, role=caller.role)
