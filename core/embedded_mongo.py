"""A real MongoDB that needs no installation: one mongod, a one-node replica set, shared by several processes.

`start(data_dir)` joins the mongod of that directory or starts it, and returns when it is primary. A user is a
process that holds a shared lock on `users.lock` for as long as it lives. A keeper (`mongo_keeper.py`) is
mongod's parent: it starts mongod again when it dies and stops it after the last user. A keeper that dies is
replaced by the users.

    DATA_DIR/mongodb/           mongod's own files
    DATA_DIR/mongodb/keeper/    its port, our locks, and what the keeper reports
    DATA_DIR/mongodb.log        its log, kept short by the keeper

For development, tests and small demos: it listens on the loopback interface only, and asks for no password.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from core.mongo_files import (
    DYING_TIMEOUT_S,
    LOOPBACK,
    POLL_S,
    EmbeddedMongoError,
    Files,
    accepts_connections,
    choose_port,
    directory_error,
    find_mongod,
    is_at,
    lock,
    require_room,
)

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

REPLICA_SET = "psp"
READY_TIMEOUT_S = 60.0
KEEPER_CHECK_INTERVAL_S = 1.0
GIVEN_UP_PAUSE_S = 10.0
ORPHAN_STOP_TIMEOUT_S = 15.0
DELETED_TIMEOUT_S = 5.0
# Long enough for `uvicorn --reload` to replace its process and find the same mongod.
GRACE_S = 5.0
# What mongod and its loader need of our environment; our secrets are none of it.
PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# Without these a new database takes 300 MB, most of it journal written in advance; with them, 33.
STORAGE_OPTIONS = "log=(prealloc=false,file_max=32MB)"
MONGOD_OPTIONS = (
    *("--bind_ip", LOOPBACK, "--nounixsocket", "--networkMessageCompressors", "disabled"),
    *("--replSet", REPLICA_SET, "--oplogSize", "256"),
    *("--wiredTigerCacheSizeGB", "0.5", "--wiredTigerEngineConfigString", STORAGE_OPTIONS),
    *("--quiet", "--logappend", "--logRotate", "reopen"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    # Of a process that was killed or cut off inside a transaction: until it ends, nobody else changes what it changed.
    # Ours last four seconds at most; MongoDB's default is a minute.
    *("--setParameter", "transactionLifetimeLimitSeconds=10"),
)


class EmbeddedMongo:
    """One use of the embedded MongoDB, from `start` to `close` or the end of the process, however it ends."""

    def __init__(self, starter: _Starter, port: int, users_lock: int) -> None:
        self.port = port
        # By the set's name, not directConnection: the driver then waits for a primary while mongod restarts.
        self.uri = f"mongodb://{LOOPBACK}:{port}/?replicaSet={REPLICA_SET}"
        self._starter = starter
        self._users_lock = users_lock
        self._closed = threading.Event()
        self._closing = threading.Lock()
        threading.Thread(target=self._replace_dead_keeper, name="embedded-mongo", daemon=True).start()

    def close(self) -> None:
        """Leave. mongod stops gracefully a few seconds after the last user has left. May be called again."""
        with self._closing:
            if not self._closed.is_set():
                self._closed.set()
                os.close(self._users_lock)

    def _replace_dead_keeper(self) -> None:
        """Without a keeper (kill -9, out of memory) nobody would restart mongod, or stop it.

        One that gave mongod up (the disk is full, say) is replaced as well, less often, since what stood in the way may
        be gone by then. Each reason is told once.
        """
        told, pause_s = "", KEEPER_CHECK_INTERVAL_S
        while not self._closed.wait(pause_s):
            try:
                if not is_at(self._starter.files.users_lock, self._users_lock):
                    logger.error("The embedded MongoDB was deleted while in use: restart this process.")
                    return
                if not self._starter.keeper_is_alive():
                    if not told:
                        self._starter.raise_if_given_up()
                        logger.warning("The keeper of the embedded MongoDB is gone; starting another.")
                    if self._starter.ensure_running() != self.port:
                        logger.error("The embedded MongoDB had to move to another port: restart this process.")
                        return
                told, pause_s = "", KEEPER_CHECK_INTERVAL_S
            except (EmbeddedMongoError, OSError) as error:
                if str(error) != told:
                    logger.error("%s", error)  # noqa: TRY400 - the sentence says it all
                told, pause_s = str(error), GIVEN_UP_PAUSE_S


def start(data_dir: Path, *, extra_args: Sequence[str] = (), grace_s: float = GRACE_S) -> EmbeddedMongo:
    """Join the mongod of `data_dir`, or start it; return when it is the primary of its one-node replica set.

    Blocks for about a second when mongod must start. Data and port are kept between starts; only a port that
    something else has taken meanwhile is replaced. `extra_args`, and the `grace_s` for which mongod outlives
    its last user, count for whoever starts mongod, not for those who join. Raises `EmbeddedMongoError`.
    """
    if sys.platform == "win32":
        raise EmbeddedMongoError("The embedded MongoDB does not run on Windows: use WSL, or set MONGODB_URI.")
    try:
        files = Files.prepare(data_dir)
        starter = _Starter(files, tuple(extra_args), grace_s)
        # Held from here on; while a keeper is stopping mongod, this waits until it has.
        users_lock = lock(files.users_lock, fcntl.LOCK_SH)
        try:
            return EmbeddedMongo(starter, starter.ensure_running(), users_lock)
        except BaseException:
            os.close(users_lock)
            raise
    except OSError as error:
        raise directory_error(data_dir, error) from error


@dataclass(frozen=True)
class _Starter:
    """Makes sure that keeper and mongod run; the start lock lets one at a time do so for a data directory."""

    files: Files
    extra_args: tuple[str, ...]
    grace_s: float

    def ensure_running(self) -> int:
        """Return the port of a mongod that is primary, after starting it if need be."""
        start_lock = lock(self.files.run / "start.lock", fcntl.LOCK_EX)
        try:
            deadline = time.monotonic() + READY_TIMEOUT_S
            # Twice: a keeper may end just when it is joined, and a port be taken just before mongod gets it.
            for _ in range(2):
                with contextlib.suppress(BlockingIOError):
                    self._spawn_keeper(lock(self.files.keeper_lock, fcntl.LOCK_EX | fcntl.LOCK_NB))
                port = self._wait_until_primary(deadline)
                if port is not None:
                    return port
            self.raise_if_given_up()
            require_room(self.files)
            raise EmbeddedMongoError(
                f"mongod was not ready in {READY_TIMEOUT_S:.0f} s: see {self.files.log}, or set MONGODB_URI."
            )
        finally:
            os.close(start_lock)

    def keeper_is_alive(self) -> bool:
        try:
            os.close(lock(self.files.keeper_lock, fcntl.LOCK_SH | fcntl.LOCK_NB))
        except BlockingIOError:
            return True
        return False

    def raise_if_given_up(self) -> None:
        if failure := self.files.status().get("failure"):
            raise EmbeddedMongoError(failure)

    def _spawn_keeper(self, keeper_lock: int) -> None:
        """Start a keeper that inherits `keeper_lock`, so that there is no moment when it lives unnoticed."""
        locks: tuple[int, ...] = (keeper_lock,)
        try:
            require_room(self.files)
            mongod = find_mongod()
            locks = (keeper_lock, *_outlive_deleted(self.files))
            _stop_orphan(self.files)
            self.files.status_file.unlink(missing_ok=True)
            settings = self._keeper_settings(mongod, choose_port(self.files), keeper_lock)
            keeper = Path(__file__).with_name("mongo_keeper.py")
            subprocess.run(  # noqa: S603 - the command line is our own
                [sys.executable, "-I", "-S", str(keeper), json.dumps(settings)],
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                pass_fds=locks,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                check=False,  # this returns when it has forked; how the fork fares is seen by its lock
            )
        finally:
            for lock in locks:
                os.close(lock)

    def _keeper_settings(self, mongod: Path, port: int, keeper_lock: int) -> dict[str, Any]:
        files = self.files
        own_options = ("--dbpath", str(files.data), "--logpath", str(files.log), "--port", str(port))
        return {
            "command": [str(mongod), *own_options, *MONGOD_OPTIONS, *self.extra_args],
            "port": port,
            "grace_s": self.grace_s,
            "lock_fd": keeper_lock,
            "lock_path": str(files.keeper_lock),
            "path_lock_path": str(files.path_lock),
            "users_path": str(files.users_lock),
            "status_path": str(files.status_file),
            "output_path": str(files.run / "mongod.out"),
            "log_path": str(files.log),
        }

    def _wait_until_primary(self, deadline: float) -> int | None:
        """Return the port, or None when the keeper gave up or ended, or the time is over."""
        while time.monotonic() < deadline:
            if not self.keeper_is_alive():
                return None
            port = self.files.status().get("port", self.files.kept_port())
            if isinstance(port, int) and accepts_connections(port) and self._is_primary(port):
                return port
            time.sleep(POLL_S)
        return None

    def _is_primary(self, port: int) -> bool:
        """Take mongod one step towards being primary; say whether it is."""
        try:
            with MongoClient[dict[str, Any]](
                LOOPBACK,
                port,
                directConnection=True,
                retryWrites=False,  # not allowed on the local database
                serverSelectionTimeoutMS=1_000,
                socketTimeoutMS=5_000,
            ) as client:
                options = client.admin.command("getCmdLineOpts")["parsed"]
                if options["storage"]["dbPath"] != str(self.files.data):
                    return False  # another mongod, on a port that ours will fail to get
                if client.admin.command("hello")["isWritablePrimary"]:
                    return True
                _configure(client, f"{LOOPBACK}:{port}")
        except PyMongoError:
            pass  # it is starting, electing itself, or restarting
        return False


def _configure(client: MongoClient[dict[str, Any]], address: str) -> None:
    """Make mongod the only member of its replica set, at this address."""
    members = [{"_id": 0, "host": address}]
    config = client.local["system.replset"].find_one()
    if config is None:
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
    elif config["members"][0]["host"] != address:
        # replSetReconfig with force is refused for half a minute if what has the old port accepts connections
        # and says nothing, as mongod first asks there whether that is itself; nor would it shut down meanwhile.
        # So write it down, flush it (j=True does not do so in this state), and have the keeper start mongod again.
        config |= {"members": members, "version": config["version"] + 1}
        client.local["system.replset"].replace_one({"_id": config["_id"]}, config)
        client.admin.command("fsync")
        os.kill(client.admin.command("serverStatus")["pid"], signal.SIGKILL)


def _outlive_deleted(files: Files) -> tuple[int, ...]:
    """Wait for the end of a mongod whose directory was deleted: it writes by name, thus into the new one.

    Its keeper, which looks every second whether the directory is still the same, kills it then. This returns a
    lock to be held by the keeper, or nothing if it can't be had: in shared /tmp, another system's may have it.
    """
    deadline = time.monotonic() + DELETED_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            return (lock(files.path_lock, fcntl.LOCK_EX | fcntl.LOCK_NB),)
        time.sleep(POLL_S)
    return ()


def _stop_orphan(files: Files) -> None:
    """Stop a mongod whose keeper died. It locks its pid file, so a stale or recycled pid is no danger."""
    pid_file = files.data / "mongod.lock"
    began_at = time.monotonic()
    stop_signals = [(ORPHAN_STOP_TIMEOUT_S, signal.SIGKILL), (0.0, signal.SIGTERM)]
    while True:
        with contextlib.suppress(BlockingIOError):
            os.close(lock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB))
            return
        waited_s = time.monotonic() - began_at
        pid = pid_file.read_bytes().strip().decode(errors="replace")
        if pid and _is_ours(pid, files.status()):
            if stop_signals and waited_s >= stop_signals[-1][0]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), stop_signals.pop()[1])
        elif waited_s > (DYING_TIMEOUT_S if pid else ORPHAN_STOP_TIMEOUT_S):  # it empties the file as it stops
            raise EmbeddedMongoError(
                f"Another mongod (process {pid or 'unknown'}) uses {files.data}: stop it, or set MONGODB_URI to use it."
            )
        time.sleep(POLL_S)


def _is_ours(pid: str, status: Mapping[str, Any]) -> bool:
    """Whether the keeper started this mongod. One that was killed while starting it had not yet told its pid."""
    return "mongod_pid" in status and str(status["mongod_pid"]) in (pid, "None")
