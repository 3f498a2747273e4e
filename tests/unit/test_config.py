"""Settings: their defaults, and what a process refuses to start with."""

import os
import stat
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from core.config import Secrets, Settings, load_address, load_settings
from core.errors import ConfigurationError

JWT_SECRET = "q7Jf0aB3kZ9xW2mN5vC8rT1yU4iO6pLs"
OLDER_JWT_SECRET = "Zr8vQ2nX6cL0wT4yB9mK3sH7dF1gJ5pA"
ENCRYPTION_KEY = b64encode(bytes(range(32))).decode()
PRODUCTION = {
    "ENVIRONMENT": "production",
    "JWT_SECRET": JWT_SECRET,
    "ENCRYPTION_KEY": ENCRYPTION_KEY,
    "SYSTEM_ADMIN_PASSWORD": "the-first-admins-password",
}

Load = Callable[..., Settings]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Load:
    """Read settings from exactly this environment, in an empty directory."""

    def load(**environment: str) -> Settings:
        monkeypatch.chdir(tmp_path)
        for name in Settings.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return load


def test_the_defaults_of_development_are_those_of_the_contract(load: Load) -> None:
    settings = load()

    assert (settings.environment, settings.production) == ("development", False)
    assert settings.mongodb_uri is None
    assert (settings.mongodb_db, settings.data_dir) == ("mock_psp", Path("./.data"))
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.system_admin_email, settings.system_admin_password) == ("admin@system.local", None)
    assert (settings.access_token_minutes, settings.password_hash_cost) == (120, 12)
    assert (settings.processing_delay_seconds, settings.worker) == (1, "embedded")
    assert settings.webhook_allow_private_networks is True
    assert settings.webhook_retry_schedule == (1, 2, 4, 8, 16)
    assert settings.retention_days is None
    assert (settings.rate_limit, settings.login_throttle) == (False, False)


def test_the_defaults_of_production_are_those_of_the_contract(load: Load) -> None:
    settings = load(**PRODUCTION)

    assert settings.production
    assert settings.mongodb_uri is None
    assert (settings.access_token_minutes, settings.password_hash_cost) == (15, 12)
    assert (settings.processing_delay_seconds, settings.worker) == (1, "embedded")
    assert settings.webhook_allow_private_networks is False
    assert settings.webhook_retry_schedule == (5, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 72000)
    assert settings.retention_days == 30
    assert (settings.rate_limit, settings.login_throttle) == (True, True)


def test_what_is_set_wins_over_productions_defaults(load: Load) -> None:
    settings = load(
        **PRODUCTION,
        ACCESS_TOKEN_MINUTES="30",
        WEBHOOK_ALLOW_PRIVATE_NETWORKS="true",
        WEBHOOK_RETRY_SCHEDULE="1, 2.5",
        PROCESSING_DELAY_SECONDS="0",
        WORKER="off",
    )

    assert (settings.access_token_minutes, settings.webhook_allow_private_networks) == (30, True)
    assert (settings.webhook_retry_schedule, settings.processing_delay_seconds) == ((1, 2.5), 0)
    assert settings.worker == "off"


@pytest.mark.parametrize(("value", "days"), [("7", 7), ("forever", None), ("", 30)])
def test_what_is_kept_is_kept_for_whole_days_or_forever(load: Load, value: str, days: int | None) -> None:
    assert load(**PRODUCTION, RETENTION_DAYS=value).retention_days == days


def test_a_banks_url_is_kept_without_a_slash_at_its_end(load: Load) -> None:
    assert load(BANK_URL="http://127.0.0.1:8100/").bank_url == "http://127.0.0.1:8100"
    assert load(BANK_URL="").bank_url is None


def test_hosts_and_origins_are_lists_in_lower_case(load: Load) -> None:
    settings = load(
        TRUSTED_HOSTS="PSP.example.com, *.psp.example.com,[::1]",
        CORS_ORIGINS="https://Shop.example.com, http://localhost:3000,http://[::1]:80443",
    )

    assert settings.trusted_hosts == ("psp.example.com", "*.psp.example.com", "[::1]")
    assert settings.cors_origins == ("https://shop.example.com", "http://localhost:3000", "http://[::1]:80443")
    assert (load().trusted_hosts, load().cors_origins) == ((), ())


def test_an_empty_variable_is_as_good_as_none(load: Load) -> None:
    assert load(MONGODB_URI="", PORT="").port == 8000


