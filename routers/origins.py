"""Where a request comes from: its id and its address, for what is written down of it."""

from fastapi import Request

from routers.forwarded import client_address
from routers.request_ids import request_id_to_keep
from services.audit import Origin


def origin_of(request: Request) -> Origin:
    return Origin(request_id_to_keep(request.scope), client_address(request.scope))
