"""Access tokens: JWTs (RFC 7519) with one algorithm, a key id, and claims that leave nothing to be read in two ways."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from jose import JOSEError, jwk, jws
from jose.backends.base import Key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import clock, ids, json_codec
from core.crypto import keyed_hash
from core.errors import TokenInvalid

_ALGORITHM = "HS256"
MAX_LIFETIME_S = 24 * 60 * 60
CLOCK_LEEWAY_S = 30
"""How far ahead the clock of the machine that issued a token may be. There is none at its end."""
_LONGEST = 2048  # ours have about 450 characters
# The last character of 32 bytes holds two bits of nothing: any but 00 would be another spelling of the same signature.
_COMPACT = re.compile(r"([\w-]+)\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)

_Id = Annotated[str, Field(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified access token says. Whether its session still lives is for the database to say."""

    account_id: str
    session_id: str


class _Claims(BaseModel):
    """All of them, nothing else, and each of its own JSON type."""

    model_config = ConfigDict(strict=True, extra="forbid")

    iss: Literal["mock-psp"]
    aud: Literal["mock-psp-api"]
    typ: Literal["access"]
    sub: _Id
    sid: _Id
    jti: _Id
    iat: int
    exp: int


class TokenSigner:
    """Issues access tokens under the first of its keys, and takes them under each: keys are exchanged without logging
    anybody out, by putting a new one in front and taking the old one away when its last token has expired."""

    def __init__(self, keys: Sequence[bytes], lifetime: timedelta):
        self._newest = key_id(keys[0])
        self._keys: dict[str, Key] = {key_id(key): jwk.construct(key, _ALGORITHM) for key in keys}
        self.lifetime = lifetime

    def issue(self, account_id: str, session_id: str, now: datetime) -> str:
        issued_at = int(now.timestamp())
        claims = _Claims(
            iss="mock-psp",
            aud="mock-psp-api",
            typ="access",
            sub=account_id,
            sid=session_id,
            jti=ids.fresh("jti"),
            iat=issued_at,
            exp=issued_at + int(self.lifetime.total_seconds()),
        )
        return jws.sign(claims.model_dump(), self._keys[self._newest], {"kid": self._newest}, _ALGORITHM)

    def verify(self, token: str) -> AccessToken:
        """Raises TokenInvalid for anything but a token of ours that is valid now."""
        compact = _COMPACT.fullmatch(token) if len(token) <= _LONGEST else None
        if compact is None:
            raise TokenInvalid
        try:
            payload = jws.verify(token, self._key_named_in(compact[1]), [_ALGORITHM])
            claims = _Claims.model_validate(json_codec.loads(payload))
        except (JOSEError, json_codec.JsonInvalid, ValidationError):
            raise TokenInvalid from None
        now = clock.now().timestamp()
        if claims.iat > now + CLOCK_LEEWAY_S or claims.exp <= now or claims.exp - claims.iat > MAX_LIFETIME_S:
            raise TokenInvalid
        return AccessToken(claims.sub, claims.sid)

    def _key_named_in(self, encoded_header: str) -> Key:
        """The header says which key, and beyond that nothing but what all our headers say."""
        try:
            header = json_codec.loads(urlsafe_b64decode(encoded_header + "=" * (-len(encoded_header) % 4)))
        except ValueError:
            raise TokenInvalid from None
        kid = header.get("kid") if isinstance(header, dict) else None
        if not isinstance(kid, str) or header != {"alg": _ALGORITHM, "typ": "JWT", "kid": kid}:
            raise TokenInvalid
        try:
            return self._keys[kid]
        except KeyError:
            raise TokenInvalid from None


def key_id(key: bytes) -> str:
    """The name of a signing key in the headers of its tokens: a keyed hash, which tells nothing of the key itself."""
    return urlsafe_b64encode(keyed_hash(key, "jwt_key_id", b"")[:9]).decode("ascii")
