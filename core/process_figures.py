"""What a process takes of its machine, told every few seconds while it runs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from prometheus_client import ProcessCollector

from core import metrics
from core.shared_metrics import share

_EVERY_S = 5.0
_LOG = logging.getLogger(__name__)

ProcessRole = Literal["api", "worker", "bank"]


@asynccontextmanager
async def counted(role: ProcessRole, data_dir: Path) -> AsyncIterator[None]:
    """What this process counts inside the block is shared with the others that have this DATA_DIR."""
    try:
        share(data_dir / "metrics")
    except OSError as error:
        _LOG.warning("the metrics of this process are its own: nothing can be kept in DATA_DIR (%s)", error.strerror)
    metrics.PROCESSES.labels(role).set(1)
    task = asyncio.create_task(_tell(role), name="process figures")
    try:
        yield
    finally:
        task.cancel()


async def _tell(role: ProcessRole) -> None:
    loop, process = asyncio.get_running_loop(), ProcessCollector(registry=None)
    cpu_told_s = 0.0
    while True:
        found = {sample.name: sample.value for family in process.collect() for sample in family.samples}
        # None of them where there is no /proc.
        metrics.MEMORY.labels(role).set(found.get("process_resident_memory_bytes", 0))
        metrics.OPEN_FILES.labels(role).set(found.get("process_open_fds", 0))
        cpu_s = found.get("process_cpu_seconds_total", 0.0)
        metrics.CPU.labels(role).inc(max(cpu_s - cpu_told_s, 0.0))
        cpu_told_s = cpu_s
        due_at_s = loop.time() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        metrics.LOOP_DELAY.labels(role).set(max(loop.time() - due_at_s, 0.0))
