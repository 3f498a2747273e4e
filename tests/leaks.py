"""What must stand nowhere in plain text (I7), looked for in everything that all tests of a process have left."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
from bson.raw_bson import RawBSONDocument

from tests.factories import PASSWORD

ADMIN_PASSWORD = "the-first-admins-password"
# An API key, a refresh token, a payment key, a webhook secret, an access token; and the passwords of the tests.
_SECRET = re.compile(
    rb"psp_sk_[0-9A-Za-z]{64}|psp_rt_[0-9A-Za-z]{64}|pk_[0-9A-Za-z]{64}|whsec_[A-Za-z0-9+/]{40,}"
    rb"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}|"
    + re.escape(PASSWORD.encode())
    + rb"|"
    + re.escape(ADMIN_PASSWORD.encode())
)


def leaks(client: pymongo.MongoClient[dict[str, Any]], logs: Path) -> list[str]:
    """Where a secret stands: in a collection of any database, in the oplog, or in the log of any process."""
    found = [f"{place}: {leak!r}" for place, blob in _documents(client) for leak in _leaks_in(blob)]
    found += [f"{log}: {leak!r}" for log in logs.rglob("*.log") for leak in _leaks_in(log.read_bytes())]
    return found


def _leaks_in(blob: bytes) -> list[bytes]:
    """Each with what stands before it, which says where to look."""
    return [blob[max(0, leak.start() - 200) : leak.end()] for leak in _SECRET.finditer(blob)]


def _documents(client: pymongo.MongoClient[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for database in client.list_databases():
        for collection in client[database["name"]].list_collections(filter={"type": "collection"}):
            namespace = client[database["name"]][collection["name"]]
            options = namespace.codec_options.with_options(document_class=RawBSONDocument)
            for document in namespace.with_options(options).find():
                yield namespace.full_name, document.raw
