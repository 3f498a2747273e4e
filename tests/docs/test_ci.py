"""docs/ci.md and the workflow in examples/ci, run as a pipeline would run them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import free_port
from tests.docs.markdown import ROOT, blocks, read
from tests.processes import clean_environment

PAGE = read("docs/ci.md")
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "examples/ci/workflow.yml").read_text("utf-8"))
(JOB,) = WORKFLOW["jobs"].values()
STOP = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with its tests, and Mock PSP checked out inside."""
    checkout = tmp_path / "printed"
    checkout.mkdir()
    (checkout / "mock-psp").symlink_to(ROOT)
    shutil.copytree(ROOT / "examples/ci/tests", checkout / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    return checkout


def run(script: str, checkout: Path, **settings: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", f"{STOP}\n{script}"],
        cwd=checkout,
        env={**clean_environment(**settings), "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + (checkout / "mock-psp.log").read_text()
    return done.stdout


def test_the_pages_commands_run_one_after_the_other(checkout: Path) -> None:
    printed = run("\n".join(blocks(PAGE, "bash")), checkout, PORT=str(free_port()))

    assert "4 passed" in printed
    assert "2 passed" in printed
    assert "documents deleted" in printed


def test_the_workflow_does_what_the_page_does() -> None:
    steps = {step["name"]: step["run"] for step in JOB["steps"] if "run" in step}
    commands = "\n".join(blocks(PAGE, "bash"))

    assert next(iter(steps)) == "Install"  # which the environment of this test is
    for name, command in list(steps.items())[1:-1]:
        assert command in commands, name
    for name, value in JOB["env"].items():
        if name not in ("PORT", "MOCK_PSP_URL"):
            assert f"{name}={value}" in commands


def test_what_the_page_quotes_stands_in_the_examples() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "examples/ci/tests").rglob("*.py"))

    assert len(blocks(PAGE, "python")) == 2
    for block in blocks(PAGE, "python"):
        assert block in sources
