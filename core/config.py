"""Every setting of the product, read in one place from the environment and `.env` (listed in `.env.example`)."""

import json
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Sequence
from functools import cached_property
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from yarl import URL

from core.common_passwords import is_common
from core.crypto import parse_key
from core.errors import ConfigurationError

MIN_SECRET_BYTES = 32
MAX_SIGNING_KEYS = 2
MIN_HASH_COST = 4
PRODUCTION_MIN_HASH_COST = 12
DEVELOPMENT_RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0)
PRODUCTION_RETENTION_DAYS = 30
MAX_RETENTION_DAYS = 24_855
"""MongoDB keeps the seconds in 31 bits."""
PRODUCTION_RETRY_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 72000.0)
# What is tried first: nothing but such words, whatever digits and signs stand between them.
_TRIED_FIRST = re.compile(
    "(?:system|sys|super|mock|psp|local|admin|administrator|root|user|test|demo|password|pass|secret|change|me|default|"
    "let|in|welcome|qwerty|abc)*"
)
_PLACEHOLDERS = ("changeme", "secretkey", "yoursecret", "supersecret", "password", "default", "insecure", "placeholder")

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read here, bound nowhere
_NAME = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?:\*\.)?{_NAME}|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(rf"(?:http(?!.*:80$)|https(?!.*:443$))://(?:{_NAME}|\[[0-9a-f:.]+\])(?::[1-9][0-9]{{0,4}})?")

CommaSeparated = Annotated[tuple[str, ...], NoDecode]
Read = TypeVar("Read", bound=BaseSettings)


