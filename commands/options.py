"""Options that several commands have."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from schemas.common import HttpUrl


def valid_url(url: str | None) -> str | None:
    try:
        return None if url is None else TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _valid_base(url: str | None) -> str | None:
    if url is not None and ("?" in url or "#" in url):
        raise typer.BadParameter("The URL of a server has no query and no fragment.")
    return valid_url(url)


def _fits_a_header(api_key: str | None) -> str | None:
    if api_key is not None and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise typer.BadParameter("An API key is psp_sk_ and characters without spaces.")
    return api_key


ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="MOCK_PSP_API_KEY",
        callback=_fits_a_header,
        help="The account's API key. Better in the environment, where no list of processes shows it.",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="MOCK_PSP_URL",
        callback=_valid_base,
        help="The server. Left out, the one at HOST and PORT: http://127.0.0.1:8000 unless they are set.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs, one object a line.")]
