"""What a request passes before the application: its id, what proxies say, browsers' origins (CORS), host names."""

import re

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.config import Settings
from core.errors import HostUnknown, OriginRefused, PspError
from routers.forwarded import ForwardedClient
from routers.middleware import RequestContext
from routers.problems import problem
from routers.request_ids import request_id_of

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SENT = ("Authorization", "X-API-Key", "X-Payment-Key", "Idempotency-Key", "If-None-Match", "Prefer", "X-Request-ID")
_READ = ("X-Request-ID", "ETag", "Idempotent-Replayed", "Retry-After", "RateLimit", "RateLimit-Policy")
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|[^\[\]:@/]+)(?::\d{1,5})?")
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_BY_ADDRESS = frozenset({"/metrics", "/health/live", "/health/ready"})
"""What Prometheus and a cluster's probes read: they find containers by their addresses, which nobody knows before."""


def perimeter(settings: Settings) -> list[Middleware]:
    """The outermost first. What is not set costs nothing."""
    layers = [Middleware(RequestContext, production=settings.production)]
    if settings.trusted_proxies:
        layers.append(Middleware(ForwardedClient, trusted=settings.trusted_proxies))
    if settings.cors_origins:
        # Outside of all that may refuse a request, so that a page can read the refusal.
        layers.append(
            Middleware(
                Cors,
                allow_origins=settings.cors_origins,
                allow_methods=_METHODS,
                allow_headers=_SENT,
                expose_headers=_READ,
            )
        )
    if settings.trusted_hosts:
        layers.append(Middleware(TrustedHosts, names=settings.trusted_hosts))
    return layers


class Cors(CORSMiddleware):
    """Starlette's, with its refusals in the form of all errors. Without cookies there are no credentials to allow."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        return answer if answer.status_code == 200 else _Refusal(OriginRefused)


class TrustedHosts:
    """Refuses requests to any other name: the address of a 3-D Secure page is made of it.

    `*.example.com` stands for every name below it. This machine's own names are always taken, for its health checks,
    and any name by what is made for monitors.
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...]):
        self._app = app
        self._names = frozenset((*_THIS_MACHINE, *names))
        self._endings = tuple(name[1:] for name in names if name.startswith("*"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trusted = scope["type"] != "http" or scope["path"] in _BY_ADDRESS or self._trusts(scope["headers"])
        await (self._app if trusted else _Refusal(HostUnknown))(scope, receive, send)

    def _trusts(self, headers: list[tuple[bytes, bytes]]) -> bool:
        hosts = [value for name, value in headers if name == b"host"]
        # Of two, a proxy may have looked at the other one.
        host = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if host is None:
            return False
        name = host[1].decode("latin-1")
        return name in self._names or name.endswith(self._endings)


class _Refusal(Response):
    def __init__(self, error: type[PspError]):
        super().__init__()
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._error
        answer = problem(request_id_of(scope), error.status, error.code, error.message)
        await answer(scope, receive, send)
