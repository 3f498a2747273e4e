"""How long a start takes: from the command to the first answered request, with a MongoDB of its own."""

import fcntl
import http.client
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks.client import API
from benchmarks.figures import Figure
from benchmarks.stack import LOOPBACK, READY_S, BenchmarkFailed, Stack
from core.mongo_files import Files, lock

PART = "start to first answer"
GREATEST_S = 3.0
LOOK_AGAIN_S = 0.01


def run(stack: Stack, *, rounds: int, tell: Callable[[str], None]) -> list[Figure]:
    """Each round starts in an empty directory, and once more where that has left its data. Raises BenchmarkFailed."""
    first = Figure(PART, "nothing there", "s")
    again = Figure(PART, "data from before", "s", greatest=GREATEST_S)
    for number in range(rounds):
        for figure in (first, again):
            tell(f"start, round {number + 1} of {rounds}: {figure.name}")
            figure.values.append(_start(stack, f"start_{number}"))
    return [first, again]


def _start(stack: Stack, name: str) -> float:
    began_at = time.perf_counter()
    with stack.running_by_itself(name) as (server, data):
        while not _answers(server.port):
            if server.process.poll() is not None or time.perf_counter() - began_at > READY_S:
                raise BenchmarkFailed("The product did not start with a MongoDB of its own.")
            time.sleep(LOOK_AGAIN_S)
        took_s = time.perf_counter() - began_at
    _wait_until_mongod_has_ended(data)
    return took_s


def _answers(port: int) -> bool:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=READY_S)) as connection:
        try:
            connection.request("GET", f"{API}/status")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False


def _wait_until_mongod_has_ended(data: Path) -> None:
    # Its keeper holds this lock for as long as it runs.
    os.close(lock(Files.prepare(data).keeper_lock, fcntl.LOCK_EX))
