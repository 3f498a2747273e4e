"""How much is proved: a little by every `make test`, all of it by `make prove`; PROOF_SEED repeats what was drawn."""

import os
import secrets
from typing import TypeVar

T = TypeVar("T")
FULL = os.environ.get("PROOF") == "full"
SEED = int(os.environ.get("PROOF_SEED") or secrets.randbelow(2**32))


def scaled(quick: T, full: T) -> T:
    return full if FULL else quick
