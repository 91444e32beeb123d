"""Alerts, scrape configuration and dashboard: valid, and about metrics that there are."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as dashboards

from bridge.metrics import Metrics
from tests.compose.engine import ROOT, run

FOLDER = ROOT / "observability"
DASHBOARD = FOLDER / "grafana" / "dashboards" / "pipeline.json"
ALERTS = (FOLDER / "alerts.yaml").read_text()
TRITON_ON_A_GPU = {
    "nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes", "nv_cpu_utilization",
    "nv_energy_consumption", "nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes",
    "nv_gpu_power_limit", "nv_gpu_power_usage", "nv_gpu_utilization",
    "nv_inference_compute_infer_duration_us", "nv_inference_compute_input_duration_us",
    "nv_inference_compute_output_duration_us", "nv_inference_count", "nv_inference_exec_count",
    "nv_inference_pending_request_count", "nv_inference_queue_duration_us",
    "nv_inference_request_duration_us", "nv_inference_request_failure",
    "nv_inference_request_success", "nv_pinned_memory_pool_total_bytes",
    "nv_pinned_memory_pool_used_bytes",
}  # fmt: skip
"""What Triton 2.51 exported beside one H200."""
NOT_IN_THE_MODEL = {"titleFormat", "definition"}
"""Grafana writes these itself: an annotation's title of Prometheus', a variable's query again."""


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    return found


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def bridge_metrics() -> set[str]:
    suffixes = {
        "counter": ("_total",),
        "gauge": ("",),
        "histogram": ("_bucket", "_sum", "_count"),
    }
    return {
        family.name + suffix
        for family in Metrics().registry.collect()
        for suffix in suffixes[family.type]
    }


def test_prometheus_accepts_its_configuration(promtool: str) -> None:
    run([promtool, "check", "config", FOLDER / "prometheus.yaml"])


def test_each_alert_fires_for_its_fault_and_not_without_it(promtool: str) -> None:
    run([promtool, "test", "rules", FOLDER / "alerts_test.yaml"])


def test_each_alert_is_tested() -> None:
    tests = (FOLDER / "alerts_test.yaml").read_text()
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    assert alerts
    assert [
        name for name in alerts if not re.search(rf"alertname: {name}\n +exp_alerts", tests)
    ] == []


def test_queries_name_metrics_that_the_bridge_has(dashboard: dict[str, Any]) -> None:
    text = ALERTS + "".join(queries(dashboard))
    named = set(re.findall(r"\bbridge_[a-z_]+(?=[\[{])", text))
    assert len(named) > 5
    assert named <= bridge_metrics()


def test_queries_name_metrics_that_triton_has_on_a_gpu(dashboard: dict[str, Any]) -> None:
    named = set(re.findall(r"\bnv_[a-z_]+", ALERTS + "".join(queries(dashboard))))
    assert any(name.startswith("nv_gpu_") for name in named)
    assert named <= TRITON_ON_A_GPU


def test_queries_of_the_dashboard_are_valid(
    promtool: str, dashboard: dict[str, Any], tmp_path: Path
) -> None:
    rules = [
        {"record": f"query:{number}", "expr": _filled_in(query)}
        for number, query in enumerate(queries(dashboard))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run([promtool, "check", "rules", file])


def _filled_in(query: str) -> str:
    filled = query.replace("$__rate_interval", "5m")
    return re.sub(r"\$(instance|model)", ".*", filled)


def test_panels_have_a_place_and_an_explanation(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
    assert all(panel["description"] for panel in panels if panel["type"] != "row")


def test_grafanas_own_model_knows_every_field_of_the_dashboard(dashboard: dict[str, Any]) -> None:
    register_default_plugins()
    read = dashboards.Dashboard.from_json(dashboard)
    known = json.loads(json.dumps(read.to_json(), default=lambda part: part.to_json()))
    assert {path.rpartition("/")[2] for path in _unknown(dashboard, known)} <= NOT_IN_THE_MODEL


def _unknown(ours: Any, known: Any, path: str = "") -> Iterator[str]:
    """Where something of ours is not, or not the same, in what the model made of it."""
    if isinstance(ours, dict) and isinstance(known, dict):
        for name, value in ours.items():
            yield from _unknown(value, known.get(name), f"{path}/{name}")
    elif isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        for one, other in zip(ours, known, strict=True):
            yield from _unknown(one, other, path)
    elif ours != known:
        yield path


def test_the_dashboard_finds_the_provisioned_data_source(dashboard: dict[str, Any]) -> None:
    source = (FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    (uid,) = re.findall(r"uid: (\S+)", source)
    used = {panel["datasource"]["uid"] for panel in dashboard["panels"] if "targets" in panel}
    assert used == {uid}
