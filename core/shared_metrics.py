"""The metrics of all processes that have one DATA_DIR, in files there, so that a scrape of any of them tells of all.

A process writes files of its own, which prometheus-client maps into its memory, and holds a lock for as long as it
lives. What an ended process has counted goes on into the files called `ended`, so that no counter ever goes back. Where
one is killed while it adds another's there, some of that may count twice.
"""

import contextlib
import errno
import os
import secrets
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from core.metrics import REGISTRY
from core.mongo_files import POLL_S, lock

if sys.platform != "win32":
    import fcntl

_ALIVE, _ENDED = ".alive", "ended"
_ROOM_BYTES = {"counter": 1 << 20, "histogram": 1 << 22, "gauge_livesum": 1 << 16, "gauge_livemax": 1 << 16}
"""What a file of each kind takes of the disk at once, and more than all labels can fill: the kernel ends a process
(SIGBUS) whose memory is mapped to a file that finds no more room on its disk."""
_UNUSABLE = (OSError, ValueError, RuntimeError, struct.error)
"""What files raise for which there is no room, or that somebody has deleted or torn."""
_PATIENCE_S = 1.0
_own = ""
"""What this process is called there. Chosen when it begins to share: what is chosen on import, processes that are
forked afterwards have in common."""
_place: Path | None = None
_own_lock: int | None = None


def share(directory: Path) -> None:
    """From now on what this process counts is kept there, together with others'. To be called before anything is
    counted; what is called after the first time does nothing. Raises OSError where nothing can be kept there."""
    global _own, _place, _own_lock
    if _place is not None or sys.platform == "win32":
        return
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = secrets.token_hex(8)
    with _tidying(directory), contextlib.ExitStack() as undo:
        if any(_lives(alive) for alive in directory.glob(f"*{_ALIVE}")):
            with contextlib.suppress(*_UNUSABLE):
                _close_books(directory)
        else:
            # The first of them: an older version's have other labels, and a crash of the machine may have torn them.
            for left in (*directory.glob("*.db"), *directory.glob("*.new"), *directory.glob(f"*{_ALIVE}")):
                left.unlink()
        alive = directory / f"{name}{_ALIVE}"
        held = lock(alive, fcntl.LOCK_EX)
        undo.callback(os.close, held)
        undo.callback(alive.unlink)
        for kind, room_bytes in _ROOM_BYTES.items():
            file = directory / f"{kind}_{name}.db"
            undo.callback(file.unlink, missing_ok=True)
            _take_room(file, room_bytes)
        undo.pop_all()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    values.ValueClass = values.MultiProcessValue(lambda: _own)
    _own, _place, _own_lock = name, directory, held


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
    with contextlib.ExitStack() as stack:
        # Where one that was stopped holds the lock, or there is no room to close a book, all is told as it is.
        with contextlib.suppress(*_UNUSABLE):
            stack.enter_context(_tidying(_place))
            _close_books(_place)
        try:
            return list(MultiProcessCollector(None, str(_place)).collect())
        except _UNUSABLE:
            return list(REGISTRY.collect())  # what is mapped lasts


@contextlib.contextmanager
def _tidying(directory: Path) -> Iterator[None]:
    """Nobody else tidies. Raises TimeoutError where another process does so for too long."""
    path, gives_up_at_s = directory / "tidy.lock", time.monotonic() + _PATIENCE_S
    while True:
        try:
            held = lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > gives_up_at_s:
                cause = f"another process does not let go of {path.name}"
                raise TimeoutError(errno.ETIMEDOUT, cause, str(path)) from None
            time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(held)


def _lives(alive: Path) -> bool:
    try:
        os.close(lock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        return True
    return False


def _close_books(directory: Path) -> None:
    """Of processes that have ended."""
    for alive in directory.glob(f"*{_ALIVE}"):
        if _lives(alive):
            continue
        name = alive.name.removesuffix(_ALIVE)
        for kind in ("counter", "histogram"):
            _add(directory / f"{kind}_{name}.db", directory / f"{kind}_{_ENDED}.db", _ROOM_BYTES[kind])
        for gauge in directory.glob(f"gauge_*_{name}.db"):
            gauge.unlink()
        alive.unlink()


def _take_room(file: Path, room_bytes: int) -> None:
    """Make it whole or not at all. Raises OSError where there is no room."""
    draft = file.with_suffix(".new")
    try:
        draft.write_bytes(bytes(room_bytes))
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _add(source: Path, total: Path, room_bytes: int) -> None:
    if not source.exists():
        return
    if not total.exists():
        _take_room(total, room_bytes)
    sums = MmapedDict(str(total))
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(source)):
        before, _ = sums.read_value(key)
        sums.write_value(key, before + value, 0.0)
    sums.close()
    source.unlink()
