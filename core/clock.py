"""Business time. Lease time is MongoDB's own (`$$NOW`); the two are never compared with each other."""

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The current time in UTC, cut to the millisecond that MongoDB and the API keep.

    What is answered before a write therefore equals what is read back after it.
    """
    moment = datetime.now(UTC)
    return moment - timedelta(microseconds=moment.microsecond % 1000)


def rfc3339(moment: datetime) -> str:
    """`2026-11-21T07:25:01.123Z`: RFC 3339 in UTC, always with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"
