"""What shows who calls: an access token, an API key, a payment key, and which of them together."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastapi import Request

from core.errors import (
    ApiKeyInvalid,
    MetricsTokenInvalid,
    NotFound,
    PaymentKeyInvalid,
    TokenMalformed,
    TokenMissing,
    Unauthorized,
)
from routers.forwarded import client_address
from routers.roles import Needs
from services.caller import Caller, CallerRefused
from services.psp import Psp


def psp_of(request: Request) -> Psp:
    """The product that this application serves."""
    psp: Psp = request.app.state.psp
    return psp


async def _nobody(request: Request) -> Caller | None:
    return None


async def _by_token(request: Request) -> Caller | None:
    sent = _only(request, "authorization", TokenMalformed)
    if sent is None:
        raise TokenMissing
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
        raise TokenMalformed
    return await psp_of(request).sessions.authenticate(token.strip())


async def _by_key(request: Request) -> Caller | None:
    key = _only(request, "x-api-key", ApiKeyInvalid)
    return await psp_of(request).api_keys.authenticate(key, client_address(request.scope))


async def _by_payment_key(request: Request) -> Caller | None:
    key = _only(request, "x-payment-key", PaymentKeyInvalid)
    return await (_by_key(request) if key is None else psp_of(request).payment_keys.authenticate(key))


async def _by_both(request: Request) -> Caller | None:
    by_key, by_token = await _by_key(request), await _by_token(request)
    assert by_key is not None and by_token is not None
    if by_key.account_id != by_token.account_id:
        raise CallerRefused("Access denied. API key and token belong to different accounts.", by_token)
    return replace(by_token, api_key_id=by_key.api_key_id, scopes=by_key.scopes)


async def _by_either(request: Request) -> Caller | None:
    if "authorization" not in request.headers:
        return await _by_key(request)
    return await (_by_both(request) if "x-api-key" in request.headers else _by_token(request))


async def _by_metrics_token(request: Request) -> Caller | None:
    """In production there is no such path without a token."""
    settings = psp_of(request).settings
    if not settings.shows_metrics:
        raise NotFound
    if not settings.opens_metrics(request.headers.getlist("authorization")):
        raise MetricsTokenInvalid
    return None


def _only(request: Request, header: str, refusal: type[Unauthorized]) -> str | None:
    """What the header says; None where it is not sent. Of two, a proxy before us may have looked at the other one."""
    sent = request.headers.getlist(header)
    if len(sent) > 1:
        raise refusal
    return sent[0] if sent else None


AUTHENTICATORS: dict[Needs, Callable[[Request], Awaitable[Caller | None]]] = {
    Needs.NOTHING: _nobody,
    Needs.TOKEN: _by_token,
    Needs.API_KEY: _by_key,
    Needs.BOTH: _by_both,
    Needs.PAYMENT_KEY: _by_payment_key,
    Needs.EITHER: _by_either,
    Needs.METRICS_TOKEN: _by_metrics_token,
}
