"""Where a request comes from: its id and its address, for what is written down of it."""

from fastapi import Request

from domain.redaction import redact_text
from routers.forwarded import client_address
from routers.request_ids import request_id_of
from services.audit import Origin


def origin_of(request: Request) -> Origin:
    # Clients choose request ids; a secret in one is kept no more than anywhere else.
    return Origin(redact_text(request_id_of(request.scope)), client_address(request.scope))
