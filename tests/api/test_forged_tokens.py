"""Forged access tokens: whatever is wrong with one, and whatever else is right, the answer is the same 401.

The tests know the server's own key, so that nothing but the named fault is wrong.
"""

import hmac
import json
import time
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.access_tokens import CLOCK_LEEWAY_S, MAX_LIFETIME_S, key_id
from tests.conftest import Server
from tests.factories import API, Account, Psp

Claims = dict[str, Any]
CLAIMS = ("exp", "iat", "sub", "jti", "typ", "iss", "aud", "sid")
OF_ANOTHER_TYPE = {
    "null": None,
    "true": True,
    "a list": ["x"],
    "an operator": {"$ne": None},
    "a fraction": 9_999_999_999.5,
    "empty": "",
}
RSA_KEY = rsa.generate_private_key(65537, 2048)
LONGER_THAN_ANY = 100_000


def encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def written(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@dataclass(frozen=True)
class Material:
    """What an attacker could hope for at best: a valid token, other credentials, and the server's keys."""

    token: str
    anothers_token: str
    account: Account
    key: bytes
    encryption_key: bytes

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": "HS256", "typ": "JWT", "kid": key_id(self.key)}

    @property
    def parts(self) -> list[str]:
        return self.token.split(".")

    @property
    def anothers(self) -> Claims:
        return claims_of(self.anothers_token)

    def claims(self, **changes: object) -> Claims:
        return {**claims_of(self.token), **changes}

    def forge(
        self, *, header: object = None, claims: object = None, key: bytes | None = None, digest: str = "sha256"
    ) -> str:
        """A token in which only what is given differs from a valid one. Bytes are taken as they are."""
        signed = f"{encoded(written(header or self.header))}.{encoded(written(claims or self.claims()))}"
        signature = hmac.digest(self.key if key is None else key, signed.encode(), digest)
        return f"{signed}.{encoded(signature)}"

    def with_header(self, **changes: object) -> str:
        return self.forge(header={**self.header, **changes})

    def without(self, claim: str) -> str:
        return self.forge(claims={name: value for name, value in self.claims().items() if name != claim})

    def with_raw_claim(self, name: str, text: str) -> str:
        """The claim as JSON text that Python would not write."""
        return self.forge(claims=json.dumps(self.claims(**{name: "@"})).replace('"@"', text).encode())

    def signed_with_rsa(self) -> str:
        header = encoded(written({**self.header, "alg": "RS256"}))
        signed = f"{header}.{self.parts[1]}"
        return f"{signed}.{encoded(RSA_KEY.sign(signed.encode(), padding.PKCS1v15(), SHA256()))}"


def claims_of(token: str) -> Claims:
    part = token.split(".")[1]
    claims: Claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def public_key() -> bytes:
    return RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def now() -> int:
    return int(time.time())


Forge = Callable[[Material], str]

ALGORITHMS: dict[str, Forge] = {
    **{
        f"alg {alg!r}, no signature": lambda real, alg=alg: real.with_header(alg=alg).rpartition(".")[0] + "."
        for alg in ("none", "None", "NONE", "nOnE", "")
    },
    "alg none, real signature": lambda real: real.with_header(alg="none"),
    "alg none, no third part": lambda real: real.with_header(alg="none").rpartition(".")[0],
    "HS384": lambda real: real.forge(header={**real.header, "alg": "HS384"}, digest="sha384"),
    "HS512": lambda real: real.forge(header={**real.header, "alg": "HS512"}, digest="sha512"),
    "HS512 called HS256": lambda real: real.forge(digest="sha512"),
    "RS256": Material.signed_with_rsa,
    "HS256 called RS256": lambda real: real.with_header(alg="RS256"),
    "HS256 with a public key": lambda real: real.forge(key=public_key()),
    "alg in lower case": lambda real: real.with_header(alg="hs256"),
    "alg is a list": lambda real: real.with_header(alg=["HS256"]),
    "alg is an operator": lambda real: real.with_header(alg={"$ne": None}),
    "alg is null": lambda real: real.with_header(alg=None),
    "alg is a number": lambda real: real.with_header(alg=1),
    "no alg": lambda real: real.forge(header={"typ": "JWT", "kid": key_id(real.key)}),
}
KEYS: dict[str, Forge] = {
    "no key": lambda real: real.forge(key=b""),
    "a guessed key": lambda real: real.forge(key=b"secret"),
    "ENCRYPTION_KEY": lambda real: real.forge(key=real.encryption_key),
    "the key id as key": lambda real: real.forge(key=key_id(real.key).encode()),
    "no kid": lambda real: real.forge(header={"alg": "HS256", "typ": "JWT"}),
    "unknown kid": lambda real: real.with_header(kid=key_id(b"another")),
    "another kid and its key": lambda real: real.forge(header={**real.header, "kid": key_id(b"x" * 32)}, key=b"x" * 32),
    "kid twice": lambda real: real.forge(
        header=written(real.header)[:-1] + b', "kid": "%b"}' % key_id(real.key).encode()
    ),
    "another kid, then ours": lambda real: real.forge(header=b'{"kid": "x", ' + written(real.header)[1:]),
    "kid is a path": lambda real: real.with_header(kid="../../dev/null"),
    "kid is SQL": lambda real: real.with_header(kid="x' UNION SELECT 'key"),
    "kid is empty": lambda real: real.with_header(kid=""),
    "kid is null": lambda real: real.with_header(kid=None),
    "kid is a number": lambda real: real.with_header(kid=0),
    "kid is a list": lambda real: real.with_header(kid=[key_id(real.key)]),
    "kid is an operator": lambda real: real.with_header(kid={"$ne": None}),
    "kid is long": lambda real: real.with_header(kid="x" * 1000),
}
HEADERS: dict[str, Forge] = {
    "jku": lambda real: real.with_header(jku="https://evil.example/keys"),
    "jwk": lambda real: real.with_header(jwk={"kty": "oct", "k": encoded(real.key)}),
    "x5u": lambda real: real.with_header(x5u="https://evil.example/cert"),
    "x5c": lambda real: real.with_header(x5c=["AAAA"]),
    "crit": lambda real: real.with_header(crit=["exp"]),
    "b64": lambda real: real.with_header(b64=False, crit=["b64"]),
    "zip": lambda real: real.with_header(zip="DEF"),
    "cty": lambda real: real.with_header(cty="JWT"),
    "wrong typ": lambda real: real.with_header(typ="JWE"),
    "null as typ": lambda real: real.with_header(typ=None),
    "an empty header": lambda real: real.forge(header=b"{}"),
    "the header is a list": lambda real: real.forge(header=[real.header]),
    "the header is a text": lambda real: real.forge(header="HS256"),
    "the header is null": lambda real: real.forge(header=b"null"),
    "the header is no JSON": lambda real: real.forge(header=b"HS256"),
    "the header is deep": lambda real: real.forge(header=b"[" * 1000),
    "the header is not UTF-8": lambda real: real.forge(header=b"\xff\xfe"),
}
WRONG_CLAIMS: dict[str, Forge] = {
    **{f"no {name}": lambda real, name=name: real.without(name) for name in CLAIMS},
    **{
        f"{name} is {kind}": lambda real, name=name, value=value: real.forge(claims=real.claims(**{name: value}))
        for name in CLAIMS
        for kind, value in OF_ANOTHER_TYPE.items()
    },
    **{
        f"{name} is a number": lambda real, name=name: real.forge(claims=real.claims(**{name: 1}))
        for name in ("sub", "sid", "jti", "typ", "iss", "aud")
    },
    "wrong iss": lambda real: real.forge(claims=real.claims(iss="https://evil.example")),
    "wrong aud": lambda real: real.forge(claims=real.claims(aud="another-api")),
    "our aud among others": lambda real: real.forge(claims=real.claims(aud=["mock-psp-api", "another"])),
    "wrong typ claim": lambda real: real.forge(claims=real.claims(typ="refresh")),
    "a claim of no meaning": lambda real: real.forge(claims=real.claims(role="system_admin")),
    "a claim twice": lambda real: real.forge(claims=written(real.claims())[:-1] + b', "sub": "user_x"}'),
    "expired": lambda real: real.forge(claims=real.claims(exp=now() - 1)),
    "issued ahead of time": lambda real: real.forge(claims=real.claims(iat=now() + CLOCK_LEEWAY_S + 10)),
    "not yet valid": lambda real: real.forge(claims=real.claims(nbf=now() + 1000)),
    "longer than any": lambda real: real.forge(claims=real.claims(exp=real.claims()["iat"] + MAX_LIFETIME_S + 1)),
    "exp is huge": lambda real: real.forge(claims=real.claims(exp=10**400)),
    "exp is negative": lambda real: real.forge(claims=real.claims(exp=-1)),
    "exp is NaN": lambda real: real.with_raw_claim("exp", "NaN"),
    "exp is infinite": lambda real: real.with_raw_claim("exp", "Infinity"),
    "exp is 1e999": lambda real: real.with_raw_claim("exp", "1e999"),
    "exp has 5,000 digits": lambda real: real.with_raw_claim("exp", "9" * 5000),
    "exp is digits in a text": lambda real: real.forge(claims=real.claims(exp=str(now() + 60))),
    "iat is digits in a text": lambda real: real.forge(claims=real.claims(iat=str(now()))),
    "iat is hugely negative": lambda real: real.forge(claims=real.claims(iat=-(10**400))),
    "sub of nobody": lambda real: real.forge(claims=real.claims(sub="user_none")),
    "a session that never was": lambda real: real.forge(claims=real.claims(sid="sess_none")),
    "another's session, own sub": lambda real: real.forge(
        claims=real.claims(sid=claims_of(real.anothers_token)["sid"])
    ),
    "another's sub, own session": lambda real: real.forge(
        claims=real.claims(sub=claims_of(real.anothers_token)["sub"])
    ),
    "sub with NUL": lambda real: real.forge(claims=real.claims(sub=real.account.id + "\0")),
    "sub is a lone surrogate": lambda real: real.forge(claims=real.claims(sub="\ud800")),
    "claims are a list": lambda real: real.forge(claims=[real.claims()]),
    "claims are a text": lambda real: real.forge(claims="claims"),
    "claims are null": lambda real: real.forge(claims=b"null"),
    "claims are no JSON": lambda real: real.forge(claims=b"sub=admin"),
    "claims are deep": lambda real: real.forge(claims=b"[" * 1000),
}
SPELLINGS: dict[str, Forge] = {
    "empty signature": lambda real: f"{real.parts[0]}.{real.parts[1]}.",
    "no signature": lambda real: f"{real.parts[0]}.{real.parts[1]}",
    "signature cut by one": lambda real: real.token[:-1],
    "signature of another token": lambda real: f"{real.parts[0]}.{real.parts[1]}.{real.anothers_token.split('.')[2]}",
    "claims of another token": lambda real: f"{real.parts[0]}.{real.anothers_token.split('.')[1]}.{real.parts[2]}",
    "half a token": lambda real: real.token[: len(real.token) // 2],
    "a signature spelled otherwise": lambda real: real.token[:-1] + chr(ord(real.token[-1]) + 1),
    "padded signature": lambda real: real.token + "=",
    "padded header": lambda real: f"{real.parts[0]}==.{real.parts[1]}.{real.parts[2]}",
    "padded claims": lambda real: f"{real.parts[0]}.{real.parts[1]}=.{real.parts[2]}",
    "a sign outside base64url": lambda real: real.token[:-5] + "!" + real.token[-5:],
    "base64 in place of base64url": lambda real: real.token.replace("-", "+").replace("_", "/") + "+",
    "a letter that only looks alike": lambda real: "\u00e9" + real.token[1:],
    "a full-width dot": lambda real: real.token.replace(".", "\u00b7"),
    "doubled dots": lambda real: real.token.replace(".", ".."),
    "a dot before": lambda real: "." + real.token,
    "a dot after": lambda real: real.token + ".",
    "a fourth part": lambda real: real.token + ".AAAA",
    "five parts, as of JWE": lambda real: f"{real.token}.AAAA.AAAA",
    "JSON serialization": lambda real: json.dumps({"payload": real.parts[1]}, separators=(",", ":")),
    "in quotes": lambda real: f'"{real.token}"',
    "twice, with a comma": lambda real: f"{real.token},{real.token}",
    "100 KB of letters": lambda real: "a" * LONGER_THAN_ANY,
    "100 KB of dots": lambda real: "." * LONGER_THAN_ANY,
    "100 KB, well signed": lambda real: real.forge(claims=real.claims(jti="x" * (LONGER_THAN_ANY * 3 // 4))),
    "refresh token": lambda real: real.account.refresh_token,
    "API key": lambda real: real.account.api_key,
    "webhook secret": lambda real: real.account.webhook_secret,
    "account id": lambda real: real.account.id,
    **{
        text: lambda real, text=text: text
        for text in ("null", "undefined", "a.b.c", "...", "%00", "{}", "\u00e9.\u00e9")
    },
}
FORGED: Mapping[str, Forge] = {**ALGORITHMS, **KEYS, **HEADERS, **WRONG_CLAIMS, **SPELLINGS}


@pytest.fixture(scope="module")
def real(data_dir: Path, server: Server, merchant: Account, user: Account) -> Material:
    kept = json.loads((data_dir / "secrets.json").read_text())
    return Material(
        merchant.token, user.token, merchant, kept["JWT_SECRET"].encode(), b64decode(kept["ENCRYPTION_KEY"])
    )


def send(psp: Psp, *tokens: str) -> httpx.Response:
    headers = [(b"Authorization", f"Bearer {token}".encode("latin-1")) for token in tokens]
    return psp.client.get(f"{API}/protected", headers=headers)


def assert_refused(answer: httpx.Response, code: str, detail: str) -> None:
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    request_id = answer.headers["X-Request-ID"]
    assert answer.json() == {"detail": detail, "code": code, "requestId": request_id}


def test_a_token_made_with_the_real_key_and_claims_opens(shared_psp: Psp, real: Material) -> None:
    assert send(shared_psp, real.token).status_code == 200
    assert send(shared_psp, real.forge()).status_code == 200


@pytest.mark.parametrize("fault", FORGED)
def test_a_forged_token_is_refused_and_logged_nowhere(
    shared_psp: Psp, server: Server, real: Material, fault: str
) -> None:
    token = FORGED[fault](real)
    logged = server.log.stat().st_size

    answer = send(shared_psp, token)

    assert_refused(answer, "invalid_token", "Invalid or expired token.")
    told = server.log_with("401", logged)
    assert len(token) < 16 or not any(part in told for part in token.split(".") if len(part) > 8)


def test_the_table_holds_each_kind_of_fault() -> None:
    tables = (ALGORITHMS, KEYS, HEADERS, WRONG_CLAIMS, SPELLINGS)

    assert len(FORGED) == sum(map(len, tables)) >= 40


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0)])
def test_two_authorization_headers_are_none(shared_psp: Psp, real: Material, order: tuple[int, ...]) -> None:
    tokens = (real.token, real.anothers_token)

    answer = send(shared_psp, *(tokens[one] for one in order))

    assert_refused(answer, "authorization_malformed", "Invalid authorization header format.")
