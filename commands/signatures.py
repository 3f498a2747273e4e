"""`sign` and `verify`: webhook signatures made and judged by hand, without a server.

A body is given as to curl: the text itself, @FILE, or @- for standard input. Its bytes are signed as they are.
"""

import json
import os
import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from commands.options import Json, valid_url
from core import clock, ids
from domain import signature_check, signing

STANDARD_INPUT = "@-"
MAX_TIMESTAMP_S = 999_999_999_999  # twelve digits, which is what a verifier reads


def _valid_secret(secret: str) -> str:
    if not signing.valid_secret(secret):
        raise typer.BadParameter("A webhook secret is whsec_ and base64 of at least 24 bytes, with nothing around it.")
    return secret


def _visible_ascii(message_id: str | None) -> str | None:
    if message_id is not None and not (message_id.isascii() and message_id.isprintable() and " " not in message_id):
        raise typer.BadParameter("A webhook-id is made of visible ASCII characters.")
    return message_id


Body = Annotated[str, typer.Argument(help="The body: its text, @FILE, or @- for standard input.")]
Secret = Annotated[
    str,
    typer.Option(
        envvar="WEBHOOK_SECRET",
        callback=_valid_secret,
        help="The webhook secret. Better in the environment, where no list of processes shows it.",
    ),
]


def sign(
    body: Body,
    secret: Secret,
    url: Annotated[str, typer.Option(callback=valid_url, help="Where the webhook is to go.")] = (
        "http://127.0.0.1:4242/hook"
    ),
    message_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            callback=_visible_ascii,
            help="The webhook-id. Left out, a new one: with the same one again it would be the same message.",
        ),
    ] = None,
    timestamp_s: Annotated[
        int | None,
        typer.Option(
            "--timestamp",
            min=0,
            max=MAX_TIMESTAMP_S,
            help="The webhook-timestamp, seconds since 1970. Left out, now.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a curl that sends a body as a webhook, signed in both ways. Nothing is sent until a shell runs it.

    Show it; send it; send one that is too old and has to be refused:

      export WEBHOOK_SECRET=whsec_…
      python cli.py sign '{"event": "payment.completed", "data": {}}'
      python cli.py sign @event.json --url http://localhost:3000/hook | sh
      python cli.py sign @event.json --timestamp 1700000000 | sh
    """
    content = _content(body)
    if timestamp_s is None:
        timestamp_s = int(clock.now().timestamp())
    if message_id is None:
        message_id = ids.fresh("evt")
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signing.standard_signature(secret, message_id, timestamp_s, content),
        "X-Signature": signing.plain_signature(secret, content),
    }
    command = _curl(url, headers, _curl_data(body, content))
    typer.echo(json.dumps({"url": url, "headers": headers, "curl": command}) if as_json else command)


def verify(
    body: Body,
    secret: Secret,
    header: Annotated[
        list[str],
        typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header of the webhook. Others are passed over."),
    ],
    as_json: Json = False,
) -> None:
    """Say whether the signatures of a webhook fit, and if not, why not.

    Each kind of signature that is there must fit. Exit codes: 0 verified,
    1 not verified, 2 the question cannot be answered.

      export WEBHOOK_SECRET=whsec_…
      python cli.py verify @body.json -H 'X-Signature: 5257a8…'
      python cli.py verify @body.json -H 'webhook-id: evt_1' \\
        -H 'webhook-timestamp: 1795270862' -H 'webhook-signature: v1,oU3V…'
    """
    findings = signature_check.check(secret, _content(body), _headers(header), now_s=clock.now().timestamp())
    verified = bool(findings) and not any(finding.problem for finding in findings)
    if as_json:
        schemes = [
            {"scheme": finding.scheme, "fits": finding.problem is None, "problem": finding.problem}
            for finding in findings
        ]
        typer.echo(json.dumps({"verified": verified, "schemes": schemes}))
    else:
        for finding in findings:
            _tell(finding)
        if not findings:
            typer.echo("Not signed: there is neither X-Signature nor a header of Standard Webhooks.")
    if not verified:
        raise typer.Exit(1)


def _tell(finding: signature_check.Finding) -> None:
    if finding.problem is None:
        typer.secho(f"{finding.scheme}: fits.", fg=typer.colors.GREEN)
    else:
        typer.secho(f"{finding.scheme}: does not fit.", fg=typer.colors.RED)
        typer.echo(f"  {finding.problem}")


def _content(body: str) -> bytes:
    """The bytes that an argument stands for."""
    if body == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    if not body.startswith("@"):
        return os.fsencode(body)
    try:
        return Path(body[1:]).read_bytes()
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{body[1:]} cannot be read: {error}", param_hint="BODY") from None


def _headers(lines: list[str]) -> dict[str, str]:
    """The headers that signatures are made of, by their names in lower case."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = (part.strip() for part in line.partition(":"))
        name = name.lower()
        if not colon or not value.isprintable():
            raise typer.BadParameter(f"{line!r} is no header: NAME: VALUE is one.", param_hint="--header")
        if name in headers:
            raise typer.BadParameter(f"{name} is given twice.", param_hint="--header")
        if name in signature_check.HEADERS:
            headers[name] = value
    return headers


def _curl_data(body: str, content: bytes) -> str:
    """The option by which curl sends exactly these bytes."""
    if body.startswith("@") and body != STANDARD_INPUT:
        return f"--data-binary {quote(body)}"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        raise typer.BadParameter("A shell can hold no such bytes: put them in a file, @FILE.", param_hint="BODY")
    return f"--data-raw {quote(text)}"


def _curl(url: str, headers: dict[str, str], data: str) -> str:
    options = [f"-H {quote(f'{name}: {value}')}" for name, value in headers.items()]
    # Without -g curl reads braces and brackets in a URL as several URLs.
    return " \\\n  ".join([f"curl -sS -i -g {quote(url)}", *options, data])
