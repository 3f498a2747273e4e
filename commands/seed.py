"""`seed`: a database that looks as if it had been used for months."""

import json
from datetime import datetime

import typer

from commands.progress import progress
from core.config import Settings
from core.errors import Forbidden
from core.startup import settle_memory
from services.psp import open_psp
from services.seeding import PASSWORD, Seeded


async def fill(settings: Settings, seed: int, payments: int, until: datetime) -> list[Seeded]:
    """Whose the payments are. Raises ConfigurationError, Forbidden, EmailTaken."""
    if settings.production:  # before anything is opened
        raise Forbidden("A server in production is not filled with accounts whose password everybody knows.")
    async with open_psp(settings, is_worker=True) as psp:
        settle_memory()
        with progress() as bar:
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