@pytest.mark.parametrize("name", ["JWT_SECRET", "ENCRYPTION_KEY", "SYSTEM_ADMIN_PASSWORD"])
def test_production_refuses_to_start_without_a_secret(load: Load, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is required in production"):
        load(**{key: value for key, value in PRODUCTION.items() if key != name})


def test_production_refuses_a_cheap_password_hash(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="PASSWORD_HASH_COST must be at least 12"):
        load(**PRODUCTION, PASSWORD_HASH_COST="11")


@pytest.mark.parametrize(
    "password",
    [
        "administrator",
        "Admin-1234",
        "system.admin",
        "PASSWORD1!",
        "changeme123",
        "12345678",
        "Trustno1",
        "aaaabbbb",
        "admin@system.local",
    ],
)
def test_production_refuses_a_password_that_is_tried_first(load: Load, password: str) -> None:
    with pytest.raises(ConfigurationError, match="SYSTEM_ADMIN_PASSWORD is easily guessed") as refusal:
        load(**{**PRODUCTION, "SYSTEM_ADMIN_PASSWORD": password})

    assert password not in str(refusal.value)


@pytest.mark.parametrize("environment", ["development", "production"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", "short"),
        ("JWT_SECRET", "x" * 64),
        ("JWT_SECRET", "changeme" * 8),
        ("JWT_SECRET", ENCRYPTION_KEY),
        ("JWT_SECRET", f"{JWT_SECRET},"),
        ("JWT_SECRET", f"{JWT_SECRET},short"),
        ("JWT_SECRET", f"{JWT_SECRET},{'changeme' * 8}"),
        ("JWT_SECRET", f"{JWT_SECRET},{ENCRYPTION_KEY}"),
        ("JWT_SECRET", f"{JWT_SECRET},{JWT_SECRET}"),
        ("JWT_SECRET", f"{JWT_SECRET},{OLDER_JWT_SECRET},{JWT_SECRET[::-1]}"),
        ("SYSTEM_ADMIN_PASSWORD", JWT_SECRET),
        ("SYSTEM_ADMIN_PASSWORD", ENCRYPTION_KEY),
        ("METRICS_TOKEN", OLDER_JWT_SECRET),
        ("METRICS_TOKEN", ENCRYPTION_KEY),
        ("METRICS_TOKEN", PRODUCTION["SYSTEM_ADMIN_PASSWORD"]),
        ("ENCRYPTION_KEY", "short"),
        ("ENCRYPTION_KEY", "not base64 at all, but long enough!!"),
        ("ENCRYPTION_KEY", b64encode(bytes(31)).decode()),
        ("ENCRYPTION_KEY", b64encode(bytes(32)).decode()),
        ("ENCRYPTION_KEY", f"{ENCRYPTION_KEY},"),
    ],
)
def test_a_secret_that_is_short_well_known_or_equal_to_the_other_is_refused(
    load: Load, environment: str, name: str, value: str
) -> None:
    used = {**PRODUCTION, "JWT_SECRET": f"{JWT_SECRET},{OLDER_JWT_SECRET}", "ENVIRONMENT": environment}
    with pytest.raises(ConfigurationError, match=name) as refusal:
        load(**{**used, name: value})

    assert value not in str(refusal.value)


@pytest.mark.parametrize("token", ["short", OLDER_JWT_SECRET[:31], "x" * 64, "changeme" * 8])
def test_production_refuses_a_metrics_token_that_can_be_guessed(load: Load, token: str) -> None:
    with pytest.raises(ConfigurationError, match="METRICS_TOKEN must be at least 32 random bytes") as refusal:
        load(**PRODUCTION, METRICS_TOKEN=token)

    assert token not in str(refusal.value)
    assert load(METRICS_TOKEN=token).shows_metrics
    assert load(**PRODUCTION, METRICS_TOKEN=OLDER_JWT_SECRET).shows_metrics


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "staging"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WORKER", "maybe"),
        ("ACCESS_TOKEN_MINUTES", "0"),
        ("PASSWORD_HASH_COST", "3"),
        ("PROCESSING_DELAY_SECONDS", "-1"),
        ("PROCESSING_DELAY_SECONDS", "nan"),
        ("PROCESSING_DELAY_SECONDS", "inf"),
        ("WEBHOOK_RETRY_SCHEDULE", "1,two"),
        ("WEBHOOK_RETRY_SCHEDULE", "1,-2"),
        ("WEBHOOK_RETRY_SCHEDULE", "nan"),
        ("SYSTEM_ADMIN_EMAIL", "nobody"),
        ("SYSTEM_ADMIN_PASSWORD", "short"),
        ("MONGODB_DB", "a/b"),
        ("BANK_URL", "127.0.0.1:8100"),
        ("BANK_URL", "ftp://127.0.0.1"),
        ("BANK_URL", "http://"),
        ("BANK_URL", "http://127.0.0.1:port"),
        ("BANK_URL", "http://127.0.0.1?bank=1"),
        ("MAGIC_AMOUNTS", "perhaps"),
        ("RETENTION_DAYS", "0"),
        ("RETENTION_DAYS", "0.5"),
        ("RETENTION_DAYS", "-1"),
        ("RETENTION_DAYS", "24856"),
        ("RETENTION_DAYS", "never"),
        ("TRUSTED_HOSTS", "https://psp.example.com"),
        ("TRUSTED_HOSTS", "psp.example.com:8000"),
        ("TRUSTED_HOSTS", "psp.example.com,"),
        ("TRUSTED_HOSTS", "*"),
        ("TRUSTED_HOSTS", "psp.*.com"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "shop.example.com"),
        ("CORS_ORIGINS", "https://shop.example.com/"),
        ("CORS_ORIGINS", "https://shop.example.com:443"),
        ("CORS_ORIGINS", "http://shop.example.com:80"),
        ("CORS_ORIGINS", "https://ada@shop.example.com"),
        ("CORS_ORIGINS", "https://*.example.com"),
        ("CORS_ORIGINS", "ftp://shop.example.com"),
        ("CORS_ORIGINS", "https://shop.example.com,,https://b.example"),
    ],
)
def test_a_setting_that_is_wrong_is_named_in_one_sentence(load: Load, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}[^\n]*$"):
        load(**{name: value})


