"""The pages people follow: each block is pasted into a terminal, and what the page shows has to be printed."""

import ast
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.payments import MOVES, Status
from tests.conftest import Server
from tests.docs.markdown import ROOT, fences, read, rows
from tests.docs.terminal import DRAWN, Terminal

DIAGRAMMED = [ROOT / "docs/architecture.md", *sorted(ROOT.glob("docs/concepts/[a-z]*.md"))]
ELSEWHERE = {
    "README.md": {"sh", "bash", "text"},  # test_readme.py
    "api_documentation.md": {"http", "json", "text", "python"},  # test_api_documentation.py
    "docs/ci.md": {"bash", "python"},  # test_ci.py
    "docs/deploy.md": {"bash", "sh"},  # test_compose.py, and below what no machine of CI can run
    "CONTRIBUTING.md": {"sh"},  # below
}
"""The blocks of pages that are not followed here, and the tests that look at them."""
PREPARATION = ROOT / "docs/how-to/README.md"
TROUBLESHOOTING = ROOT / "docs/troubleshooting.md"
# With a server that takes what is forwarded: test_command_line.py.
COMMAND_LINE = ROOT / "docs/how-to/command-line.md"
PAGES = sorted([*ROOT.glob("docs/how-to/*.md"), *ROOT.glob("docs/concepts/*.md"), TROUBLESHOOTING])


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != COMMAND_LINE], ids=lambda page: str(page.relative_to(ROOT / "docs"))
)
def test_a_page_can_be_followed_and_shows_what_comes(
    page: Path, server: Server, data_dir: Path, tmp_path: Path
) -> None:
    before = [] if page == PREPARATION else fences(PREPARATION.read_text("utf-8"))
    with Terminal(tmp_path / "printed", PSP=server.url, DATA_DIR=str(data_dir), MONGODB_DB="tests") as terminal:
        terminal.follow([*before, *fences(page.read_text("utf-8"))])


@pytest.mark.parametrize(
    "page",
    [
        "```bash\nfalse\n```",
        "```python\nraise SystemExit(1)\n```",
        "```json\n{}\n```",
        '```bash\necho \'{"a": 1}\'\n```\n```json\n{"a": 2}\n```',
        '```bash\necho \'{"a": 1, "b": 2}\'\n```\n```json\n{"a": 1}\n```',
        "```bash\necho one\n```\n```text\none\ntwo\n```",
        "```\necho\n```",
        "```http\nGET /\n```",
        "- ~~~cobol\n  DISPLAY 1\n  ~~~",
        "```bash\ntrue",
    ],
)
def test_a_page_that_does_not_hold_is_found_out(page: str, tmp_path: Path) -> None:
    with Terminal(tmp_path / "printed", shown_within_s=0.2) as terminal, pytest.raises(AssertionError):
        terminal.follow(fences(page))


def test_each_how_to_page_begins_with_the_preparation_and_is_listed() -> None:
    index = PREPARATION.read_text("utf-8")
    for page in PAGES:
        if page.parent == PREPARATION.parent and page != PREPARATION:
            assert "(README.md#before-you-begin)" in page.read_text("utf-8"), page
            assert f"({page.name})" in index, page


def test_the_index_has_every_page() -> None:
    index = read("docs/README.md")
    pages = [page.relative_to(ROOT / "docs") for page in ROOT.glob("docs/**/*.md") if page.parent.name != "decisions"]

    assert [str(page) for page in pages if f"({page})" not in index] == ["README.md"]


def texts() -> Iterator[str]:
    """Every text in the application's source, `…` where a value is put in; and what it passes on of the system."""
    yield os.strerror(errno.EADDRINUSE).lower()
    folders = ("core", "domain", "repositories", "services", "workers", "routers", "commands", "schemas")
    for path in [ROOT / "cli.py", *(path for folder in folders for path in (ROOT / folder).glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value.replace("%s", "…")
            elif isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                yield "".join(map(str, parts))


def test_every_message_that_is_explained_is_one_that_the_program_prints() -> None:
    printed = "\n".join(texts())
    explained: list[str] = []
    for symptom, why, *_ in rows(TROUBLESHOOTING.read_text("utf-8")):
        sentences = [text for text in re.findall(r"`([^`]+)`", why) if text[0].isupper() and text.endswith((".", "…"))]
        explained += [*re.findall(r"`([^`]+)`", symptom), *sentences]

    assert len(explained) > 50
    assert [message for message in explained if message not in printed] == []


def test_the_states_that_are_drawn_are_those_of_the_rules() -> None:
    (drawn,) = [code for _, code in fences(read("docs/concepts/states.md")) if code.startswith("stateDiagram-v2\n")]
    arrows = re.findall(r"^ +(\S+) --> (\S+)$", drawn, re.MULTILINE)

    assert len(arrows) == len(drawn.splitlines()) - 1
    assert {(before, after) for before, after in arrows if "[*]" not in (before, after)} == {
        (before, after) for before, successors in MOVES.items() for after in successors
    }
    assert [after for before, after in arrows if before == "[*]"] == [Status.PENDING]
    assert {before for before, after in arrows if after == "[*]"} == {status for status in Status if not MOVES[status]}


@pytest.mark.parametrize("page", DIAGRAMMED, ids=lambda page: page.stem)
def test_a_concept_has_a_diagram_and_points_into_the_code(page: Path) -> None:
    text = page.read_text("utf-8")

    assert any(language == "mermaid" for language, _ in fences(text))
    assert len(re.findall(r"\]\((?:\.\./)+\w+/\w+\.py\)", text)) > 2


def test_no_page_has_a_block_that_nothing_looks_at() -> None:
    for page in {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - set(PAGES):
        languages = {language for language, _ in fences(page.read_text("utf-8"))} - DRAWN
        assert languages == ELSEWHERE.get(str(page.relative_to(ROOT)), set()), page


def test_what_is_not_run_are_commands_of_programs_that_ci_lacks() -> None:
    code = "".join(code for language, code in fences(read("docs/deploy.md")) if language == "sh")
    commands = code.replace("\\\n", "").splitlines()

    assert {command.split()[0] for command in commands} == {"docker", "mongodump", "mongorestore"}


def test_contributors_are_told_commands_that_exist() -> None:
    code = "".join(code for _, code in fences(read("CONTRIBUTING.md")))
    targets, tests = re.findall(r"^make (\w+)", code, re.MULTILINE), re.findall(r"-m pytest (\S+)", code)

    assert targets and all(f"\n{target}:" in read("Makefile") for target in targets)
    assert tests and all((ROOT / path).is_file() for path in tests)
