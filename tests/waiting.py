"""Waiting for what workers do in their own time."""

import time
from collections.abc import Callable
from typing import Any


def until(look: Callable[[], Any], timeout_s: float = 60) -> Any:
    """What a look finds, once it finds something."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
    return found
