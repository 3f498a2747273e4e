"""`listen`: an account's events as they happen, printed and forwarded to a server that no webhook could reach."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from commands.api import Api, run
from commands.event_feed import Event, EventFeed
from commands.options import ApiKey, Json, Url, valid_url
from commands.polling import keep_looking
from core import clock
from core.clock import rfc3339
from domain import signing
from domain.webhook_endpoints import EVERYTHING, wants
from schemas.event_types import EVENT_TYPES, matching_types
from services.webhook_sender import Reply, WebhookSender

_WIDTH = max(map(len, EVENT_TYPES))
_SECRET_LABEL = "mock-psp listen --forward-to, 1"  # noqa: S105 - names what the secret is for


def _known_patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        try:
            matching_types(pattern)
        except ValueError as error:
            raise typer.BadParameter(f"{pattern} is {error}.") from None
    return patterns


def listen(
    api_key: ApiKey = None,
    forward_to: Annotated[
        str | None,
        typer.Option("--forward-to", callback=valid_url, help="Where to post each event. Left out, they are printed."),
    ] = None,
    events: Annotated[
        list[str],
        typer.Option(
            "--events", callback=_known_patterns, help="One type, or all of a kind (payment.*). May be given again."
        ),
    ] = [EVERYTHING],  # noqa: B006 - Typer reads it and changes nothing
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the account's events as they happen, and forward them to a server on this machine. Ctrl-C ends it.

    What is forwarded is what a webhook would carry, to the byte, signed with the
    secret that is shown at the start: the same one on each start with one API key.
    An event is forwarded once, whatever the answer; the next one goes when it is there.

      export MOCK_PSP_API_KEY=psp_sk_…
      python cli.py listen --forward-to http://localhost:4242/hook
      python cli.py listen --events payment.failed --events 'refund.*' --json
    """

    async def work(api: Api) -> None:
        feed = EventFeed(api)
        await feed.begin()
        if forward_to is None:
            _say(as_json, "Listening.", listening=api.url)
            await _follow(feed, Printer(events, as_json))
            return
        assert api_key is not None
        forwarder = Forwarder(api, forward_to, signing.derived_secret(api_key, _SECRET_LABEL))
        _say(
            as_json,
            f"Forwarding to {forward_to}\nSigned with  {forwarder.secret}",
            listening=api.url,
            forwardTo=forward_to,
            secret=forwarder.secret,
        )
        try:
            await _follow(feed, Printer(events, as_json, forwarder))
        finally:
            await forwarder.close()

    run(api_key, url, work, until_interrupted=True)


class Forwarder:
    """Posts events to one URL as the server's webhooks would be."""

    def __init__(self, api: Api, url: str, secret: str):
        self.secret = secret
        self._api = api
        self._url = url
        self._sender = WebhookSender(allow_private_networks=True)

    async def forward(self, event: Event) -> Reply:
        """The receiver's answer. Raises CommandFailed where the event cannot be fetched."""
        body = await self._api.get_bytes(f"/events/{event.id}")
        timestamp_s = int(clock.now().timestamp())
        headers = signing.webhook_headers([self.secret], event.id, timestamp_s, body)
        return await self._sender.post(self._url, body, headers)

    async def close(self) -> None:
        await self._sender.close()


class Printer:
    """Deals with one event: forwards it, and prints a line."""

    def __init__(self, patterns: Sequence[str], as_json: bool, forwarder: Forwarder | None = None):
        self._patterns = patterns
        self._as_json = as_json
        self._forwarder = forwarder

    async def deal_with(self, event: Event) -> None:
        if not wants(self._patterns, event.type):
            return
        reply = await self._forwarder.forward(event) if self._forwarder else None
        if self._as_json:
            typer.echo(json.dumps(_as_object(event, reply)))
        else:
            _tell(event, reply)


async def _follow(feed: EventFeed, printer: Printer) -> None:
    async def look() -> None:
        for event in await feed.unseen():
            await printer.deal_with(event)
            feed.see(event)

    await keep_looking(look)


def _tell(event: Event, reply: Reply | None) -> None:
    line = f"{event.occurred_at.astimezone():%H:%M:%S}  {event.type:<{_WIDTH}}  {event.id}"
    if reply is not None:
        answer = " ".join(str(one) for one in (reply.status, reply.error) if one is not None)
        colour = typer.colors.GREEN if reply.success else typer.colors.RED
        line += f"  {typer.style(answer, fg=colour)} in {reply.duration_ms} ms"
    typer.echo(line)


def _as_object(event: Event, reply: Reply | None) -> dict[str, object]:
    told: dict[str, object] = {
        "timestamp": rfc3339(event.occurred_at),
        "event": event.type,
        "eventId": event.id,
        "objectId": event.object_id,
    }
    if reply is not None:
        told |= {"status": reply.status, "error": reply.error, "durationMs": reply.duration_ms}
    return told


def _say(as_json: bool, sentence: str, **fields: str) -> None:
    typer.echo(json.dumps(fields) if as_json else sentence)
