"""The command line as its user has it: processes of their own, with what they print."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

from tests.conftest import Server
from tests.factories import Account
from tests.processes import ROOT, Process, clean_environment, pipe, type_in


def environment(server: Server | None, account: Account | None, **settings: str) -> dict[str, str]:
    """What a command reads of its environment: the server and the account it speaks for."""
    ours = {name: value for name, value in clean_environment(**settings).items() if not name.startswith("MOCK_PSP_")}
    if server is not None:
        ours["MOCK_PSP_URL"] = server.url
    if account is not None:
        ours["MOCK_PSP_API_KEY"] = account.api_key
    return {**ours, "COLUMNS": "500"}


def command(*arguments: str, cwd: Path, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that comes to its end. What was typed is all that it could ask for."""
    with TemporaryFile("w+", encoding="utf-8") as printed, TemporaryFile("w+", encoding="utf-8") as complaints:
        output, errors = (Connection(os.dup(file.fileno()), readable=False) for file in (printed, complaints))
        with output, errors:
            process = Process(["cli.py", *arguments], environment, cwd, (output, errors), partial(type_in, typed))
        try:
            code = process.wait(120)
        finally:
            process.kill()
            process.wait()
        printed.seek(0)
        complaints.seek(0)
        return subprocess.CompletedProcess(arguments, code, printed.read(), complaints.read())


def fresh_command(*arguments: str, cwd: Path, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in a Python of its own: nothing is imported but by the command itself. Takes two seconds more."""
    return subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        cwd=cwd,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Running:
    """A command that goes on until it is stopped."""

    def __init__(self, process: Process, output: TextIO, complaints: TextIO):
        self.process = process
        self._output = output
        self._errors = complaints
        self.complaints = ""
        self._lines: queue.Queue[str] = queue.Queue()
        self._threads = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_complaints)]
        for thread in self._threads:
            thread.start()

    def line(self, timeout_s: float = 60) -> str:
        """The next line that it prints."""
        try:
            return self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise AssertionError(f"it printed nothing more; complaints: {self.complaints!r}") from None

    def object(self) -> dict[str, Any]:
        """The next line, which is JSON."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def objects(self, count: int) -> list[dict[str, Any]]:
        return [self.object() for _ in range(count)]

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self.join()
        return code

    def join(self) -> None:
        """Read all that it has printed, once it has ended."""
        for thread in self._threads:
            thread.join(20)

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line.rstrip("\n"))

    def _read_complaints(self) -> None:
        for line in self._errors:
            self.complaints += line


@contextmanager
def following(*arguments: str, cwd: Path, **environment: str) -> Iterator[Running]:
    (printed, output), (complaints, errors) = pipe(), pipe()
    with output, errors:
        process = Process(["cli.py", *arguments], environment, cwd, (output, errors))
    with printed, complaints:
        running = Running(process, printed, complaints)
        try:
            yield running
        finally:
            process.kill()
            process.wait()
            running.join()
