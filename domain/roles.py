"""Roles, and what they may do to each other. They build on one another: each holds all that those before it hold."""

from enum import StrEnum


class Role(StrEnum):
    USER = "user"
    MERCHANT = "merchant"
    ADMIN = "admin"
    SYSTEM_ADMIN = "system_admin"


EVERYONE = tuple(Role)
MERCHANTS = (Role.MERCHANT, Role.ADMIN, Role.SYSTEM_ADMIN)
ADMINS = (Role.ADMIN, Role.SYSTEM_ADMIN)


def denial(allowed: tuple[Role, ...]) -> str:
    """What a caller without any of these roles reads."""
    return f"Access denied. Allowed roles: {tuple(role.value for role in allowed)}"


def may_delete(actor: Role, target: Role) -> bool:
    """An admin deletes users and merchants; a system_admin deletes anybody."""
    return actor is Role.SYSTEM_ADMIN or (actor is Role.ADMIN and target not in ADMINS)
