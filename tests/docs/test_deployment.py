"""The files that a deployment starts from: .env.example, render.yaml, Dockerfile."""

import json
import re
from base64 import b64encode
from ipaddress import ip_address
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from core.config import Settings
from tests.docs.markdown import ROOT, read


def example() -> dict[str, str]:
    lines = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", read(".env.example"), re.MULTILINE)
    return dict(lines)


def render() -> dict[str, Any]:
    (service,) = yaml.safe_load(read("render.yaml"))["services"]
    return dict(service)


def test_the_example_lists_exactly_the_settings() -> None:
    assert sorted(name.lower() for name in example()) == sorted(Settings.model_fields)
    assert read(".env.example").count("=") >= len(example())


@pytest.mark.parametrize("name", sorted(example()))
def test_the_examples_values_are_the_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in Settings.model_fields:
        monkeypatch.delenv(setting.upper(), raising=False)
    default = getattr(Settings(_env_file=None), name.lower())

    monkeypatch.setenv(name, example()[name])

    assert getattr(Settings(_env_file=None), name.lower()) == default


def test_a_copied_example_changes_nothing() -> None:
    assert not re.findall(r"^[^#\s]", read(".env.example"), re.MULTILINE)


def test_renders_variables_are_settings() -> None:
    names = {variable["key"].lower() for variable in render()["envVars"]}

    assert names - {"python_version"} <= set(Settings.model_fields)


def test_render_gets_what_production_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in Settings.model_fields:
        monkeypatch.delenv(setting.upper(), raising=False)
    for number, variable in enumerate(render()["envVars"]):
        # What Render generates: base64 of 256 bits.
        made = b64encode(bytes(range(number, number + 32))).decode()
        monkeypatch.setenv(variable["key"], made if variable.get("generateValue") else variable.get("value", ""))
    monkeypatch.setenv("PORT", "10000")

    settings = Settings(_env_file=None)

    assert settings.production
    assert (settings.host, settings.port, settings.mongodb_uri) == ("0.0.0.0", 10000, None)
    assert settings.secrets.jwt_keys


def test_behind_render_a_worker_at_cloudflare_is_no_proxy() -> None:
    """Anybody may have one, and write what stands before its address in X-Forwarded-For."""
    (value,) = (variable["value"] for variable in render()["envVars"] if variable["key"] == "TRUSTED_PROXIES")
    trusted = Settings(_env_file=None, trusted_proxies=value).trusted_proxies

    def is_proxy(address: str) -> bool:
        return any(ip_address(address) in network for network in trusted)

    assert is_proxy("10.0.0.1")
    assert is_proxy("172.64.0.1")
    assert not is_proxy("2a06:98c0:3600::103")


def test_render_runs_what_is_there() -> None:
    service = render()

    assert (service["type"], service["runtime"], service["plan"]) == ("web", "python", "free")
    assert service["buildCommand"] == "pip install -r requirements.txt"
    assert service["startCommand"] == "python cli.py serve"
    assert service["healthCheckPath"] == "/health/ready"
    assert {"key": "MONGODB_URI", "sync": False} in service["envVars"]
    (python,) = (variable["value"] for variable in service["envVars"] if variable["key"] == "PYTHON_VERSION")
    assert python.startswith(read(".python-version").strip() + ".")


def test_the_image_starts_the_server_as_a_user_of_its_own() -> None:
    text = read("Dockerfile")
    instructions = re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)
    by_name = dict(instructions)

    assert by_name["FROM"].startswith(f"python:{read('.python-version').strip()}-slim")
    assert by_name["USER"] != "root"
    assert by_name["VOLUME"] == "/data"
    assert "DATA_DIR=/data" in by_name["ENV"]
    assert json.loads(by_name["CMD"]) == ["python", "cli.py", "serve"]
    check = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", text, re.MULTILINE)
    assert check is not None
    assert "/health/ready" in json.loads(check[1])[2]
    compile(json.loads(check[1])[2], "healthcheck", "exec")


def test_the_image_holds_no_secrets_and_no_data() -> None:
    assert {".env", ".data", ".venv", ".git"} <= set(read(".dockerignore").split())
    assert (ROOT / ".gitignore").read_text().split().count(".env") == 1
