"""How long MongoDB takes, and how many connections there are to it, as the driver tells."""

from typing import Any

from prometheus_client import Histogram
from pymongo import monitoring

from core import metrics


class CommandTimes(monitoring.CommandListener):
    def __init__(self) -> None:
        # What `labels` would look up again for every command.
        self._durations: dict[str, Histogram] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        pass

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self._observe(event.command_name, event.duration_micros)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._observe(event.command_name, event.duration_micros)
        metrics.COMMAND_FAILURES.labels(event.command_name).inc()

    def _observe(self, command: str, duration_micros: int) -> None:
        durations = self._durations.get(command)
        if durations is None:
            durations = self._durations[command] = metrics.COMMAND_DURATION.labels(command)
        durations.observe(duration_micros / 1e6)


class PoolFigures(monitoring.ConnectionPoolListener):
    """All pools of the process together."""

    def __init__(self) -> None:
        self._open = metrics.CONNECTIONS.labels("open")
        self._in_use = metrics.CONNECTIONS.labels("in_use")

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        self._open.inc()

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        self._open.dec()

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._in_use.inc()

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        self._in_use.dec()

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        metrics.CHECKOUT_FAILURES.labels(event.reason).inc()

    def connection_check_out_started(self, event: Any) -> None:
        pass

    def connection_ready(self, event: Any) -> None:
        pass

    def pool_created(self, event: Any) -> None:
        pass

    def pool_ready(self, event: Any) -> None:
        pass

    def pool_cleared(self, event: Any) -> None:
        pass

    def pool_closed(self, event: Any) -> None:
        pass
