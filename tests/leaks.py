"""What must stand nowhere in plain text (I7), looked for in everything that all tests of a process have left."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pymongo

from tests.factories import DECLINED, NEEDS_3DS, PASSWORD, VISA

ADMIN_PASSWORD = "the-first-admins-password"
KEPT = "secrets.json"
"""In a DATA_DIR: the secrets that a server has made for itself."""
_PRINTED = "printed"
"""What a client printed for whoever typed its command: the answers that show them their secrets. A directory of this
name holds what was written for people to copy: examples with their passwords and test cards."""
_KINDS = {
    b"psp_sk_": rb"[0-9A-Za-z]{64}",  # an API key
    b"psp_rt_": rb"[0-9A-Za-z]{64}",  # a refresh token
    b"pk_": rb"[0-9A-Za-z]{64}",  # a payment key
    b"whsec_": rb"[A-Za-z0-9+/]{40,}",  # a webhook secret
    b"eyJ": rb"[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}",  # an access token
    PASSWORD.encode(): b"",
    ADMIN_PASSWORD.encode(): b"",
    **{pan.encode(): rb"(?<!\d.{%d})(?!\d)" % len(pan) for pan in (VISA, DECLINED, NEEDS_3DS)},
}
"""How each kind of secret begins, which is found much faster than the rest of it is judged; and its rest."""


def leaks(client: pymongo.MongoClient[dict[str, Any]], *directories: Path) -> list[str]:
    """Where a secret stands: in a collection of any database, in the oplog, or in a file that a process has left."""
    made = {secret: b"" for directory in directories for kept in directory.rglob(KEPT) for secret in _made(kept)}
    secrets = {begin: re.compile(re.escape(begin) + rest) for begin, rest in {**_KINDS, **made}.items()}
    places = chain(_documents(client), *map(_files, directories))
    # Each with what stands before it, which says where to look.
    return [
        f"{place}: {blob[max(0, leak.start() - 200) : leak.end()]!r}"
        for place, blob in places
        for begin, secret in secrets.items()
        if begin in blob
        for leak in secret.finditer(blob)
    ]


def _made(kept: Path) -> list[bytes]:
    """JWT_SECRET, and ENCRYPTION_KEY as it is written and as it is used."""
    with suppress(ValueError, KeyError, TypeError):  # the tests of the configuration leave broken ones
        found = json.loads(kept.read_text())
        jwt_secret, encryption_key = found["JWT_SECRET"], found["ENCRYPTION_KEY"]
        if len(jwt_secret) >= 32:
            return [jwt_secret.encode(), encryption_key.encode(), b64decode(encryption_key)]
    return []


def _files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """All but MongoDB's own, which are read as collections."""
    for path in directory.rglob("*"):
        of_mongodb = "mongodb" in path.parts and "keeper" not in path.parts
        if (
            path.is_file()
            and path.name != KEPT
            and not of_mongodb
            and {_PRINTED, "node_modules"}.isdisjoint(path.parts)
        ):
            yield str(path), path.read_bytes()


def _documents(client: pymongo.MongoClient[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """All that a server holds, many documents at a time."""
    for database in client.list_databases():
        for collection in client[database["name"]].list_collections(filter={"type": "collection"}):
            namespace = client[database["name"]][collection["name"]]
            for documents in namespace.find_raw_batches():
                yield namespace.full_name, documents