class Address(BaseSettings):
    """Where the API is served: all that a client on the same machine has to know, who needs no secret of the server."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)

    @property
    def url(self) -> str:
        """Where it is reached from this machine."""
        host = _EVERYWHERE.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class Settings(Address):
    """What the environment says. A field left out of production's defaults is the same in both."""

    environment: Literal["development", "production"] = "development"
    mongodb_uri: SecretStr | None = None
    mongodb_db: str = Field(default="mock_psp", min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_-]+$")
    data_dir: Path = Path(".data")

    jwt_secret: SecretStr | None = None
    encryption_key: SecretStr | None = None
    system_admin_email: str = "admin@system.local"
    system_admin_password: SecretStr | None = None

    access_token_minutes: int = Field(default=120, ge=1, le=60 * 24)
    password_hash_cost: int = Field(default=12, ge=MIN_HASH_COST, le=16)
    login_throttle: bool = False

    processing_delay_seconds: float = Field(default=1.0, ge=0, le=3600, allow_inf_nan=False)
    worker: Literal["embedded", "off"] = "embedded"

    bank_url: str | None = None
    magic_amounts: bool = False

    webhook_allow_private_networks: bool = True
    webhook_retry_schedule: Annotated[tuple[float, ...], NoDecode] = DEVELOPMENT_RETRY_S
    trusted_hosts: CommaSeparated = ()
    cors_origins: CommaSeparated = ()
    retention_days: int | None = Field(default=None, ge=1, le=MAX_RETENTION_DAYS)

    metrics_token: SecretStr | None = None
    metrics_port: int | None = Field(default=None, ge=1, le=65535)

    rate_limit: bool = False
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = ()

    @model_validator(mode="before")
    @classmethod
    def _production_defaults(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("environment") == "production":
            return {
                "access_token_minutes": 15,
                "login_throttle": True,
                "rate_limit": True,
                "webhook_allow_private_networks": False,
                "webhook_retry_schedule": PRODUCTION_RETRY_S,
                "retention_days": PRODUCTION_RETENTION_DAYS,
                **values,
            }
        return values

    @field_validator("retention_days", mode="before")
    @classmethod
    def _forever(cls, value: object) -> object:
        # A word for it, because an empty variable is as good as none.
        return None if value == "forever" else value

    @field_validator("webhook_retry_schedule", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("webhook_retry_schedule")
    @classmethod
    def _seconds_in_range(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) > 20 or not all(0 <= seconds <= 7 * 24 * 3600 for seconds in value):
            raise ValueError("at most 20 delays of 0 to 604800 seconds, separated by commas")
        return value

    @field_validator("trusted_hosts", "cors_origins", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(part.strip().lower() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("trusted_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_HOST_NAME.fullmatch, value)):
            raise ValueError("names of hosts are needed (psp.example.com, *.example.com), separated by commas")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_ORIGIN.fullmatch, value)):
            raise ValueError(
                "origins as browsers send them are needed (https://shop.example.com, http://localhost:3000), "
                "separated by commas: no path, no default port, no *"
            )
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return tuple(ip_network(part.strip()) for part in value.split(","))
        except ValueError:
            raise ValueError(
                "IP addresses or networks in CIDR notation are needed (10.0.0.0/8), separated by commas"
            ) from None

    @field_validator("bank_url")
    @classmethod
    def _bank_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            url = URL(value)
        except ValueError:
            raise ValueError("an http or https URL is needed") from None
        if url.scheme not in ("http", "https") or not url.host or url.query_string or url.fragment:
            raise ValueError("an http or https URL is needed, without query or fragment")
        return value.rstrip("/")

    @field_validator("system_admin_email")
    @classmethod
    def _email(cls, value: str) -> str:
        if not 3 <= len(value) <= 254 or value.count("@") != 1:
            raise ValueError("an e-mail address is needed")
        return value

    @field_validator("system_admin_password")
    @classmethod
    def _password_length(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not 8 <= len(value.get_secret_value()) <= 64:
            raise ValueError("a password has 8 to 64 characters")
        return value

    @model_validator(mode="after")
    def _production_is_safe(self) -> Self:
        if self.environment == "production":
            if self.password_hash_cost < PRODUCTION_MIN_HASH_COST:
                raise ValueError(f"PASSWORD_HASH_COST must be at least {PRODUCTION_MIN_HASH_COST} in production")
            for name in ("jwt_secret", "encryption_key", "system_admin_password"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name.upper()} is required in production")
            assert self.system_admin_password is not None
            if _easily_guessed(self.system_admin_password.get_secret_value()):
                raise ValueError("SYSTEM_ADMIN_PASSWORD is easily guessed: take another one in production")
            if self.metrics_token is not None and _weak(self.metrics_token.get_secret_value()):
                raise ValueError(
                    f"METRICS_TOKEN must be at least {MIN_SECRET_BYTES} random bytes in production: make one with "
                    'python -c "import secrets; print(secrets.token_urlsafe(32))"'
                )
        return self

    @property
    def shows_metrics(self) -> bool:
        """Whether there is a /metrics: in production not without a token."""
        return self.metrics_token is not None or not self.production

    def opens_metrics(self, authorization: Sequence[str]) -> bool:
        """Whether METRICS_TOKEN is in this `Authorization` header; anything opens where there is no token. Of two
        headers, a proxy before us may have looked at the other one."""
        if self.metrics_token is None:
            return True
        scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
        wanted = self.metrics_token.get_secret_value().encode()
        # What is no UTF-8 comes as lone surrogates.
        return scheme.lower() == "bearer" and compare_digest(token.strip().encode("utf-8", "surrogatepass"), wanted)

    @property
    def production(self) -> bool:
        return self.environment == "production"

    @cached_property
    def secrets(self) -> "Secrets":
        """JWT_SECRET and ENCRYPTION_KEY, from the environment or, with the embedded MongoDB, made once and kept."""
        jwt = self.jwt_secret.get_secret_value() if self.jwt_secret else None
        encryption = self.encryption_key.get_secret_value() if self.encryption_key else None
        if jwt is None or encryption is None:
            if self.mongodb_uri is not None:
                missing = "JWT_SECRET" if jwt is None else "ENCRYPTION_KEY"
                raise ConfigurationError(
                    f"MONGODB_URI is set but {missing} is not: set it, since a secret kept on this machine alone "
                    "would lock other machines out of the same database."
                )
            kept = _kept_secrets(self.data_dir / "secrets.json")
            jwt, encryption = jwt or kept["JWT_SECRET"], encryption or kept["ENCRYPTION_KEY"]
        others = {"SYSTEM_ADMIN_PASSWORD": self.system_admin_password, "METRICS_TOKEN": self.metrics_token}
        given = {name: value.get_secret_value() for name, value in others.items() if value is not None}
        return Secrets(jwt, encryption, **given)


class Secrets:
    """The secrets, checked: none is short or well known, and no two are equal."""

    def __init__(self, jwt_secret: str, encryption_key: str, **others: str):
        """`others` by the names of their settings. Raises ConfigurationError."""
        signing = [part.strip() for part in jwt_secret.split(",")]
        if any(map(_weak, signing)):
            raise ConfigurationError(
                f"JWT_SECRET must be at least {MIN_SECRET_BYTES} random bytes (while it is exchanged, the new one, a "
                'comma and the old one): make one with python -c "import secrets; print(secrets.token_urlsafe(48))".'
            )
        if len(signing) > MAX_SIGNING_KEYS or len(set(signing)) < len(signing):
            raise ConfigurationError(
                f"JWT_SECRET holds at most {MAX_SIGNING_KEYS} values, each another one: the newest and the one before."
            )
        try:
            self.encryption_keys = [parse_key(part.strip()) for part in encryption_key.split(",")]
        except ValueError:
            raise ConfigurationError(
                "ENCRYPTION_KEY must be base64 of 32 random bytes (several separated by commas, the newest first): "
                'make one with python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())".'
            ) from None
        if any(len(set(key)) < 8 for key in self.encryption_keys):
            raise ConfigurationError("ENCRYPTION_KEY repeats a few bytes over and over: make a random one.")
        if any(part in encryption_key for part in signing):
            raise ConfigurationError("JWT_SECRET and ENCRYPTION_KEY are equal: give each a value of its own.")
        taken = {*signing, *(part.strip() for part in encryption_key.split(","))}
        for name, secret in others.items():
            if secret in taken:
                raise ConfigurationError(f"{name} equals another secret: give each a value of its own.")
            taken.add(secret)
        self.jwt_keys = [part.encode() for part in signing]


def load_settings() -> Settings:
    """Read the settings. Raises ConfigurationError with one sentence for the first thing that is wrong."""
    settings = _read(Settings)
    _ = settings.secrets
    return settings


def load_address() -> Address:
    """Read where the API is served, and nothing else. Raises ConfigurationError."""
    return _read(Address)


def _read(kind: type[Read]) -> Read:
    try:
        return kind()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]).upper()
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{where}: {reason}." if where else f"{reason}.") from None


def _easily_guessed(password: str) -> bool:
    letters = "".join(character for character in password.lower() if character.isalpha())
    return len(set(password)) < 6 or is_common(password) or _TRIED_FIRST.fullmatch(letters) is not None


def _weak(secret: str) -> bool:
    """Whether it is short, repeats itself, or stands in examples."""
    letters = "".join(character for character in secret.lower() if character.isalnum())
    short = len(secret.encode()) < MIN_SECRET_BYTES or len(set(secret)) < 8
    return short or any(placeholder in letters for placeholder in _PLACEHOLDERS)


def _kept_secrets(path: Path) -> dict[str, str]:
    """Read the secrets file, making it first if there is none. Several processes may do so at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_secrets(path)
        kept = json.loads(path.read_text("utf-8"))
        return {"JWT_SECRET": str(kept["JWT_SECRET"]), "ENCRYPTION_KEY": str(kept["ENCRYPTION_KEY"])}
    except OSError as error:
        raise ConfigurationError(
            f"The secrets cannot be kept in {path} ({error.strerror}): make DATA_DIR a directory that can be "
            "written, or set JWT_SECRET and ENCRYPTION_KEY."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{path} is not the secrets file that was written there: restore it, or delete it together with the data "
            "it belongs to."
        ) from None


def _make_secrets(path: Path) -> None:
    made = {
        "JWT_SECRET": secrets.token_urlsafe(48),
        "ENCRYPTION_KEY": b64encode(secrets.token_bytes(32)).decode("ascii"),
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(made, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        # Of several processes that start at once the first one's link stays, and the others read it.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
