"""Processes of the product that are killed and come back, with the MongoDB that they share."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType

from tests.processes import ROOT, clean_environment

LOOK_S = 0.1
STOP_S = 30
KINDS = ("api", "worker", "mongod")
RUNS = ("Worker running", "Application startup complete")


class Member:
    """A process that is started again whenever it has ended."""

    def __init__(self, name: str, command: str, directory: Path, settings: dict[str, str]):
        self.name = name
        self._command = command
        self._directory = directory
        self._settings = settings
        self._starts = 0
        self.start()

    @property
    def log(self) -> Path:
        """Of this life."""
        return self._directory / f"{self.name}-{self._starts}.log"

    def start(self) -> None:
        self._starts += 1
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "cli.py"), self._command],
                cwd=self._directory,  # where no `.env` is
                env=clean_environment(**self._settings),
                stdout=output,
                stderr=output,
            )

    def runs(self) -> bool:
        """Whether it had come as far as to do its work."""
        text = self.log.read_text(errors="replace")
        return any(mark in text for mark in RUNS)


class Fleet:
    """API processes, workers and one mongod. What is killed comes back: members by us, mongod by its keeper."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._members: list[Member] = []
        self._watcher: asyncio.Task[None] | None = None
        self.kills: Counter[str] = Counter()
        self.failed_starts = 0
        """Starts that MongoDB, being away, did not let come to their end."""
        self.ended: list[str] = []
        """The logs of those that ended by themselves while they worked. Nothing may be the reason for that."""

    def add(self, name: str, command: str, **settings: str) -> Member:
        settings |= {"DATA_DIR": str(self._data_dir)}
        member = Member(name, command, self._data_dir.parent, settings)
        self._members.append(member)
        return member

    def kill_one(self, kind: str, chance: random.Random) -> None:
        """Kill -9 one of this kind; a worker in place of a mongod that is not there just now."""
        if kind == "mongod" and not self._kill_mongod():
            kind = "worker"
        if kind != "mongod":
            member = chance.choice([one for one in self._members if one.name.startswith(kind)])
            member.process.kill()
        self.kills[kind] += 1

    def _kill_mongod(self) -> bool:
        try:
            pid = json.loads((self._data_dir / "mongodb" / "keeper" / "status.json").read_text()).get("mongod_pid")
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if str(self._data_dir).encode() not in command:
                return False
            os.kill(pid, signal.SIGKILL)
        except OSError:
            return False
        return True

    async def _watch(self) -> None:
        while True:
            for member in self._members:
                if member.process.poll() is None:
                    continue
                if member.process.returncode != -signal.SIGKILL:
                    if member.runs():
                        self.ended.append(f"{member.log}:\n{member.log.read_text(errors='replace')[-3000:]}")
                    else:
                        self.failed_starts += 1
                member.start()
            await asyncio.sleep(LOOK_S)

    async def __aenter__(self) -> "Fleet":
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watcher is not None
        self._watcher.cancel()
        await asyncio.gather(self._watcher, return_exceptions=True)
        for member in self._members:
            member.process.terminate()
        for member in self._members:
            try:
                await asyncio.to_thread(member.process.wait, STOP_S)
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
