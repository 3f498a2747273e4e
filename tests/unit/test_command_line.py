"""The command line as a whole."""

import subprocess
import sys

IMPORTS_NO_SERVER = """
import sys
import cli
assert not {"motor", "fastapi", "uvicorn", "services.psp"} & set(sys.modules), sorted(sys.modules)
"""


def test_a_command_that_needs_no_server_waits_for_none_to_be_imported() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS_NO_SERVER], check=True)
