"""Signs of life, by which workers are known."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker that lives. Where an older version runs it, it may name none of place, time and version."""

    worker_id: str
    host: str | None
    process: int | None
    """Its number on that host."""
    version: str | None
    started_at: datetime | None
    age_s: int
    """Since its last sign of life."""
