"""What an API process and a worker ask of the database while nothing happens, by MongoDB's own count."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure
from benchmarks.stack import BenchmarkFailed, Stack

PART = "idle"
GREATEST_PER_S = 5.0
OPERATIONS = ("insert", "query", "update", "delete", "getmore", "command")
START_S, SETTLE_S = 60.0, 5.0


def run(stack: Stack, *, rounds: int, seconds: float, tell: Callable[[str], None]) -> list[Figure]:
    """With both running, less what is counted without either: the measuring, and what else uses this MongoDB."""
    idle = Figure(PART, "an API process and one worker", "operations/s", greatest=GREATEST_PER_S)
    without = Figure(PART, "neither, already taken off", "operations/s")
    for number in range(rounds):
        tell(f"idle, round {number + 1} of {rounds}: neither an API process nor a worker")
        without.values.append(_operations_per_s(stack, seconds))
        with stack.running_product("idle", worker="off"), stack.running_worker("idle"):
            _wait_until_listening(stack)
            tell(f"idle, round {number + 1} of {rounds}: both")
            idle.values.append(_operations_per_s(stack, seconds) - without.values[-1])
    return [idle, without]


def _wait_until_listening(stack: Stack) -> None:
    """The worker waits for hints, and both have opened their connections. Raises BenchmarkFailed."""
    listening: list[dict[str, Any]] = [{"$currentOp": {}}, {"$match": {"ns": "idle.signals", "op": "getmore"}}]
    deadline = time.monotonic() + START_S
    while not list(stack.client.admin.aggregate(listening)):
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"The worker did not listen after {START_S:g} s.")
        time.sleep(0.1)
    time.sleep(SETTLE_S)


def _operations_per_s(stack: Stack, seconds: float) -> float:
    before, began_at = _operations(stack), time.monotonic()
    time.sleep(seconds)
    return (_operations(stack) - before) / (time.monotonic() - began_at)


def _operations(stack: Stack) -> int:
    counted = stack.client.admin.command("serverStatus")["opcounters"]
    return sum(int(counted[kind]) for kind in OPERATIONS)
