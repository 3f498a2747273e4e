"""A terminal into which the blocks of a page are pasted, one after the other, and what it prints."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import free_port
from tests.docs.markdown import ROOT
from tests.processes import clean_environment

RUN, SHOWN, DRAWN = {"sh", "bash", "python"}, {"json", "text"}, {"mermaid"}
BLOCK_S = 90
PORTS = ("HOOK_PORT", "BANK_PORT", "SECOND_PORT")

# What is another one each time that a page is followed: ids, proofs, moments, ports, secrets.
_CHANGING = [
    (re.compile(r"/3ds/txn_\w{26}/\w+"), "/3ds/txn_/"),
    (re.compile(r"\b([a-z]{2,5})_[0-9a-z]{26}\b"), r"\1_"),
    (re.compile(r"\b(whsec|psp_sk)_[\w/+=…-]+"), r"\1_"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "moment"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "time"),
    (re.compile(r"\bin \d+ ms\b"), "in ms"),
    (re.compile(r"//(127\.0\.0\.1|localhost):\d+"), "//host"),
]


def form(text: str) -> str:
    """The text without what is another one each time."""
    for pattern, constant in _CHANGING:
        text = pattern.sub(constant, text)
    return text.strip()


class Terminal:
    """One bash for all blocks: it ends with the first command that fails, and with it what runs in its background."""

    def __init__(self, directory: Path, shown_within_s: float = 30, **settings: str) -> None:
        directory.mkdir()
        self._shown_within_s = shown_within_s
        self._directory = directory
        self._log = directory / "printed"
        self._blocks = self._begin = 0
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with self._log.open("ab") as output:
            self._bash = subprocess.Popen(
                ["bash", "-eu", "-o", "pipefail"],
                cwd=ROOT,
                env={
                    **clean_environment(**{**{name: str(free_port()) for name in PORTS}, **settings}),
                    "PATH": path,
                    "COLUMNS": "200",
                    "TMPDIR": str(directory),
                },
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._type("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT")

    def follow(self, page: list[tuple[str, str]]) -> None:
        """Run what is to be run and look for what is shown. Raises AssertionError for a block of another language."""
        for language, code in page:
            assert language in RUN | SHOWN | DRAWN, f"what is to be done with a block of {language!r}?\n{code}"
            if language in RUN:
                self._run(language, code)
            elif language in SHOWN:
                self._look_for(language, code)

    def _run(self, language: str, code: str) -> None:
        """Paste a block and wait for its end. Raises AssertionError where a command fails."""
        self._blocks += 1
        self._begin = len(self._log.read_bytes())
        script = self._directory / f"{self._blocks}.{language}"
        script.write_text(code, "utf-8")
        done = f"-- block {self._blocks} is done --"
        self._type(f"{'python3' if language == 'python' else 'source'} '{script}' </dev/null; echo '{done}'")
        self._wait_for(lambda: done in self._printed, BLOCK_S, f"this does not come to its end:\n{code}")

    def _look_for(self, language: str, shown: str) -> None:
        """Wait until the last block has printed what the page shows: an answer, or each of these lines."""
        if language == "json":
            answer = form(json.dumps(json.loads(shown), sort_keys=True))
            self._wait_for(
                lambda: answer in set(self._answers()), self._shown_within_s, f"nothing printed is\n{shown}", answer
            )
        else:
            lines = {form(line) for line in shown.splitlines()}
            self._wait_for(
                lambda: lines <= {form(line) for line in self._printed.splitlines()},
                self._shown_within_s,
                f"not printed:\n{shown}",
            )

    @property
    def everything(self) -> str:
        """All that was printed so far."""
        return self._log.read_text("utf-8")

    @property
    def _printed(self) -> str:
        """Since the last block began."""
        return self._log.read_bytes()[self._begin :].decode()

    def _answers(self) -> Iterator[str]:
        for start in re.finditer(r"^[\[{]", self._printed, re.MULTILINE):
            try:
                answer: Any = json.JSONDecoder().raw_decode(self._printed, start.start())[0]
            except ValueError:
                continue
            yield form(json.dumps(answer, sort_keys=True))

    def _type(self, line: str) -> None:
        assert self._bash.stdin is not None
        try:
            print(line, file=self._bash.stdin, flush=True)
        except BrokenPipeError:
            raise AssertionError(self.everything) from None

    def _wait_for(self, done: Callable[[], bool], timeout_s: float, complaint: str, *more: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            ended = self._bash.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError("\n\n".join([complaint, *more, "printed:", self._printed]))
            time.sleep(0.02)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(30)
