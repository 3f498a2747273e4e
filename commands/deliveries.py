"""`deliveries tail` and `events resend`: what becomes of webhooks, and sending them again."""

import json
import re
from datetime import datetime
from typing import Annotated

import typer

from commands.api import Api, run
from commands.delivery_feed import Delivery, DeliveryFeed
from commands.options import ApiKey, Json, Url
from commands.polling import keep_looking

events_app = typer.Typer(help="Send events again.", no_args_is_help=True)
deliveries_app = typer.Typer(help="See what becomes of webhooks.", no_args_is_help=True)
_ID = re.compile(r"\w+", re.ASCII)
_COLOURS = {"delivered": typer.colors.GREEN, "dead": typer.colors.RED}


@deliveries_app.command()
def tail(
    failed: Annotated[bool, typer.Option("--failed", help="Only where the latest attempt failed.")] = False,
    api_key: ApiKey = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the account's deliveries as they change, from now on: made, tried again, delivered, dead. Ctrl-C ends it.

    The newest thousand are followed. What changes twice within half a second is
    printed once.

      export MOCK_PSP_API_KEY=psp_sk_…
      python cli.py deliveries tail
      python cli.py deliveries tail --failed --json
    """

    async def work(api: Api) -> None:
        feed = DeliveryFeed(api)
        await feed.changed()
        typer.echo(json.dumps({"listening": api.url}) if as_json else "Listening.")

        async def look() -> None:
            for delivery in await feed.changed():
                if not failed or _has_failed(delivery):
                    tell(delivery, as_json)

        await keep_looking(look)

    run(api_key, url, work, until_interrupted=True)


def _valid_id(object_id: str) -> str:
    if not _ID.fullmatch(object_id):
        raise typer.BadParameter("An event's id is evt_ and letters and digits.")
    return object_id


@events_app.command()
def resend(
    event_id: Annotated[str, typer.Argument(metavar="ID", callback=_valid_id, help="The event, evt_….")],
    endpoint_id: Annotated[
        str | None,
        typer.Option("--endpoint", metavar="ID", help="To this webhook endpoint alone, whatever it subscribes to."),
    ] = None,
    api_key: ApiKey = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send an event again, to every endpoint that subscribes to it now and to the payment's own webhookUrl.

    It prints the new deliveries. Exit codes: 0 they are made, 1 the server says
    no, 2 it cannot be asked.

      export MOCK_PSP_API_KEY=psp_sk_…
      python cli.py events resend evt_06gzwyv5cgqb4sy1zk4d4b8jp4
      python cli.py events resend evt_06gzwyv5cgqb4sy1zk4d4b8jp4 \\
        --endpoint we_06gzwz1t3cn6y8r0d5m4k2j7b8
    """

    async def work(api: Api) -> None:
        target = {} if endpoint_id is None else {"webhookEndpointId": endpoint_id}
        for delivery in (await api.post(f"/events/{event_id}/resend", target))["deliveries"]:
            tell(delivery, as_json)

    run(api_key, url, work)


def tell(delivery: Delivery, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(delivery))
        return
    status = typer.style(f"{delivery['status']:<9}", fg=_COLOURS.get(delivery["status"], typer.colors.YELLOW))
    attempts = delivery["attemptCount"]
    line = f"{_clock(delivery['updatedAt'])}  {status}  {delivery['id']}  {delivery['eventType']} to {delivery['url']}"
    if attempts:
        last = " ".join(str(one) for one in (delivery["lastStatus"], delivery["lastError"]) if one is not None)
        line += f", {attempts} {'attempt' if attempts == 1 else 'attempts'} ({last})"
    if delivery["deadReason"]:
        line += f", {delivery['deadReason']}"
    if attempts and delivery["nextAttemptAt"]:
        line += f", again at {_clock(delivery['nextAttemptAt'])}"
    typer.echo(line)


def _has_failed(delivery: Delivery) -> bool:
    return bool(delivery["status"] == "dead" or (delivery["status"] == "pending" and delivery["attemptCount"] > 0))


def _clock(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"
