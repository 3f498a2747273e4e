"""`python -m benchmarks`: the charge and the worker against the floor, pages in small and large accounts, webhooks,
logins, and a start.

Exits with 0 where every target holds, 1 where one is missed, 2 where it could not be measured.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks import charging, delivering, logins, pages, report, starting, working
from benchmarks.charging import Runs
from benchmarks.delivering import Scale
from benchmarks.figures import Figure
from benchmarks.pages import Case
from benchmarks.stack import BenchmarkFailed, running_stack
from benchmarks.working import Completions
from core.mongo_files import EmbeddedMongoError

HOLDS, MISSED, NOT_MEASURED = 0, 1, 2
WIDTH = 120
INTERRUPTED = 128 + signal.SIGINT


@dataclass(frozen=True)
class Effort:
    """How long to measure: more of anything makes the medians steadier."""

    rounds: int
    turns: int
    seconds: int
    repeats: int
    delivery: Scale
    logins: int
    storm_s: int


QUICK = Effort(rounds=1, turns=1, seconds=2, repeats=9, delivery=delivering.QUICK, logins=50, storm_s=4)


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.part in ("all", "charge", "work") and shutil.which("wrk") is None:
        return _not_measured("wrk, which makes the load, is missing: install it (Debian and Ubuntu: apt install wrk).")
    if not Path("/proc/self/stat").exists():
        return _not_measured("Processor time is read from /proc, so this runs on Linux only.")
    effort = QUICK if options.quick else _effort(options)
    # Without this the servers would outlive a `kill`.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return _measure(options.part, effort, options.json)
    except (BenchmarkFailed, EmbeddedMongoError) as error:
        return _not_measured(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED


def _measure(part: str, effort: Effort, json_file: Path | None) -> int:
    # Wide enough for the tables where there is no terminal to ask.
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    charges: list[Runs] = []
    completions: list[Completions] = []
    cases: list[Case] = []
    figures: list[Figure] = []
    targets: list[report.Target] = []
    with Console(stderr=True).status("starting") as status, running_stack() as stack:
        about = report.machine(stack)
        if part in ("all", "charge"):
            charges = charging.run(
                stack, rounds=effort.rounds, turns=effort.turns, seconds=effort.seconds, tell=status.update
            )
            targets += [report.charge_target(charges), report.card_target(charges)]
            report.print_charges(console, charges)
        if part in ("all", "work"):
            completions = working.run(
                stack, turns=effort.rounds * effort.turns, seconds=effort.seconds, tell=status.update
            )
            targets.append(report.worker_target(completions))
            report.print_completions(console, completions)
        if part in ("all", "pages"):
            cases = pages.run(stack, repeats=effort.repeats, limit=report.GREATEST_PAGE_RATIO, tell=status.update)
            targets.append(report.pages_target(cases))
            report.print_pages(console, cases)
        if part in ("all", "delivery"):
            figures = delivering.run(stack, effort.delivery, tell=status.update)
            report.print_figures(console, "Webhooks", figures)
        if part in ("all", "logins"):
            of_logins = logins.run(
                stack,
                rounds=effort.delivery.rounds,
                logins=effort.logins,
                seconds=effort.storm_s,
                tell=status.update,
            )
            report.print_figures(console, "Logins", of_logins)
            figures += of_logins
        if part in ("all", "start"):
            of_starts = starting.run(stack, rounds=effort.delivery.rounds, tell=status.update)
            report.print_figures(console, "Starts", of_starts)
            figures += of_starts
        targets += report.figure_targets(figures)
    report.print_targets(console, targets)
    if json_file is not None:
        measured = report.as_json(about, charges, completions, cases, figures, targets)
        json_file.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return HOLDS if all(target.holds for target in targets) else MISSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "part",
        nargs="?",
        choices=("all", "charge", "work", "pages", "delivery", "logins", "start"),
        default="all",
        help="default: all",
    )
    parser.add_argument("--rounds", type=_count, default=3, help="rounds of the charge and the worker (3)")
    parser.add_argument("--turns", type=_count, default=3, help="turns that each has in a round (3)")
    parser.add_argument("--seconds", type=_count, default=3, help="length of a turn (3)")
    parser.add_argument("--repeats", type=_count, default=31, help="requests for each page and account (31)")
    parser.add_argument(
        "--delivery-rounds",
        type=_count,
        default=delivering.FULL.rounds,
        help="rounds of the other parts but pages (5)",
    )
    parser.add_argument("--quick", action="store_true", help="a short look instead, too short to be relied on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file, too")
    return parser


def _effort(options: argparse.Namespace) -> Effort:
    delivery = replace(delivering.FULL, rounds=options.delivery_rounds)
    return Effort(options.rounds, options.turns, options.seconds, options.repeats, delivery, logins=200, storm_s=10)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _not_measured(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return NOT_MEASURED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
