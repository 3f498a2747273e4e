"""`trigger`: makes the real objects that cause an event."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from commands.api import API_PATH, WAIT_S, Api, CommandFailed, fail, run
from commands.options import ApiKey, Json, Url
from commands.recipes import RECIPES, REFUSED, Cause, Recipe

_POLL_S = 0.2
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)


def _valid_event(event: str | None) -> str | None:
    if event is not None and event not in RECIPES and event not in REFUSED:
        raise typer.BadParameter(f"{event} is no event type. `trigger --list` shows them.")
    return event


def trigger(
    event: Annotated[
        str | None, typer.Argument(callback=_valid_event, help="The event type.", show_default=False)
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A field of what is made. May be given again."),
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Show the event types, and how each is caused.")] = False,
    api_key: ApiKey = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make the real objects that cause an event, and wait until it is there.

    Exit codes: 0 the event is there, 1 it is not, 2 it cannot be asked for.

      export MOCK_PSP_API_KEY=psp_sk_…
      python cli.py trigger payment.failed --set amount=12 --set currency=EUR
      python cli.py trigger payment.failed --set card=4000000000000069
      python cli.py trigger refund.succeeded --set metadata.orderId=A-1001 --json
      python cli.py trigger --list
    """
    if show_list:
        _list(as_json)
        return
    if event is None:
        fail("Name the event type to cause. `trigger --list` shows them.")
    if event in REFUSED:
        fail(f"No request causes {event}. {REFUSED[event]}")
    recipe = RECIPES[event]
    fields = _fields(recipe, assignments or ())

    async def work(api: Api) -> None:
        cause = await recipe.carry_out(api, fields)
        happened = await _wait_for(api, event, cause)
        if as_json:
            told = {"event": event, "eventId": happened["id"], "objectId": cause.object_id}
            made = {"madeEndpoint": cause.made_endpoint} if cause.made_endpoint else {}
            typer.echo(json.dumps({"timestamp": happened["timestamp"], **told, **made}))
        else:
            typer.echo(f"{event}: {cause.object_id} (event {happened['id']})")
            if cause.made_endpoint:
                typer.echo(_stays(cause.made_endpoint))

    run(api_key, url, work)


def _stays(endpoint: Mapping[str, str]) -> str:
    where = f"{API_PATH}/webhook-endpoints/{endpoint['id']}"
    return (
        f"Webhook endpoint {endpoint['id']} was made, to {endpoint['url']}. "
        f"It stays {endpoint['status']} until you delete it: DELETE {where}"
    )


async def _wait_for(api: Api, event: str, cause: Cause) -> dict[str, Any]:
    """The event, once it is published. Raises CommandFailed where that takes too long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while True:
        listed = await api.get("/events", type=event, objectId=cause.object_id)
        for one in listed["events"]:
            if cause.event_id in (None, one["id"]):
                return dict(one)
        if loop.time() > deadline:
            raise CommandFailed(
                f"{cause.object_id} was made, and there is no {event} after {WAIT_S} seconds. Is a worker running?"
            )
        await asyncio.sleep(_POLL_S)


def _list(as_json: bool) -> None:
    if as_json:
        for event, recipe in RECIPES.items():
            typer.echo(json.dumps({"event": event, "how": recipe.how, "fields": recipe.fields}))
        for event, reason in REFUSED.items():
            typer.echo(json.dumps({"event": event, "how": None, "reason": reason}))
        return
    table = Table("Event", "Caused by", box=None, pad_edge=False)
    for event, recipe in RECIPES.items():
        table.add_row(event, recipe.how)
    for event, reason in REFUSED.items():
        table.add_row(event, f"no request. {reason}")
    console = Console(highlight=False)
    console.print(table)
    console.print("\nFields for --set")
    for kinds, names in _fields_by_kind().items():
        console.print(f"  {kinds}: {names}", soft_wrap=True)


def _fields_by_kind() -> Mapping[str, str]:
    """`payment.*, refund.*`, and what can be set for those."""
    kinds: dict[str, dict[str, None]] = {}
    for event, recipe in RECIPES.items():
        kinds.setdefault(", ".join(_shown(recipe)), {})[f"{event.partition('.')[0]}.*"] = None
    return {", ".join(named): fields for fields, named in kinds.items()}


def _shown(recipe: Recipe) -> list[str]:
    return ["metadata.…" if name == "metadata" else name for name in recipe.fields]


def _fields(recipe: Recipe, assignments: Sequence[str]) -> dict[str, Any]:
    """What --set chose. Whether the values are good is for the server to say."""
    fields: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise _unfit(f"{assignment!r} is no NAME=VALUE.")
        kind, dot, key = name.partition(".")
        if kind not in recipe.fields or (kind == "metadata") != bool(dot and key):
            raise _unfit(f"{name!r} cannot be set here. These can: {', '.join(_shown(recipe))}.")
        place = fields.setdefault(kind, {}) if dot else fields
        if (key or name) in place:
            raise _unfit(f"{name} is given twice.")
        place[key or name] = _number(value) if name == "amount" else value
    return fields


def _number(text: str) -> int | float:
    if not _PLAIN_NUMBER.fullmatch(text) or Decimal(str(float(text))) != Decimal(text):
        raise _unfit(f"amount is a number of at most 15 digits like 12.5, and not {text!r}.")
    return float(text) if "." in text else int(text)


def _unfit(sentence: str) -> typer.BadParameter:
    return typer.BadParameter(sentence, param_hint="--set")
