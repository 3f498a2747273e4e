"""Keeps one mongod alive for as long as somebody uses it: a program of its own, started by `embedded_mongo`.

It is mongod's parent, in a session of its own, so neither a Ctrl-C nor the death of whoever started it
reaches mongod. It promises to

- start mongod again, on the same port, whenever it ends while somebody uses it; and to give up, with the
  reason left in the status file, when it cannot run at all or keeps ending;
- stop it gracefully once nobody has used it for the grace period;
- keep its log below about twice `LOG_LIMIT_BYTES`.

A user is whoever holds a shared lock on the users file. The kernel drops that lock even on kill -9, so the
last to leave is known exactly. Only the standard library is imported, as it runs with `python -I -S`: without
site-packages, which keeps it small, and without this directory, whose `logging.py` would hide the standard
one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

POLL_S = 1.0
LAUNCH_POLL_S = 0.1
STOP_TIMEOUT_S = 30.0
LOG_LIMIT_BYTES = 16 * 1024 * 1024
LOG_READ_BYTES = 1024 * 1024
LOG_CHECK_INTERVAL_S = 60.0
FAILURES_ALLOWED = 4
STEADY_AFTER_S = 30.0
OPEN_FILES_WANTED = 64_000
DEBIAN_PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


class Keeper:
    """One mongod and its users. `settings` are `embedded_mongo`'s: paths, the command line, the grace."""

    mongod: subprocess.Popen[bytes]

    def __init__(self, settings: dict[str, Any]) -> None:
        self.command: list[str] = settings["command"]
        self.port: int = settings["port"]
        self.grace_s: float = settings["grace_s"]
        self.lock_fd: int = settings["lock_fd"]  # locked since before this process was born
        self.lock_path = Path(settings["lock_path"])
        self.users_fd = os.open(settings["users_path"], os.O_RDWR)
        self.status_path = Path(settings["status_path"])
        self.output_path = Path(settings["output_path"])
        self.log_path = Path(settings["log_path"])
        self.log_offset = 0
        self.log_checked_at = time.monotonic()
        self.launched_at = 0.0
        self.serves = False
        self.idle_since: float | None = None
        self.told_to_stop = False
        self.wakeup_fd = self._wake_on_signals()

    def run(self) -> None:
        """Return once mongod has stopped for want of users, or is given up."""
        failures = 0
        has_served = False
        while failures <= FAILURES_ALLOWED:
            time.sleep(0.05 * 2**failures if failures else 0)
            try:
                if not self._owns_directory():
                    return
                self._launch()
            except OSError as error:
                self._report(failure=_cannot_run(error.strerror or str(error)))
                return
            self._watch()
            if self.mongod.returncode is None:
                self._stop()
                return
            if self._nobody_left():
                return
            has_served = has_served or self.serves
            if not has_served and self.mongod.returncode != -signal.SIGKILL:
                break  # it refuses to start, and whoever starts it waits for the reason
            failures = 0 if self._is_blameless() else failures + 1
        self._report(failure=self._explain())

    def _launch(self) -> None:
        self._bound_log()
        self.log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.serves = False
        self._report(mongod_pid=None)
        with self.output_path.open("wb") as output:
            self.mongod = subprocess.Popen(  # noqa: S603 - the command line is our own
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.launched_at = time.monotonic()
        self._report(mongod_pid=self.mongod.pid)

    def _watch(self) -> None:
        """Return when mongod has ended or, with no return code yet, when nobody needs it."""
        while self.mongod.poll() is None:
            if not self._owns_directory():
                self.mongod.kill()  # gracefully, it would write into what may be another's directory now
            elif self.told_to_stop or self._nobody_left():
                return
            self.serves = self.serves or self._accepts_connections()
            check_log = self.serves and time.monotonic() - self.log_checked_at > LOG_CHECK_INTERVAL_S
            if check_log and self._bound_log():
                self.mongod.send_signal(signal.SIGUSR1)  # `--logRotate reopen`: open it by its name again
            self._sleep(min(POLL_S, max(self.grace_s, LAUNCH_POLL_S)) if self.serves else LAUNCH_POLL_S)

    def _is_blameless(self) -> bool:
        """An end from outside (kill -9, clean shutdown), or after a while, says nothing against a restart."""
        from_outside = self.mongod.returncode in (0, -signal.SIGKILL)
        return self.serves and (from_outside or time.monotonic() - self.launched_at > STEADY_AFTER_S)

    def _nobody_left(self) -> bool:
        """True once the grace is over; the lock is then kept, so that who comes now waits for our exit."""
        try:
            fcntl.flock(self.users_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.idle_since = None
            return False
        now = time.monotonic()
        self.idle_since = self.idle_since or now
        if now - self.idle_since >= self.grace_s:
            return True
        fcntl.flock(self.users_fd, fcntl.LOCK_UN)
        return False

    def _stop(self) -> None:
        self._report(mongod_pid=self.mongod.pid, port=None)
        self.mongod.terminate()
        try:
            self.mongod.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.mongod.kill()  # the journal makes this safe, and a hung mongod would block the next start
            self.mongod.wait()

    def _owns_directory(self) -> bool:
        """False when the data directory was deleted, and perhaps made anew with another keeper."""
        try:
            return os.path.samestat(os.fstat(self.lock_fd), self.lock_path.stat())
        except OSError:
            return False

    def _accepts_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _bound_log(self) -> bool:
        """Put a log that has grown long aside, in place of the one before; say whether it was."""
        self.log_checked_at = time.monotonic()
        with contextlib.suppress(OSError):
            if self.log_path.stat().st_size > LOG_LIMIT_BYTES:
                self.log_path.replace(f"{self.log_path}.1")
                return True
        return False

    def _report(self, **facts: object) -> None:
        """Leave the facts where starters and users look; whole or not at all, as they may be reading."""
        new = self.status_path.with_suffix(".new")
        with contextlib.suppress(OSError):  # the disk may be full; then they find no status, and look why
            new.write_text(json.dumps({"port": self.port, **facts}), encoding="utf-8")
            new.replace(self.status_path)

    def _explain(self) -> str:
        """One sentence on why mongod does not run and what to do, from what it left."""
        output = _read(self.output_path)
        if missing := re.search(r"(?:shared libraries|Library not loaded): ([^\s:]+)", output):
            package = DEBIAN_PACKAGES.get(missing[1])
            how = f"`apt-get install {package}` brings it on Debian and Ubuntu" if package else "install it"
            return f"mongod needs {missing[1]}, a shared library that is missing: {how}, or set MONGODB_URI."
        if newer := re.search(r"version `(\S+)' not found", output):
            return _cannot_run(f"it needs {newer[1]}, newer than this system's")
        if self.mongod.returncode == -signal.SIGILL:
            return _cannot_run("it needs a processor with AVX")
        reason = _first_error(_read(self.log_path, self.log_offset)) or output.strip().partition("\n")[0]
        return (
            f"mongod does not stay up (exit code {self.mongod.returncode}, {reason or 'no reason given'}): "
            f"see {self.log_path}, or set MONGODB_URI to another MongoDB."
        )

    def _wake_on_signals(self) -> int:
        """A pipe that becomes readable when mongod ends, so its restart need not wait for the next poll."""
        wakeup_fd, written_fd = os.pipe()
        os.set_blocking(wakeup_fd, False)
        os.set_blocking(written_fd, False)
        signal.set_wakeup_fd(written_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        return wakeup_fd

    def _on_sigterm(self, *_: object) -> None:
        self.told_to_stop = True

    def _sleep(self, seconds: float) -> None:
        select.select([self.wakeup_fd], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup_fd, 4096)


def _cannot_run(why: str) -> str:
    return f"mongod cannot run on this machine ({why}): set MONGODB_URI, or put another mongod on the PATH."


def _read(path: Path, offset: int = 0) -> str:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(LOG_READ_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _first_error(log: str) -> str | None:
    """The first error in mongod's log (a JSON object a line): those after it only follow from it."""
    for line in log.splitlines():
        with contextlib.suppress(ValueError, KeyError):
            entry = json.loads(line)
            if entry["s"] in ("E", "F"):
                cause = entry.get("attr")
                while isinstance(cause, dict):
                    names = (name for name in ("error_str", "errmsg", "message", "error") if name in cause)
                    cause = cause.get(next(names, ""))
                return " ".join(str(cause or entry["msg"]).split())
    return None


def _raise_open_files_limit() -> None:
    """mongod needs a descriptor for each connection and file; macOS grants 256 unless asked."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_WANTED)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    if os.fork():  # the starter waits for its child, and so has no zombie of ours to reap later
        os._exit(0)
    _raise_open_files_limit()
    settings = json.loads(sys.argv[1])
    Keeper(settings).run()
    Path(settings["path_lock_path"]).unlink(missing_ok=True)  # it would be litter in /tmp


if __name__ == "__main__":
    main()