@pytest.mark.parametrize("missing", ["JWT_SECRET", "ENCRYPTION_KEY"])
def test_a_database_elsewhere_needs_secrets_that_are_not_kept_on_this_machine(load: Load, missing: str) -> None:
    secrets = {"JWT_SECRET": JWT_SECRET, "ENCRYPTION_KEY": ENCRYPTION_KEY}
    del secrets[missing]

    with pytest.raises(ConfigurationError, match=f"MONGODB_URI is set but {missing} is not"):
        load(MONGODB_URI="mongodb://elsewhere", **secrets)


def test_secrets_are_made_once_and_kept_for_their_owner_alone(load: Load, tmp_path: Path) -> None:
    first, second = load(DATA_DIR=str(tmp_path / "new")), load(DATA_DIR=str(tmp_path / "new"))

    kept = tmp_path / "new" / "secrets.json"
    assert first.secrets.jwt_keys == second.secrets.jwt_keys
    assert first.secrets.encryption_keys == second.secrets.encryption_keys
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert os.listdir(kept.parent) == ["secrets.json"]  # noqa: PTH208 - no draft may stay behind


def test_a_damaged_secrets_file_is_named_and_left_alone(load: Load, tmp_path: Path) -> None:
    kept = tmp_path / "secrets.json"
    kept.write_text("{}")

    with pytest.raises(ConfigurationError, match=r"secrets\.json is not the secrets file"):
        load(DATA_DIR=str(tmp_path))
    assert kept.read_text() == "{}"


def test_several_encryption_keys_are_read_in_order() -> None:
    older = b64encode(bytes(range(32, 64))).decode()

    assert Secrets(JWT_SECRET, f"{ENCRYPTION_KEY}, {older}").encryption_keys == [bytes(range(32)), bytes(range(32, 64))]


def test_a_signing_key_may_be_followed_by_the_one_before_it() -> None:
    both = Secrets(f"{JWT_SECRET}, {OLDER_JWT_SECRET}", ENCRYPTION_KEY)

    assert both.jwt_keys == [JWT_SECRET.encode(), OLDER_JWT_SECRET.encode()]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("psp.local", "http://psp.local:8123"),
        ("::1", "http://[::1]:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
    ],
)
def test_a_server_is_reached_where_it_listens(load: Load, host: str, url: str) -> None:
    assert load(HOST=host, PORT="8123").url == url


def test_a_client_reads_the_address_and_needs_no_secret(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    load(**PRODUCTION)
    monkeypatch.delenv("JWT_SECRET")

    assert load_address().url == "http://127.0.0.1:8000"
    monkeypatch.setenv("PORT", "70000")
    with pytest.raises(ConfigurationError, match="PORT"):
        load_address()


def test_trusted_proxies_are_addresses_and_networks(load: Load) -> None:
    assert load().trusted_proxies == ()
    found = load(TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8,2001:db8::/32").trusted_proxies
    assert [str(network) for network in found] == ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/8,,127.0.0.1", "unix"])
def test_a_trusted_proxy_that_is_no_address_is_refused(load: Load, value: str) -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES: IP addresses or networks in CIDR notation"):
        load(TRUSTED_PROXIES=value)
