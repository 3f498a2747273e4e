"""docs/security.md: each defence names code and tests that exist."""

import re

from tests.docs.markdown import ROOT, read, rows

ROWS = rows(read("docs/security.md"))


def test_each_defence_names_code_and_tests_that_exist() -> None:
    assert len(ROWS) > 20
    for against, *_, where, seen in ROWS:
        named = re.findall(r"`([^`]+)`", f"{where} {seen}")
        assert any(path.startswith("tests/") for path in named), against
        assert [path for path in named if not (ROOT / path).exists()] == [], against
