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
from bson.raw_bson import RawBSONDocument

from tests.factories import DECLINED, NEEDS_3DS, PASSWORD, VISA

ADMIN_PASSWORD = "the-first-admins-password"
KEPT = "secrets.json"
"""In a DATA_DIR: the secrets that a server has made for itself."""
_PRINTED = "printed"
"""What a client printed for whoever typed its command: the answers that show them their secrets. A directory of this
name holds what was written for people to copy: examples with their passwords and test cards."""
# An API key, a refresh token, a payment key, a webhook secret, an access token; and the tests' passwords and cards.
_SECRET = re.compile(
    rb"psp_sk_[0-9A-Za-z]{64}|psp_rt_[0-9A-Za-z]{64}|pk_[0-9A-Za-z]{64}|whsec_[A-Za-z0-9+/]{40,}"
    rb"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"
    rb"|" + b"|".join(re.escape(password.encode()) for password in (PASSWORD, ADMIN_PASSWORD)) + rb"|"
    rb"(?<!\d)(?:" + b"|".join(pan.encode() for pan in (VISA, DECLINED, NEEDS_3DS)) + rb")(?!\d)"
)


def leaks(client: pymongo.MongoClient[dict[str, Any]], directory: Path) -> list[str]:
    """Where a secret stands: in a collection of any database, in the oplog, or in a file that a process has left."""
    made = [re.escape(secret) for kept in directory.rglob(KEPT) for secret in _made(kept)]
    secrets = re.compile(b"|".join([_SECRET.pattern, *made]))
    places = chain(_documents(client), ((str(path), path.read_bytes()) for path in _files(directory)))
    # Each with what stands before it, which says where to look.
    return [
        f"{place}: {blob[max(0, leak.start() - 200) : leak.end()]!r}"
        for place, blob in places
        for leak in secrets.finditer(blob)
    ]


def _made(kept: Path) -> list[bytes]:
    """JWT_SECRET, and ENCRYPTION_KEY as it is written and as it is used."""
    with suppress(ValueError, KeyError, TypeError):  # the tests of the configuration leave broken ones
        found = json.loads(kept.read_text())
        jwt_secret, encryption_key = found["JWT_SECRET"], found["ENCRYPTION_KEY"]
        if len(jwt_secret) >= 32:
            return [jwt_secret.encode(), encryption_key.encode(), b64decode(encryption_key)]
    return []


def _files(directory: Path) -> Iterator[Path]:
    """All but MongoDB's own, which are read as collections."""
    for path in directory.rglob("*"):
        of_mongodb = "mongodb" in path.parts and "keeper" not in path.parts
        if (
            path.is_file()
            and path.name != KEPT
            and not of_mongodb
            and {_PRINTED, "node_modules"}.isdisjoint(path.parts)
        ):
            yield path


def _documents(client: pymongo.MongoClient[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for database in client.list_databases():
        for collection in client[database["name"]].list_collections(filter={"type": "collection"}):
            namespace = client[database["name"]][collection["name"]]
            options = namespace.codec_options.with_options(document_class=RawBSONDocument)
            for document in namespace.with_options(options).find():
                yield namespace.full_name, document.raw
