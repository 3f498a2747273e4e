"""The metrics in the text that Prometheus reads: what processes have counted, and what waits in the database now."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from core import clock
from core.database import DriverError
from core.shared_metrics import exposition
from domain.payments import Status
from repositories.deliveries import DeliveryRepository
from repositories.heartbeats import HeartbeatRepository
from repositories.outbox import Outbox
from repositories.payments import PaymentRepository
from services.health import RECENT_S

_COUNTED = 10_000
"""Of the newest payments and deliveries, and of what waits: with more than that waiting the figure stays there."""
_COUNTED_OF_AN_OUTBOX = 1000
"""The objects are read for it."""
_LASTS_S = 5.0
"""What the database has told is told again for so long, however often it is asked for."""
_PATIENCE_S = 2.0
"""A scraper waits ten seconds. Where MongoDB does not answer it has all the rest."""


class Metrics:
    def __init__(
        self,
        payments: PaymentRepository,
        deliveries: DeliveryRepository,
        outboxes: Sequence[Outbox],
        heartbeats: HeartbeatRepository,
    ):
        self._payments = payments
        self._deliveries = deliveries
        self._outboxes = outboxes
        self._heartbeats = heartbeats
        self._asking = asyncio.Lock()
        self._told: list[Metric] = []
        self._told_at_s = -_LASTS_S

    async def exposition(self) -> bytes:
        """In Prometheus's text format. Raises nothing where MongoDB is away: then its figures are missing."""
        async with self._asking:
            if time.monotonic() - self._told_at_s >= _LASTS_S:
                self._told = await self._look()
                self._told_at_s = time.monotonic()
        return await asyncio.to_thread(exposition, self._told)

    async def _look(self) -> list[Metric]:
        up = GaugeMetricFamily("mock_psp_mongodb_up", "Whether MongoDB answers.", 1)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return [up, *await self._ask()]
        except (DriverError, TimeoutError):
            up.samples.clear()
            up.add_metric([], 0)
            return [up]

    async def _ask(self) -> list[Metric]:
        payments, deliveries, waiting, first_due, workers, outboxes = await asyncio.gather(
            self._payments.figures(_COUNTED),
            self._deliveries.count_by_state(_COUNTED),
            self._deliveries.count_waiting(_COUNTED),
            self._deliveries.first_due(),
            self._heartbeats.count_recent(RECENT_S),
            asyncio.gather(*(outbox.backlog(_COUNTED_OF_AN_OUTBOX) for outbox in self._outboxes)),
        )
        now = clock.now()
        by_status = {status.value: 0 for status in Status}
        for one in payments:
            by_status[one.status.value] += one.count
        names = [outbox.name for outbox in self._outboxes]
        return [
            _gauge("payments", f"Of the {_COUNTED} newest payments, by status.", "status", by_status),
            _gauge("deliveries", f"Of the {_COUNTED} newest deliveries, by state.", "state", deliveries),
            GaugeMetricFamily(
                "mock_psp_deliveries_waiting", f"Deliveries that wait, {_COUNTED} at most.", value=waiting
            ),
            GaugeMetricFamily(
                "mock_psp_deliveries_oldest_due_seconds",
                "For how long the delivery that is due for the longest time has been; 0 where none is.",
                value=_age_s(min(first_due.values(), default=None), now),
            ),
            _gauge(
                "outbox_waiting",
                f"Objects whose events are not published yet, {_COUNTED_OF_AN_OUTBOX} at most.",
                "collection",
                dict(zip(names, [one.count for one in outboxes], strict=True)),
            ),
            _gauge(
                "outbox_oldest_seconds",
                "Age of the oldest event that is not published yet; 0 where there is none.",
                "collection",
                dict(zip(names, [_age_s(one.oldest_at, now) for one in outboxes], strict=True)),
            ),
            GaugeMetricFamily(
                "mock_psp_workers", f"Workers that have shown a sign of life for {RECENT_S} s.", value=workers
            ),
        ]


def _gauge(name: str, text: str, label: str, by_value: dict[str, int] | dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"mock_psp_{name}", text, labels=[label])
    for value, figure in by_value.items():
        family.add_metric([value], figure)
    return family


def _age_s(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max((now - moment).total_seconds(), 0.0)
