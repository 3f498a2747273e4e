"""`audit verify`: whether the audit log is as it was written."""

import json
import re

import typer

from core.config import Settings
from domain.audit_chain import Head
from services.audit_chain import Break, Problem, Verification
from services.psp import open_psp

_HEAD = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})", re.ASCII)
_TOLD = {
    Break.CHANGED: "was changed after it was linked",
    Break.REMOVED: "was removed",
    Break.INSERTED: "was inserted by another hand",
    Break.REORDERED: "was moved from another place",
    Break.FORGED: "was inserted by another hand, or changed before it was linked",
    Break.HEAD_CHANGED: "The chain's head was changed, removed, or put back to an older one",
    Break.KEPT_HEAD_MISSING: "is not what was kept: the end of the log was cut off or made anew",
}


async def verify(settings: Settings, kept: str | None) -> Verification:
    """Raises ConfigurationError."""
    found = None
    if kept is not None:
        found = _HEAD.fullmatch(kept)
        if found is None:
            raise typer.BadParameter("A head is SEQUENCE:HASH, as this command prints it.", param_hint="--head")
    async with open_psp(settings, is_worker=False) as psp:
        return await psp.audit_chain.verify(Head(int(found[1]), found[2]) if found else None)


def tell(verification: Verification, *, as_json: bool) -> bool:
    """Print what was found; whether the chain is whole."""
    problem, head = verification.problem, verification.head
    if as_json:
        typer.echo(json.dumps(_as_json(verification)))
    elif problem is None:
        typer.secho(f"Whole: {verification.linked} rows.", fg=typer.colors.GREEN)
        typer.echo(f"Head: {head.sequence}:{head.hash}")
    else:
        typer.secho(f"Broken after {verification.linked} rows: {_sentence(problem)}.", fg=typer.colors.RED)
    if verification.unlinked and not as_json:
        typer.echo(f"Not yet linked: {verification.unlinked} of the newest.")
    return problem is None


def _sentence(problem: Problem) -> str:
    if problem.kind is Break.HEAD_CHANGED:
        return _TOLD[problem.kind]
    row = " ".join(
        [
            "Row",
            *([f"{problem.sequence}"] if problem.sequence is not None else []),
            *([f"({problem.row_id})"] if problem.row_id is not None else []),
        ]
    )
    return f"{row} {_TOLD[problem.kind]}"


def _as_json(verification: Verification) -> dict[str, object]:
    problem, head = verification.problem, verification.head
    return {
        "whole": problem is None,
        "linked": verification.linked,
        "unlinked": verification.unlinked,
        "head": f"{head.sequence}:{head.hash}",
        "problem": None
        if problem is None
        else {"kind": problem.kind, "sequence": problem.sequence, "rowId": problem.row_id},
    }
