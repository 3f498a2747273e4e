"""A line in the log for each request: whose it was and what came of it, with nothing that the client has written but
its request id."""

import logging

from starlette.types import Scope

from core.logs import ACCESS, structured_logger
from routers.request_counts import route_of
from routers.request_ids import request_id_of
from routers.route import caller_in

_ACCESS = logging.getLogger(ACCESS)
_LOG = structured_logger(ACCESS)


def log_request(scope: Scope, status: int, duration_s: float) -> None:
    if not _ACCESS.isEnabledFor(logging.INFO):
        return
    caller = caller_in(scope)
    _LOG.info(
        "request",
        request_id=request_id_of(scope),
        account=None if caller is None else caller.account_id,
        method=scope["method"],
        route=route_of(scope),
        status=status,
        duration_ms=round(duration_s * 1000, 1),
    )
