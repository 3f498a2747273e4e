"""The product's processes, forked from one that has imported it: a fresh Python imports for two seconds.

They are processes as any other: killed for real, with an environment of their own. What is left of the parent is said
in `_become`. Real starts are tested where the documents say how (tests/docs).
"""

import logging
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parent.parent
STOP_S = 20
# Modules that `cli.py` imports when a command needs them. (One that is left out costs time and nothing else.)
_PRELOADED = ["tests.processes", "main", "cli", "bank.app", "commands.processes", "commands.audit"]
_PRELOADED += ["commands.documents", "commands.reset", "commands.seed", "commands.status"]
_PRELOADED += ["routers.http_protocol", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.loops.uvloop"]
_PRELOADED += ["uvicorn.protocols.websockets.auto", "typer._adapters", "fastapi.telemetry._runtime", "tests.settled"]
_fork = get_context("forkserver")
_fork.set_forkserver_preload(_PRELOADED)


class Process:
    """A command of the product, such as `cli.py serve`, to be handled as a `subprocess.Popen` is."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        directory: Path,
        output: tuple[Connection, Connection],
        prepare: Callable[[], None] | None = None,
    ):
        """Start it, with this output and error output. What is to be prepared is done inside it, first of all."""
        self._arguments = tuple(command)
        # A daemon to `multiprocessing`: none is left when the tests are over.
        self._process = _fork.Process(
            target=_become, args=(self._arguments, environment, directory, output, prepare), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that has ended it. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it, if it has not ended by itself."""
        self.terminate()
        try:
            self.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()


def start(
    command: Sequence[str],
    environment: dict[str, str],
    log: Path,
    prepare: Callable[[], None] | None = None,
) -> Process:
    """Start a command that adds all it prints to a log, and works where the log is: no `.env` is there."""
    output = Connection(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), readable=False)
    with output:
        return Process(command, environment, log.parent, (output, output), prepare)


def pipe() -> tuple[TextIO, Connection]:
    """What is printed into the second can be read from the first."""
    reader, writer = os.pipe()
    return os.fdopen(reader, encoding="utf-8"), Connection(writer, readable=False)


def type_in(text: str) -> None:
    """To prepare a process: this is what it reads from its standard input, to the end."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    os.dup2(reader, sys.stdin.fileno())
    os.close(reader)


@contextmanager
def running(command: list[str], log: Path, **settings: str) -> Iterator[Process]:
    """A command of the product, stopped at the end."""
    process = start(command, clean_environment(**settings), log)
    try:
        yield process
    finally:
        process.stop()


def clean_environment(**settings: str) -> dict[str, str]:
    """This environment without any setting of the product, so that a developer's `.env` changes no test."""
    ours = {"ENVIRONMENT", "WORKER", "HOST", "PORT", "DATA_DIR"}
    prefixes = ("MONGODB_", "JWT_", "ENCRYPTION_", "SYSTEM_ADMIN_", "WEBHOOK_", "PROCESSING_", "PASSWORD_", "ACCESS_")
    prefixes += ("BANK_", "MAGIC_", "RETENTION_", "TRUSTED_", "CORS_", "RATE_", "LOGIN_", "METRICS_")
    kept = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith(prefixes)}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings}


def _become(
    command: tuple[str, ...],
    environment: dict[str, str],
    directory: Path,
    output: tuple[Connection, Connection],
    prepare: Callable[[], None] | None,
) -> None:
    """Be what `python cli.py …` would be: nothing is left of the process this one was forked from but its modules."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(directory)
    # As in a terminal: a job in the background of a shell ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(os.devnull).open("rb") as nothing, output[0], output[1]:
        for number, file in enumerate((nothing, *output)):
            os.dup2(file.fileno(), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    # Each line is to be read as soon as it is printed.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False) for number in (1, 2))
    # A command passes its logs through a function when it starts, and a server makes its application.
    logging.setLogRecordFactory(logging.LogRecord)
    sys.modules.pop("main", None)
    if prepare is not None:
        prepare()
    sys.argv = [str(ROOT / command[0]), *command[1:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
