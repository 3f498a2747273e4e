"""What is around every request: its id, and an answer in the common form even where the code failed."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import PspError
from routers.access_log import log_request
from routers.problems import problem
from routers.rate_limits import rate_limit_headers
from routers.request_counts import count_request, route_of
from routers.request_ids import give_request_id, request_id_of
from routers.security_headers import SecurityHeaders

_LOG = logging.getLogger("mock_psp.request")
_STARTED = "psp.answer_started"


class RequestContext:
    """Gives each request an id and returns it with the answer, together with the security headers; counts it, and has
    a line in the log for it."""

    def __init__(self, app: ASGIApp, *, production: bool):
        self._app = app
        self._security = SecurityHeaders(production=production)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun_s, status = time.perf_counter(), 500
        request_id = give_request_id(scope)
        header = (b"x-request-id", request_id.encode())

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                scope[_STARTED] = True
                status = message["status"]
                headers = message["headers"]
                message["headers"] = [*headers, header, *self._security.beside(headers), *rate_limit_headers(scope)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            duration_s = time.perf_counter() - begun_s
            count_request(scope, status, duration_s)
            log_request(scope, status, duration_s)


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
            _LOG.exception("request %s failed: %s %s", request_id, scope["method"], route_of(scope))
            if _STARTED in scope:
                raise
            response = problem(request_id, PspError.status, PspError.code, PspError.message)
            await response(scope, receive, send)
