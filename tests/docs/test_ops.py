"""ops/: the dashboard, the rules and the configuration ask for nothing that the application does not export."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from core import metrics
from routers.roles import ROLE_TABLE
from tests.conftest import Server
from tests.docs.markdown import read

ALERTED = {"MockPspOldestEventUndelivered", "MockPspEventsNotPublished", "MockPspBankBreakerOpen", "MockPspErrorRate"}
PROMETHEUS_OWN_LABELS = {"le", "job", "instance"}
ENDINGS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(read("ops/alerts.yml"))["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return list(json.loads(read("ops/grafana/mock-psp.json"))["panels"])


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])


@pytest.fixture(scope="module")
def exported(server: Server) -> dict[str, set[str]]:
    """The labels of each name under which samples come: of what processes count, and of a scrape."""
    labels: dict[str, set[str]] = {}
    for family in vars(metrics).values():
        if isinstance(family, MetricWrapperBase):
            endings = ENDINGS[family._type]
            labels |= {f"{family._name}{ending}": set(family._labelnames) for ending in endings}
    text = httpx.get(f"{server.url}/metrics", timeout=15, verify=False).text
    for found in text_string_to_metric_families(text):
        for sample in found.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def test_each_expression_asks_for_metrics_and_labels_that_are_exported(exported: dict[str, set[str]]) -> None:
    for expression in expressions():
        names = re.findall(r"\bmock_psp_\w+", expression)
        known = set().union(*(exported.get(name, set()) for name in names)) | PROMETHEUS_OWN_LABELS
        matched = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
        grouped = [label.strip() for by in re.findall(r"\bby \(([^)]*)\)", expression) for label in by.split(",")]
        assert names or expression.startswith("up{"), expression
        assert not set(names) - exported.keys(), expression
        assert not {*matched, *grouped} - known, expression


def test_each_family_that_is_exported_is_on_the_dashboard_or_alerts() -> None:
    asked = " ".join(expressions())

    missing = [family.name for family in metrics.REGISTRY.collect() if family.name not in asked]
    assert missing == ["mock_psp_process_open_fds"]


def test_each_rule_has_what_somebody_needs_who_is_woken_by_it() -> None:
    names = [rule["alert"] for rule in rules()]

    assert len(names) == len(set(names))
    assert set(names) >= ALERTED
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))


def test_a_server_that_is_not_ready_yet_and_says_so_to_whoever_waits_for_it_is_no_error() -> None:
    """Each container waits for `/health/ready` with one request after the other, and few others come meanwhile."""
    rates = [expression for expression in expressions() if 'status=~"5..' in expression]
    assert len(rates) == 2
    for rate in rates:
        assert rate.count("mock_psp_http_requests_total{") == rate.count('route!~"/health/.*"') == 2
    assert [path for _, path in ROLE_TABLE if re.fullmatch("/health/.*", path)]


def test_each_panel_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_prometheus_reads_these_rules_and_a_path_that_there_is() -> None:
    configuration = yaml.safe_load(read("ops/prometheus.yml"))
    (job,) = configuration["scrape_configs"]

    assert configuration["rule_files"] == ["alerts.yml"]
    assert ("GET", job["metrics_path"]) in ROLE_TABLE
    assert f'job="{job["job_name"]}"' in " ".join(expressions())
    assert job["authorization"]["type"] == "Bearer"
