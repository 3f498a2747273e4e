"""README.md: the walk is run, the settings and the links are compared."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import Settings
from tests.conftest import Server, free_port
from tests.docs.markdown import ROOT, blocks, code, read, rows, section
from tests.tables import each

WALK = section(read("README.md"), "## A five-minute walk")
MORE = section(read("README.md"), "## Decline a card, ask for 3-D Secure, give money back")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda page: str(page))


# A person has slept long enough when the next thing is there; a busy machine may take longer. So each `sleep` of the
# README waits for what it is followed by.
SLEEP = r"""
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
slept=0
sleep() {
  case $((slept += 1)) in
    1) printed 1 "listening" ;;
    2) printed 3 "payment" ;;
    3) is "completed" ;;
    4) is "partially_refunded" ;;
    *) echo "nothing is known of this sleep" >&2; return 1 ;;
  esac
}
printed() { until [ "$(grep -c "^\[webhook\] $2" "$PRINTED")" -ge "$1" ]; do command sleep 0.1; done; }
is() {
  until curl -sS "$PSP/api/v1/payments/$ID" -H "X-API-Key: $API_KEY" | grep "\"status\":\"$1\"" >/dev/null
  do command sleep 0.1; done
}
"""


@pytest.fixture(scope="module")
def printed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the walk and the section after it printed, their blocks run one after the other in one shell, as pasted."""
    script = "\n".join([SLEEP, *blocks(WALK, "bash"), *blocks(MORE, "bash")])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = tmp_path_factory.mktemp("walk") / "printed"
    with log.open("wb") as output:
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=ROOT,
            env={**os.environ, "PATH": path, "PSP": server.url, "HOOK_PORT": str(free_port()), "PRINTED": str(log)},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, log.read_text() + done.stderr
    return log.read_text()


def test_the_walk_runs_as_it_stands(printed: str) -> None:
    assert '"message":"User registered successfully."' in printed
    assert '"role":"merchant"' in printed
    assert '"status":"pending"' in printed
    assert "idempotent-replayed: true" in printed
    assert '"totalTransactions":1' in printed
    assert "refused" not in printed


def test_the_walk_ends_with_the_webhooks_that_the_readme_shows(printed: str) -> None:
    def told(text: str) -> set[str]:
        lines = re.findall(r"^\[webhook\] (payment\.\w+): txn_\w+ (is \w+) \(verified by X-Signature", text, re.M)
        return {" ".join(line) for line in lines}

    (shown,) = (block for block in blocks(WALK, "text") if "[webhook]" in block)
    assert told(printed) == told(shown)
    assert len(told(shown)) == 3
    assert "X-Signature and Standard Webhooks)" in printed


def test_what_follows_the_walk_shows_what_it_promises(printed: str) -> None:
    assert "'declineCode': 'insufficient_funds'" in printed
    assert re.search(r"'url': 'http://[^']+/3ds/txn_\w+/\w+'", printed)
    assert '"status":"processing"' in printed
    (refund,) = re.findall(r'^\{"id":"re_.*$', printed, re.MULTILINE)
    assert '"status":"pending"' in refund
    last = printed.splitlines()[-1]
    assert '"status":"partially_refunded"' in last
    assert '"amountRefunded":40.0' in last


def test_the_walks_only_knobs_are_the_two_that_it_names() -> None:
    first = blocks(WALK, "bash")[0].splitlines()

    assert first[:2] == ["PSP=${PSP:-http://127.0.0.1:8000}", "HOOK_PORT=${HOOK_PORT:-4242}"]


def test_the_commands_of_the_readme_are_those_that_exist() -> None:
    text = read("README.md")
    makefile = read("Makefile")
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        assert f"\n{target}:" in makefile
    shown = subprocess.run(
        [sys.executable, "cli.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^│ ([a-z][a-z-]*) ", shown, re.MULTILINE))
    (row,) = (row for row in rows(section(text, "## How the code is laid out")) if "cli.py" in row[0])
    assert commands == set(re.findall(r"`([a-z-]+)`", row[1]))
    assert commands >= set(re.findall(r"python cli\.py ([a-z-]+)", text))


def test_the_settings_are_those_of_the_application() -> None:
    documented = [name for row in rows(section(read("README.md"), "## Settings")) for name in row[0].split(", ")]

    assert sorted(code(name).lower() for name in documented) == sorted(Settings.model_fields)


@each("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@each("page", PAGES)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:core|domain|schemas|repositories|services|workers|routers|tests)/[\w/]+\.py)`", page.read_text()
    )

    assert not [name for name in named if not (ROOT / name).exists()]
