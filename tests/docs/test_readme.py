"""README.md: its first screen is followed, its commands, settings and links are compared."""

import re
import subprocess
import sys
from pathlib import Path

from core.config import Settings
from tests.conftest import Server
from tests.docs.markdown import ROOT, code, fences, read, rows, section
from tests.docs.terminal import Terminal
from tests.tables import each

README = read("README.md")
FIRST_SCREEN = "\n".join(README.splitlines()[:40])
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda page: str(page))


def test_the_first_screen_starts_the_product_and_makes_a_charge(server: Server, tmp_path: Path) -> None:
    (start, command), *charge = fences(FIRST_SCREEN)

    assert (start, command) == ("sh", "make run\n")
    assert [language for language, _ in charge] == ["bash", "text"]
    with Terminal(tmp_path / "printed", PSP=server.url) as terminal:
        terminal.follow(charge)


def test_the_other_commands_are_those_that_start_the_product_and_its_tests_without_make() -> None:
    rest = fences(README.removeprefix(FIRST_SCREEN))
    commands = [line for language, code in rest if language == "sh" for line in code.splitlines()]

    assert {language for language, _ in rest} == {"sh", "mermaid"}
    assert {line.partition(" ")[0] for line in commands} == {"python3", ".", "pip", "uvicorn", "python"}
    for name in re.findall(r"-r (\S+)", " ".join(commands)):
        assert (ROOT / name).is_file()
    assert "uvicorn main:app --reload" in commands


def test_the_commands_of_the_readme_are_those_that_exist() -> None:
    text = README
    makefile = read("Makefile")
    for target in re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE):
        assert f"\n{target}:" in makefile
    shown = subprocess.run(
        [sys.executable, "cli.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^│ ([a-z][a-z-]*) ", shown, re.MULTILINE))
    (row,) = (row for row in rows(section(text, "## How the code is laid out")) if "cli.py" in row[0])
    assert commands == set(re.findall(r"`([a-z-]+)`", row[1]))
    assert commands >= set(re.findall(r"python cli\.py ([a-z-]+)", text))


def test_the_settings_are_those_of_the_application() -> None:
    documented = [name for row in rows(section(README, "## Settings")) for name in row[0].split(", ")]

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
