"""The origin of a URL (RFC 6454): scheme, host and port, in one spelling."""

from yarl import URL


def origin(url: str) -> str:
    """`https://Shop.example/hook?a=1` has the origin `https://shop.example:443`.

    Read by the library that dials it, so that two spellings of one host are never two targets with a limit each.
    """
    parts = URL(url)
    host = (parts.raw_host or "").lower()
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port}"


def is_origin(target: str) -> bool:
    """Whether a target is an origin, and not an endpoint's id."""
    return "://" in target
