"""The processes that tests start by a fork are what a fresh Python would have been."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Server
from tests.processes import start


def test_one_has_the_environment_that_it_was_given_and_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOCK_PSP_API_KEY", "psp_sk_ours")
    process = start(["cli.py", "listen"], {"PORT": "none"}, tmp_path / "without.log")
    assert process.wait(60) == 2
    assert (tmp_path / "without.log").read_text().startswith("Error: An API key is needed")

    process = start(["cli.py", "listen"], {"PORT": "none", "MOCK_PSP_API_KEY": "psp_sk_own"}, tmp_path / "with.log")
    assert process.wait(60) == 2
    assert (tmp_path / "with.log").read_text().startswith("Error: PORT: ")


def test_one_holds_no_file_or_socket_of_another_and_is_gone_when_it_was_killed(
    start_server: Callable[..., Server],
) -> None:
    servers = [start_server(WORKER="off") for _ in range(2)]
    first, second = (targets(server.process.pid) for server in servers)

    assert str(servers[1].log) in second - first
    assert str(servers[0].log) in first - second
    assert not {one for one in first & second if one.startswith("socket:")}
    with pytest.raises(subprocess.TimeoutExpired):
        servers[0].process.wait(0.01)
    servers[0].kill()
    assert servers[0].process.poll() == -signal.SIGKILL
    assert not Path(f"/proc/{servers[0].process.pid}").exists()
    assert servers[1].process.poll() is None


def targets(pid: int) -> set[str]:
    found: set[str] = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(one.readlink()))
    return found
