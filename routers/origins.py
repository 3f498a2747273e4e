"""Where a request comes from: its id and its address, for what is written down of it."""

from ipaddress import ip_address

from fastapi import Request

from domain.cards import mask_pans
from routers.request_ids import request_id_of
from services.audit import Origin


def origin_of(request: Request) -> Origin:
    # Clients choose request ids; a card number in one is kept no more than anywhere else.
    return Origin(mask_pans(request_id_of(request.scope)), _address(request))


def _address(request: Request) -> str | None:
    # Behind a proxy it is what X-Forwarded-For says, and that may be any text.
    try:
        return None if request.client is None else str(ip_address(request.client.host))
    except ValueError:
        return None
