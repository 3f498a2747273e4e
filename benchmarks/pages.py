"""The first page of `/payments/query` in an account of 100,000 payments beside one of 1,000.

Every filter with every sort, each for a common, an occasional and a rare value. The requests of all cases take turns,
and so do the two accounts, so that whatever else the machine does meets all alike.
"""

import json
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import product
from typing import Any
from urllib.parse import urlencode

from benchmarks import seed
from benchmarks.client import Account, Client
from benchmarks.stack import Stack
from core import clock
from core.clock import rfc3339

SMALL, LARGE = 1_000, 100_000
SORTS = tuple(product(("createdAt", "amount"), ("desc", "asc")))
WARM_UPS = 2


@dataclass(frozen=True)
class Work:
    """What MongoDB did for one request, by its own profiler: all its operations on the payments together."""

    keys_examined: int
    docs_examined: int
    plans: tuple[str, ...]
    replanned: bool
    """Whether MongoDB gave up the plan that it had kept for such a question, and tried all of them again."""


@dataclass
class Case:
    """One question, put to both accounts."""

    filter: str
    value: str
    sort: str
    query: str
    found: tuple[int, int] = (0, 0)
    """The totals that the two pages tell, which count to 1,000."""
    small_ms: list[float] = field(default_factory=list)
    large_ms: list[float] = field(default_factory=list)
    small_work: Work | None = None
    large_work: Work | None = None

    @property
    def medians_ms(self) -> tuple[float, float]:
        return statistics.median(self.small_ms), statistics.median(self.large_ms)

    @property
    def ratio(self) -> float:
        small_ms, large_ms = self.medians_ms
        return large_ms / small_ms

    def as_json(self) -> dict[str, Any]:
        small_ms, large_ms = self.medians_ms
        return {**asdict(self), "small_ms": small_ms, "large_ms": large_ms, "ratio": self.ratio}


def run(stack: Stack, *, repeats: int, limit: float, tell: Callable[[str], None]) -> list[Case]:
    """Measure every case, the worst ratio first; those above `limit` with what MongoDB did for them."""
    server = stack.start_product("pages", worker="off")
    payments = stack.client[server.database]["payments"]
    with Client(server) as client:
        small, large = Account(client), Account(client)
    now = clock.now()
    for account, count in ((small, SMALL), (large, LARGE)):
        tell(f"writing an account of {count:,} payments")
        seed.fill(payments, account.id, count, now)
    cases = _cases(now)
    # Another connection: the server has closed the first one while nothing was asked.
    with Client(server) as client:
        for case in cases:
            case.found = (_found(client, case, small), _found(client, case, large))
        for number in range(WARM_UPS + repeats):
            tell(f"pages: pass {number + 1} of {WARM_UPS + repeats} over {len(cases)} cases")
            for case in random.sample(cases, len(cases)):
                _ask(client, case, small, large, keep=number >= WARM_UPS)
        cases.sort(key=lambda case: case.ratio, reverse=True)
        for case in cases:
            if case.ratio > limit:
                case.small_work = _work(stack, server.database, client, case, small)
                case.large_work = _work(stack, server.database, client, case, large)
    return cases


def _ask(client: Client, case: Case, small: Account, large: Account, *, keep: bool) -> None:
    pair = [(small, case.small_ms), (large, case.large_ms)]
    random.shuffle(pair)
    for account, times_ms in pair:
        began_at = time.perf_counter()
        client.get(case.query, account.headers)
        took_ms = (time.perf_counter() - began_at) * 1000
        if keep:
            times_ms.append(took_ms)


def _cases(now: datetime) -> list[Case]:
    cases = []
    for name, values in _filters(now).items():
        for (value, parameters), (by, order) in product(values.items(), SORTS):
            query = urlencode({**parameters, "sortBy": by, "sortOrder": order})
            cases.append(Case(name, value, f"{by} {order}", f"/payments/query?{query}"))
    return cases


def _filters(now: datetime) -> dict[str, dict[str, dict[str, str]]]:
    """Each filter with its values: the parameters that choose a common, an occasional and a rare one."""
    year, common, occasional = seed.YEAR, seed.COMMON, seed.OCCASIONAL
    newest, oldest = now - seed.RARE_PERIOD, now - year + seed.RARE_PERIOD
    return {
        "none": {"all": {}},
        "status": _values("status", seed.STATUSES, seed.RARE_STATUS),
        "currency": _values("currency", seed.CURRENCIES, seed.RARE_CURRENCY),
        "customerName": _values("customerName", seed.CUSTOMERS, seed.RARE_CUSTOMER),
        "reference": _values("reference", seed.REFERENCES, seed.RARE_REFERENCE),
        "minAmount": _bounds("minAmount", seed.amount_at(1 - common), seed.amount_at(1 - occasional), seed.RARE_LARGE),
        "maxAmount": _bounds("maxAmount", seed.amount_at(common), seed.amount_at(occasional), seed.RARE_SMALL),
        "min and max": {
            "common": _around_the_middle(common),
            "occasional": _around_the_middle(occasional),
            "rare": {"minAmount": str(seed.RARE_MIDDLE), "maxAmount": str(seed.RARE_MIDDLE)},
        },
        "createdFrom": _moments("createdFrom", now - year * common, now - year * occasional, newest),
        "createdTo": _moments("createdTo", now - year * (1 - common), now - year * (1 - occasional), oldest),
    }


def _around_the_middle(share: float) -> dict[str, str]:
    low, high = seed.amount_at((1 - share) / 2), seed.amount_at((1 + share) / 2)
    return {"minAmount": str(low), "maxAmount": str(high)}


def _values(name: str, shares: Mapping[Any, float], rare: str) -> dict[str, dict[str, str]]:
    common, occasional = list(shares)[:2]
    return {"common": {name: str(common)}, "occasional": {name: str(occasional)}, "rare": {name: str(rare)}}


def _bounds(name: str, *bounds: object) -> dict[str, dict[str, str]]:
    return {kind: {name: str(bound)} for kind, bound in zip(("common", "occasional", "rare"), bounds, strict=True)}


def _moments(name: str, *moments: datetime) -> dict[str, dict[str, str]]:
    return _bounds(name, *map(rfc3339, moments))


def _work(stack: Stack, database: str, client: Client, case: Case, account: Account) -> Work:
    """Ask once more while MongoDB profiles: what it then did is what the product asked it, whatever that was."""
    measured = stack.client[database]
    measured.command("profile", 2)
    client.get(case.query, account.headers)
    measured.command("profile", 0)
    operations = list(measured["system.profile"].find({"ns": f"{database}.payments", "appName": "mock-psp"}))
    measured.drop_collection("system.profile")
    return Work(
        sum(operation.get("keysExamined", 0) for operation in operations),
        sum(operation.get("docsExamined", 0) for operation in operations),
        tuple(str(operation.get("planSummary", operation["op"])) for operation in operations),
        any(operation.get("replanned", False) for operation in operations),
    )


def _found(client: Client, case: Case, account: Account) -> int:
    """How many payments a case finds, up to the 1,000 that are counted."""
    return int(json.loads(client.get(case.query, account.headers))["totalTransactions"])
