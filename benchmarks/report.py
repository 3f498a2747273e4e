"""What was measured, as tables for a person and as JSON for a program, and whether the targets hold."""

import importlib.metadata
import platform
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.charging import CHARGE, MANY, WITH_CARD, WITH_WORKER, Runs
from benchmarks.figures import Figure
from benchmarks.pages import LARGE, SMALL, Case, Work
from benchmarks.stack import Stack
from benchmarks.working import BANK_INSIDE, Completions

LEAST_CHARGE_RATIO = 1.0
LEAST_CARD_SHARE = 0.85
LEAST_WORKER_RATIO = 1.0
GREATEST_PAGE_RATIO = 1.5
# Above this share, figures of a short run say more about the neighbours than about what is measured.
NOISY = 0.15
_PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "motor", "pymongo", "aiohttp")


@dataclass(frozen=True)
class Target:
    """A promise, what was measured, and whether it holds."""

    promise: str
    measured: float
    holds: bool


def charge_target(results: Sequence[Runs]) -> Target:
    (runs,) = (one for one in results if one.subject == CHARGE and one.connections == MANY)
    promise = f"charge at {MANY} connections: at least {LEAST_CHARGE_RATIO:.1f} times the floor's rate"
    return Target(promise, runs.ratio, runs.ratio >= LEAST_CHARGE_RATIO)


def card_target(results: Sequence[Runs]) -> Target:
    """The share of the charge's ratio to the floor that is left with a card, turn by turn."""
    plain, with_card = (
        next(one for one in results if one.subject == name and one.connections == MANY) for name in (CHARGE, WITH_CARD)
    )
    share = statistics.median(card / other for card, other in zip(with_card.ratios, plain.ratios, strict=True))
    promise = f"charge with a card: at least {LEAST_CARD_SHARE} of the ratio without"
    return Target(promise, share, share >= LEAST_CARD_SHARE)


def worker_target(results: Sequence[Completions]) -> Target:
    (inside,) = (one for one in results if one.subject == BANK_INSIDE)
    promise = f"one worker, bank inside: completes at least {LEAST_WORKER_RATIO:.1f} times the floor's rate"
    return Target(promise, inside.ratio, inside.ratio >= LEAST_WORKER_RATIO)


def pages_target(cases: Sequence[Case]) -> Target:
    worst = max(case.ratio for case in cases)
    promise = f"first page: at most {GREATEST_PAGE_RATIO:.1f} times as long among {LARGE:,} as among {SMALL:,} payments"
    return Target(promise, worst, worst <= GREATEST_PAGE_RATIO)


def figure_targets(figures: Sequence[Figure]) -> list[Target]:
    return [Target(f"{one.label}: {one.target}", one.median, one.holds) for one in figures if one.target]


def machine(stack: Stack) -> dict[str, Any]:
    """What the figures were measured on, as far as they depend on it."""
    models = [line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name")]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(models),
        "python": platform.python_version(),
        "mongod": stack.mongod_version,
        "wrk": _wrk_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }


def _wrk_version() -> str | None:
    """None where it is missing: not every part needs it."""
    if shutil.which("wrk") is None:
        return None
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return wrk.stdout.split("[")[0].removeprefix("wrk").strip()


def print_charges(console: Console, results: Sequence[Runs]) -> None:
    for connections in sorted({runs.connections for runs in results}, reverse=True):
        table = Table(title=f"POST /payments/charge, {connections} at once (medians)", title_justify="left")
        table.add_column("")
        for name in ("requests/s", "p50 ms", "p99 ms", "server CPU µs", "mongod CPU µs", "ratio", "in single turns"):
            table.add_column(name, justify="right")
        for runs in results:
            if runs.connections == connections:
                table.add_row(runs.subject, *_charge_figures(runs))
        console.print(table)
    _print_drains(console, results)
    _print_noise(console, results)


def _charge_figures(runs: Runs) -> list[str]:
    formats = {"per_s": ",.0f", "p50_ms": ".1f", "p99_ms": ".1f", "server_us": ",.0f", "mongod_us": ",.0f"}
    figures = [format(runs.median(figure), kind) for figure, kind in formats.items()]
    return [*figures, f"{runs.ratio:.2f}", f"{min(runs.ratios):.2f} … {max(runs.ratios):.2f}"]


