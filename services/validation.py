"""A validation error that only a service can find, in the form of those that the schemas find."""

from core.errors import InvalidRequest


def invalid(where: tuple[str, ...], message: str, value: object) -> InvalidRequest:
    """One wrong field: `invalid(("query", "cursor"), "…", "abc")`."""
    return InvalidRequest([{"type": "value_error", "loc": where, "msg": f"Value error, {message}", "input": value}])
