"""docs/features.md: each row names a route and a test that exist."""

import re

from routers.roles import API, ROLE_TABLE
from tests.docs.markdown import ROOT, code, read, rows

ROWS = rows(read("docs/features.md"))


def test_each_feature_names_a_route_that_exists() -> None:
    for feature, _, route, _ in ROWS:
        assert tuple(code(route).split()) in ROLE_TABLE, feature


def test_each_feature_names_a_test_that_exists() -> None:
    for feature, _, _, test in ROWS:
        assert re.fullmatch(r"tests/\w+/test_\w+\.py", code(test)), feature
        assert (ROOT / code(test)).is_file(), f"{feature}: {test}"


def test_each_feature_has_one_row_and_every_cell_is_filled() -> None:
    names = [row[0] for row in ROWS]

    assert len(names) == len(set(names))
    assert all(all(row) and len(row) == 4 for row in ROWS)


def test_each_part_of_the_api_has_a_row() -> None:
    named = {code(row[2]).split()[1].removeprefix(API).split("/")[1] for row in ROWS}
    parts = {path.removeprefix(API).split("/")[1] for _, path in ROLE_TABLE if path.startswith(API)}

    assert parts - named <= {"{resource}", "protected"}
