"""Noting the requests of accounts for the request log, once they are answered."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import clock
from routers.forwarded import client_address
from routers.request_ids import request_id_of
from routers.request_logs import router as its_own
from routers.route import body_in, caller_in
from services.request_log import MOST_OF_A_BODY, MOST_OF_A_KEY, MOST_OF_A_TARGET, NotedRequest


class RequestLogging:
    """Notes what the guard has shown to be an account's request; what nobody's credentials came with is not noted.

    The bodies are those that were read and made anyway, and nothing of them is looked at here.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived_at, begun_s = clock.now(), time.perf_counter()
        # What an error nobody expected is answered with, further out.
        status, body = 500, b""

        async def send_and_keep(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            elif not body:
                body = message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, send_and_keep)
        finally:
            caller = caller_in(scope)
            if caller is not None and not scope["route"].path.startswith(its_own.prefix):
                query = scope["query_string"]
                scope["app"].state.psp.request_log.note(
                    NotedRequest(
                        caller,
                        arrived_at,
                        time.perf_counter() - begun_s,
                        scope["method"],
                        scope["route"].path,
                        _beginning(scope["raw_path"] + (b"?" + query if query else b""), MOST_OF_A_TARGET),
                        status,
                        request_id_of(scope),
                        _idempotency_key(scope),
                        client_address(scope),
                        _beginning(body_in(scope), MOST_OF_A_BODY),
                        _beginning(body, MOST_OF_A_BODY),
                    )
                )


def _idempotency_key(scope: Scope) -> bytes | None:
    sent = (value for name, value in scope["headers"] if name == b"idempotency-key")
    return next((_beginning(value, MOST_OF_A_KEY) for value in sent), None)


def _beginning(sent: bytes, most: int) -> bytes:
    return bytes(sent[: most + 1])
