"""How much is proved: a little by every `make test`, all of it by `make prove`; PROOF_SEED repeats what was drawn."""

import os
import secrets
from typing import TypeVar

T = TypeVar("T")
FULL = os.environ.get("PROOF") == "full"
# Set for the processes that tests run in, too.
SEED = int(os.environ.setdefault("PROOF_SEED", str(secrets.randbelow(2**32))))


def scaled(quick: T, full: T) -> T:
    return full if FULL else quick
