"""What shows who calls: an access token, an API key, a payment key, and which of them together."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastapi import Request

from core.errors import TokenMalformed, TokenMissing
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
    sent = request.headers.getlist("authorization")
    if not sent:
        raise TokenMissing
    if len(sent) > 1:
        # A proxy before us may have looked at the other one.
        raise TokenMalformed
    scheme, _, token = sent[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or " " in token.strip():
        raise TokenMalformed
    return await psp_of(request).sessions.authenticate(token.strip())


async def _by_key(request: Request) -> Caller | None:
    return await psp_of(request).api_keys.authenticate(request.headers.get("x-api-key"), client_address(request))


async def _by_payment_key(request: Request) -> Caller | None:
    key = request.headers.get("x-payment-key")
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


AUTHENTICATORS: dict[Needs, Callable[[Request], Awaitable[Caller | None]]] = {
    Needs.NOTHING: _nobody,
    Needs.TOKEN: _by_token,
    Needs.API_KEY: _by_key,
    Needs.BOTH: _by_both,
    Needs.PAYMENT_KEY: _by_payment_key,
    Needs.EITHER: _by_either,
}
