"""`cli.py worker` in a process of its own that stops dead at one step, as if it had been killed just there.

The step is a method of the product, named from outside: nothing in the product knows of this.
"""

import os
import runpy
import sys
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, clean_environment

STOPPED = 77
"""The exit code of a worker that has come to its crash point."""
# A process forked from one that has imported everything starts in a moment.
_fork = get_context("forkserver")
_fork.set_forkserver_preload(
    ["tests.chaos.crashing_worker", "workers.runner", "bank.app", "commands.signatures", "uvicorn"]
)


@dataclass(frozen=True)
class CrashPoint:
    """Right before the real call of a method, or right after it; of the calls, the first that has something to do."""

    method: str
    """As `module:Class.method`."""
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.method.partition(':')[2]}"


def start_worker(settings: dict[str, str], log: Path, point: CrashPoint | None = None) -> BaseProcess:
    """Start a worker; without a crash point it goes on until it is terminated."""
    process = _fork.Process(target=_work, args=(clean_environment(**settings), log, point), daemon=True)
    process.start()
    return process


def _work(environment: dict[str, str], log: Path, point: CrashPoint | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(log.parent)  # where no `.env` is
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if point is not None:
        _stop_at(point)
    sys.argv = ["cli.py", "worker"]
    runpy.run_path(str(ROOT / "cli.py"), run_name="__main__")


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
