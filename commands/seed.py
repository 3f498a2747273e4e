"""`seed`: a database that looks as if it had been used for months."""

import json
from datetime import datetime

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from core.config import Settings
from services.psp import open_psp
from services.seeding import PASSWORD, Seeded

# On standard error, so that --json leaves nothing but JSON on standard output.
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


async def fill(settings: Settings, seed: int, payments: int, until: datetime) -> list[Seeded]:
    """Whose the payments are. Raises ConfigurationError, Forbidden."""
    async with open_psp(settings, is_worker=True) as psp:
        with Progress(*_COLUMNS, console=Console(stderr=True)) as bar:
            task = bar.add_task("Payments", total=payments)
            async for written in psp.seeding.seed(seed, payments, until):
                bar.update(task, advance=written)
        return psp.seeding.merchants(seed)


def tell(merchants: list[Seeded], seed: int, payments: int, *, as_json: bool) -> None:
    if as_json:
        accounts = [{"userId": one.account_id, "name": one.name, "email": one.email} for one in merchants]
        typer.echo(json.dumps({"seed": seed, "payments": payments, "password": PASSWORD, "accounts": accounts}))
        return
    typer.echo(f"{payments} payments of these merchants, who all have the password {PASSWORD}:")
    for one in merchants:
        typer.echo(f"  {one.email}  {one.name}")
