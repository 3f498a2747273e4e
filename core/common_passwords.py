"""The passwords that everybody tries first (`common_passwords.txt`, docs/decisions/0032)."""

from functools import cache
from pathlib import Path

_LIST = Path(__file__).with_suffix(".txt")


def is_common(password: str) -> bool:
    """Whether it is one of the 10,000 most common, in whatever case. Those that are too short anyway are not listed."""
    return password.casefold() in _listed()


@cache
def _listed() -> frozenset[str]:
    return frozenset(_LIST.read_text("utf-8").splitlines())
