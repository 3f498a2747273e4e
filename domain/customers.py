"""A customer of a merchant, and pure functions that decide what a command changes (as in domain/payments.py)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Customer:
    id: str
    owner_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    email: str | None = None
    phone: str | None = None
    """In E.164, whatever was typed."""
    phone_as_typed: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    description: str | None = None
    metadata: Mapping[str, str] | None = None
    sequence: int = 1
    """The number of the latest event. Events of one customer are numbered without gaps; the first is the creation."""
    version: int = 1
    """Goes up with every change; a change is written on condition that it is still the one that was read."""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A customer after a command. Each change has one event, which carries the customer and its `sequence`."""

    customer: Customer
    event_type: str


def create(customer: Customer) -> Change:
    return Change(customer, "customer.created")


def update(customer: Customer, now: datetime, **fields: object) -> Change | None:
    """Set these fields. None where they hold that already: nothing changes, so nothing is told."""
    if replace(customer, **fields) == customer:  # type: ignore[arg-type]
        return None
    return _changed(customer, "customer.updated", now, **fields)


def delete(customer: Customer, now: datetime) -> Change:
    """Hide the customer from lists and reads."""
    return _changed(customer, "customer.deleted", now, deleted=True)


def _changed(customer: Customer, event_type: str, now: datetime, **fields: object) -> Change:
    changed = replace(
        customer,
        updated_at=now,
        sequence=customer.sequence + 1,
        version=customer.version + 1,
        **fields,  # type: ignore[arg-type]
    )
    return Change(changed, event_type)