def _print_drains(console: Console, results: Sequence[Runs]) -> None:
    drains_s = [drain_s for runs in results if runs.subject == WITH_WORKER for drain_s in runs.drains_s]
    console.print(f"The embedded worker had finished at most {max(drains_s):.1f} s after the last charge of a turn.")


def _print_noise(console: Console, results: Sequence[Runs]) -> None:
    noise = max(one.others_share for runs in results for one in runs.loads)
    if noise > NOISY:
        console.print(
            f"[yellow]Other processes took up to {noise:.0%} of the machine during a turn: "
            "trust the ratios more than the rates, and measure again when it is quiet."
        )


def print_completions(console: Console, results: Sequence[Completions]) -> None:
    table = Table(title="Payments from the charge to the last published event (medians)", title_justify="left")
    table.add_column("")
    for name in ("payments in a turn", "payments/s", "ratio", "in single turns"):
        table.add_column(name, justify="right")
    for one in results:
        rate_per_s, payments = statistics.median(one.rates_per_s), statistics.median(one.payments)
        turns = f"{min(one.ratios):.2f} … {max(one.ratios):.2f}"
        table.add_row(one.subject, f"{payments:,.0f}", f"{rate_per_s:,.0f}", f"{one.ratio:.2f}", turns)
    console.print(table)


def print_pages(console: Console, cases: Sequence[Case]) -> None:
    """The slowest growth first, and below the table what MongoDB did where the target is missed."""
    table = Table(title="First page of /payments/query (median ms)", title_justify="left")
    for name in ("filter", "value", "sort"):
        table.add_column(name)
    for name in (f"found of {SMALL:,}", f"of {LARGE:,}", f"ms, {SMALL:,}", f"ms, {LARGE:,}", "ratio"):
        table.add_column(name, justify="right")
    for case in cases:
        small_ms, large_ms = case.medians_ms
        found = (_total(one) for one in case.found)
        style = "red" if case.ratio > GREATEST_PAGE_RATIO else None
        times = (f"{small_ms:.2f}", f"{large_ms:.2f}", f"{case.ratio:.2f}")
        table.add_row(case.filter, case.value, case.sort, *found, *times, style=style)
    console.print(table)
    for case in cases:
        if case.small_work is not None and case.large_work is not None:
            console.print(f"{case.filter}, {case.value}, {case.sort}:")
            console.print(f"  among {SMALL:,}: {_done(case.small_work)}\n  among {LARGE:,}: {_done(case.large_work)}")


def print_figures(console: Console, title: str, figures: Sequence[Figure]) -> None:
    rounds = len(figures[0].values)
    table = Table(title=f"{title} (medians of {rounds} {'round' if rounds == 1 else 'rounds'})", title_justify="left")
    for name in ("", "what", "unit"):
        table.add_column(name)
    for name in ("median", "in single rounds", "target"):
        table.add_column(name, justify="right")
    part = None
    for one in figures:
        spread = f"{one.shown(min(one.values))} … {one.shown(max(one.values))}"
        style = None if one.holds else "red"
        began, part = one.part != part, one.part
        if began:
            table.add_section()
        label = one.part if began else ""
        table.add_row(label, one.name, one.unit, one.shown(one.median), spread, one.target, style=style)
    console.print(table)


def _total(found: int) -> str:
    """A list counts its payments to 1,000."""
    return "1,000+" if found == 1_000 else str(found)


def _done(work: Work) -> str:
    plans = ", then ".join(work.plans)
    replanned = ", planned anew" if work.replanned else ""
    return f"{work.keys_examined:,} keys and {work.docs_examined:,} documents examined{replanned}: {plans}"


def print_targets(console: Console, targets: Sequence[Target]) -> None:
    for target in targets:
        verdict = "[green]holds[/]" if target.holds else "[red]missed[/]"
        console.print(f"{verdict}  {target.promise}: {target.measured:.2f}")


def as_json(
    about: dict[str, Any],
    charges: Sequence[Runs],
    completions: Sequence[Completions],
    cases: Sequence[Case],
    figures: Sequence[Figure],
    targets: Sequence[Target],
) -> dict[str, Any]:
    return {
        "machine": about,
        "charge": [runs.as_json() for runs in charges],
        "work": [one.as_json() for one in completions],
        "pages": [case.as_json() for case in cases],
        "figures": [figure.as_json() for figure in figures],
        "targets": [asdict(target) for target in targets],
    }
