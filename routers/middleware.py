"""What is around every request: its id, and an answer in the common form even where the code failed."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import PspError
from domain.redaction import redact_text
from routers.problems import problem
from routers.request_ids import give_request_id

_LOG = logging.getLogger("mock_psp.request")


class RequestContext:
    """Gives each request an id and returns it with the answer.

    An error that nobody expected is logged with that id, and answered as a 500 that tells nothing of the inside.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = give_request_id(scope)
        header = (b"x-request-id", request_id.encode())
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            _LOG.exception("request %s failed: %s %s", request_id, scope["method"], redact_text(scope["path"]))
            if started:
                raise
            response = problem(request_id, PspError.status, PspError.code, PspError.message)
            await response(scope, receive, send_with_id)
