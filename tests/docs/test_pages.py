"""The pages people follow: each block is pasted into a terminal, and what the page shows has to be printed."""

from pathlib import Path

import pytest

from tests.conftest import Server
from tests.docs.markdown import ROOT, fences
from tests.docs.terminal import Terminal

PREPARATION = ROOT / "docs/how-to/README.md"
PAGES = sorted([*ROOT.glob("docs/how-to/*.md"), *ROOT.glob("docs/concepts/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
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
