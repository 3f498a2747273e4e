"""The key that hashes are made with: made once for a database, kept in it under ENCRYPTION_KEY.

It never changes, so that ENCRYPTION_KEY can be rotated without ending every API key and session.
"""

import secrets
from contextlib import suppress

from core.crypto import KEY_BYTES, CannotDecrypt, Sealer
from core.database import Database, DuplicateKey
from core.errors import ConfigurationError

HASH_KEY_PURPOSE = "keyring:hash_key"


async def hash_key(database: Database, sealer: Sealer) -> bytes:
    """The database's hash key, made now if there is none. Raises ConfigurationError for a wrong ENCRYPTION_KEY."""
    keyring = database["keyring"]
    made = sealer.seal(secrets.token_bytes(KEY_BYTES), HASH_KEY_PURPOSE)
    with suppress(DuplicateKey):  # where another process that starts now was first
        await keyring.update_one({"_id": "hash_key"}, {"$setOnInsert": {"sealed": made}}, upsert=True)
    document = await keyring.find_one({"_id": "hash_key"})
    assert document is not None
    try:
        return sealer.open(bytes(document["sealed"]), HASH_KEY_PURPOSE)
    except CannotDecrypt:
        raise ConfigurationError(
            "ENCRYPTION_KEY is not the one that this database was made with: set that one (it may stand second, "
            "after a comma), or use another MONGODB_DB."
        ) from None
