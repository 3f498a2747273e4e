"""Headers of a request or an answer, as they are kept: bounded, and without the secrets among them."""

from collections.abc import Iterable
from itertools import islice

Headers = tuple[tuple[str, str], ...]
MOST = 50
LONGEST_VALUE = 1000
REDACTED = "[redacted]"
_SECRET = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie", "authentication-info"})
_SECRET_PARTS = ("secret", "token", "password", "api-key", "apikey", "session", "credential")


def kept(headers: Iterable[tuple[str, str]]) -> Headers:
    """The first 50 headers, values cut at 1,000 characters; of those that carry a secret only the name."""
    return tuple((_text(name), REDACTED if _is_secret(name) else _text(value)) for name, value in islice(headers, MOST))


def _text(value: str) -> str:
    """What stands for bytes that are no UTF-8 cannot be stored."""
    return value[:LONGEST_VALUE].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_secret(name: str) -> bool:
    name = name.lower()
    return name in _SECRET or any(part in name for part in _SECRET_PARTS)
