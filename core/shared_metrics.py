"""The metrics of all processes that have one DATA_DIR, in files there, so that a scrape of any of them tells of all.

A process writes files of its own, which prometheus-client maps into its memory, and holds a lock for as long as it
lives. What an ended process has counted goes on into the files called `ended`, so that no counter ever goes back.
"""

import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from core.metrics import REGISTRY
from core.mongo_files import lock

if sys.platform != "win32":
    import fcntl

_ALIVE, _ENDED = ".alive", "ended"
_own = ""
"""What this process is called there. Chosen when it begins to share: what is chosen on import, processes that are
forked afterwards have in common."""
_place: Path | None = None
_own_lock: int | None = None


def share(directory: Path) -> None:
    """From now on what this process counts is kept there, together with others'. To be called before anything is
    counted; what is called after the first time does nothing. Raises OSError where nothing can be kept there."""
    global _own, _place, _own_lock  # noqa: PLW0603 - a process has one
    if _place is not None or sys.platform == "win32":
        return
    _own = secrets.token_hex(8)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    tidying = lock(directory / "tidy.lock", fcntl.LOCK_EX)
    try:
        if not _tidy(directory):
            # The first of them: what an older version has left may have other labels.
            for left in directory.glob("*.db"):
                left.unlink()
        _own_lock = lock(directory / f"{_own}{_ALIVE}", fcntl.LOCK_EX)
    finally:
        os.close(tidying)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: _own)
    _place = directory


def exposition(more: Iterable[Metric] = ()) -> bytes:
    """What all processes have counted, and these, in Prometheus's text format. Reads files: not in the event loop."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Found([*_collected(), *more]))
    return generate_latest(registry)


class _Found(Collector):
    def __init__(self, families: Iterable[Metric]):
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _collected() -> Iterable[Metric]:
    if _place is None:
        return list(REGISTRY.collect())
    tidying = lock(_place / "tidy.lock", fcntl.LOCK_EX)
    try:
        _tidy(_place)
        return list(MultiProcessCollector(None, str(_place)).collect())
    finally:
        os.close(tidying)


def _tidy(directory: Path) -> bool:
    """Close the books of processes that have ended. Whether any other lives."""
    others_live = False
    for alive in directory.glob(f"*{_ALIVE}"):
        name = alive.name.removesuffix(_ALIVE)
        if name == _own:
            continue
        try:
            held = lock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            others_live = True
            continue
        try:
            for kind in ("counter", "histogram"):
                _add(directory / f"{kind}_{name}.db", directory / f"{kind}_{_ENDED}.db")
            for gauge in directory.glob(f"gauge_*_{name}.db"):
                gauge.unlink()
            alive.unlink()
        finally:
            os.close(held)
    return others_live


def _add(source: Path, total: Path) -> None:
    if not source.exists():
        return
    if source.stat().st_size == 0:  # its process was killed when it had made the file, and had counted nothing
        source.unlink()
        return
    sums = MmapedDict(str(total))
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(source)):
        before, _ = sums.read_value(key)
        sums.write_value(key, before + value, 0.0)
    sums.close()
    source.unlink()
