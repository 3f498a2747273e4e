"""Headers of a request or an answer, as they are kept: bounded, and without the secrets among them."""

import re
from collections.abc import Iterable
from itertools import islice

from domain.redaction import REDACTED, is_secret_header, redact_text

Headers = tuple[tuple[str, str], ...]
MOST = 50
LONGEST_VALUE = 1000
MOST_BYTES = 16 * 1024
"""Of all of them together, in UTF-8."""
_ADDRESSES = frozenset({"location", "content-location"})
_QUERY_OR_FRAGMENT = re.compile("[?#]")


def kept(headers: Iterable[tuple[str, str]]) -> Headers:
    """The first 50 headers, or as many as come to 16 KiB, values cut at 1,000 characters. Of those that carry a secret
    only the name, and of an address neither query nor fragment, where secrets are as well; what looks like a secret
    is none of any value."""
    pairs: list[tuple[str, str]] = []
    room_bytes = MOST_BYTES
    for name, value in islice(headers, MOST):
        pair = (_text(name), _text(_shown(name, value)))
        room_bytes -= len(pair[0].encode()) + len(pair[1].encode())
        if room_bytes < 0:
            break
        pairs.append(pair)
    return tuple(pairs)


def _shown(name: str, value: str) -> str:
    if is_secret_header(name):
        return REDACTED
    if name.lower() in _ADDRESSES:
        value = _QUERY_OR_FRAGMENT.split(value, maxsplit=1)[0]
    return redact_text(value)


def _text(value: str) -> str:
    """What stands for bytes that are no UTF-8 cannot be stored."""
    value = value[:LONGEST_VALUE]
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
