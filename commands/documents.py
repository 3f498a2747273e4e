"""`openapi` and `postman`: the API's description, for programs that make clients of it."""

import json
from pathlib import Path
from typing import Any

import typer

from commands.api import fail
from commands.postman import collection_of, environment_of
from core.config import load_address

COLLECTION_FILE = "mock-psp.postman_collection.json"
ENVIRONMENT_FILE = "mock-psp.postman_environment.json"


def write_openapi(document: dict[str, Any], output: Path | None) -> None:
    """To a file, or to standard output where none is given."""
    if output is None:
        typer.echo(_text(document), nl=False)
    else:
        _write(output, document)


def write_postman(document: dict[str, Any], directory: Path, url: str | None) -> None:
    """Both files that Postman and newman take, and how they are run."""
    base_url = url or load_address().url
    collection, environment = directory / COLLECTION_FILE, directory / ENVIRONMENT_FILE
    _write(collection, collection_of(document))
    _write(environment, environment_of(base_url))
    typer.echo(f"To run it:  npx newman run {collection} -e {environment}")


def _write(path: Path, document: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(document), "utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}.")
    typer.echo(f"Written:    {path}")


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
