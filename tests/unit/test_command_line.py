"""The command line as a whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import main  # noqa: TID251 - the application itself is looked at here
from cli import app  # noqa: TID251 - the command line itself is what is tested

IMPORTS_NO_SERVER = """
import sys
import cli
assert not {"motor", "fastapi", "uvicorn", "services.psp"} & set(sys.modules), sorted(sys.modules)
"""


def test_a_command_that_needs_no_server_waits_for_none_to_be_imported() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS_NO_SERVER], check=True)


@pytest.mark.parametrize("arguments", [["openapi", "-o", "openapi.json"], ["postman", "-o", "."]])
def test_the_documents_are_those_of_the_application_that_is_there_already(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_second_one() -> None:
        raise AssertionError("the application takes half a second to build")

    printed = tmp_path / "printed"
    printed.mkdir()
    monkeypatch.chdir(printed)
    monkeypatch.setattr(main, "create_app", no_second_one)

    done = CliRunner().invoke(app, arguments, catch_exceptions=False)

    assert done.exit_code == 0
    assert all(json.loads(written.read_text()) for written in printed.iterdir())
