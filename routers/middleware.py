"""What is around every request: its id, and an answer in the common form even where the code failed."""

import logging
import re
from urllib.parse import quote, unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import PspError
from domain.cards import mask_pans
from routers.problems import problem
from routers.request_ids import give_request_id, request_id_of
from routers.security_headers import SecurityHeaders

_LOG = logging.getLogger("mock_psp.request")
_STARTED = "psp.answer_started"
_PROOF = re.compile(r"(/3ds/[^/]+/)[^/?]+")


class RequestContext:
    """Gives each request an id and returns it with the answer, together with the security headers."""

    def __init__(self, app: ASGIApp, *, production: bool):
        self._app = app
        self._security = SecurityHeaders(production=production)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = give_request_id(scope)
        header = (b"x-request-id", request_id.encode())

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope[_STARTED] = True
                headers = message["headers"]
                message["headers"] = [*headers, header, *self._security.beside(headers)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class UnexpectedErrors:
    """An error that nobody expected is logged with the request's id, and answered as a 500 that tells nothing of the
    inside. It stands inside of CORS, so that a page can read that answer, too."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception:
            request_id = request_id_of(scope)
            _LOG.exception("request %s failed: %s %s", request_id, scope["method"], _without_secrets(scope["path"]))
            if _STARTED in scope:
                raise
            response = problem(request_id, PspError.status, PspError.code, PspError.message)
            await response(scope, receive, send)


def keep_secrets_out_of_the_access_log() -> None:
    """Addresses are logged by the server: a card number may be in one, and a 3-D Secure page's ends in its proof."""
    logging.getLogger("uvicorn.access").addFilter(_mask_address)


def _mask_address(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_without_secrets(arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _without_secrets(address: str) -> str:
    readable = unquote_plus(address)
    masked = _PROOF.sub(r"\1XXX", mask_pans(readable))
    return address if masked == readable else quote(masked, safe="/?&=")
