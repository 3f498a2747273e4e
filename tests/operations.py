"""The operations of the OpenAPI document, for tests that each new route and field is to come into by itself."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import main  # noqa: TID251 - the application itself is looked at here

Schema = dict[str, Any]
Place = tuple[str | int, ...]
DOCUMENT = main.app.openapi()


def resolved(schema: Schema) -> Schema:
    """The schema itself: where it stands, behind a reference, or beside null."""
    if "$ref" in schema:
        return resolved(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    either: list[Schema] = schema.get("anyOf", [])
    values = [one for one in either if one.get("type") != "null"]
    return resolved(values[0]) if values else schema


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    """With its parameters in braces."""
    parameters: dict[str, dict[str, Schema]]
    """By where they are (`path`, `query`, `header`) and name."""
    statuses: frozenset[int]
    """What it is documented to answer."""
    media_type: str | None = None
    body: Schema = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.method} {self.path}"

    def example(self) -> Any:
        """A body that it takes, but for the ids in it, which nobody has."""
        return deepcopy(self.body["examples"][0]) if self.body else None


def operations() -> Iterator[Operation]:
    for path, methods in DOCUMENT["paths"].items():
        for method, found in methods.items():
            parameters: dict[str, dict[str, Schema]] = {"path": {}, "query": {}, "header": {}}
            for one in found.get("parameters", []):
                parameters[one["in"]][one["name"]] = resolved(one["schema"])
            media = found.get("requestBody", {}).get("content", {})
            yield Operation(
                method.upper(),
                path,
                parameters,
                frozenset(int(status) for status in found["responses"]),
                next(iter(media), None),
                *(resolved(one["schema"]) for one in media.values()),
            )


OPERATIONS = {(one.method, one.path): one for one in operations()}


def fields(schema: Schema, at: Place = ()) -> Iterator[Place]:
    """Where the values of a body are: its fields, those inside them, and an item of each list."""
    if at:
        yield at
    for name, inner in schema.get("properties", {}).items():
        yield from fields(resolved(inner), (*at, name))
    if isinstance(inner := schema.get("items"), dict):
        yield from fields(resolved(inner), (*at, 0))
    if isinstance(inner := schema.get("additionalProperties"), dict):
        yield from fields(resolved(inner), (*at, "any"))
