"""`cli.py worker` in a process of its own that stops dead at one step, as if it had been killed just there.

The step is a method of the product, named from outside: nothing in the product knows of this.
"""

import os
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.processes import Process, clean_environment, start

STOPPED = 77
"""The exit code of a worker that has come to its crash point."""


@dataclass(frozen=True)
class CrashPoint:
    """Right before the real call of a method, or right after it; of the calls, the first that has something to do."""

    method: str
    """As `module:Class.method`."""
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.method.partition(':')[2]}"


def start_worker(settings: dict[str, str], log: Path, point: CrashPoint | None = None) -> Process:
    """Start a worker; without a crash point it goes on until it is terminated."""
    prepare = partial(_stop_at, point) if point is not None else None
    return start(["cli.py", "worker"], clean_environment(**settings), log, prepare)


def _stop_at(point: CrashPoint) -> None:
    module, _, path = point.method.partition(":")
    name, _, method = path.partition(".")
    owner = getattr(import_module(module), name)
    real = getattr(owner, method)

    async def stopping(self: Any, *args: Any, **options: Any) -> Any:
        # A loop with nothing to do calls with an empty list, or gets one.
        something_to_do = not args or bool(args[0])
        if something_to_do and not point.after:
            os._exit(STOPPED)
        result = await real(self, *args, **options)
        if something_to_do and (result is None or result):
            os._exit(STOPPED)
        return result

    setattr(owner, method, stopping)
