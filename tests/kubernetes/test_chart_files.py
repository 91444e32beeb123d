"""The chart's files by themselves, without Helm: one source for everything that stands in them."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bridge.config import Settings
from bridge.loading import load
from scripts.chart import OWNED, SCHEMA, render
from stack.paths import ROOT
from tests.kubernetes.chart import CHART, VALUES

LINKS = {
    "files/alerts.yaml": "observability/alerts.yaml",
    "files/dashboard.json": "observability/grafana/dashboards/pipeline.json",
}


def values(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((CHART / f"{name}.yaml").read_text())
    return read


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(SCHEMA.read_text())
    return read


def test_the_schema_has_the_bridges_settings() -> None:
    assert SCHEMA.read_text() == render(), "run make docs"
    settings = json.loads(render())["$defs"]["settings"]["properties"]
    assert settings.keys() | OWNED == Settings.model_fields.keys()


def test_the_versions_are_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize(("link", "source"), LINKS.items())
def test_alerts_and_dashboard_are_those_of_observability(link: str, source: str) -> None:
    assert (CHART / link).is_symlink()
    assert (CHART / link).resolve() == (ROOT / source).resolve()


@pytest.mark.parametrize("name", VALUES)
def test_values_fit_the_schema(schema: dict[str, Any], name: str) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(values(name))] == []


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}")


def test_every_value_is_described_and_no_other_is_taken(schema: dict[str, Any]) -> None:
    for path, one in objects(schema):
        if "$ref" in one:
            continue
        assert one.get("description"), path
        if "properties" in one:
            assert one["additionalProperties"] is False, path


def leaves(tree: Any, path: str = "") -> Iterator[str]:
    """Names of all values, but those of maps that the schema leaves open."""
    if isinstance(tree, dict) and tree:
        for name, inner in tree.items():
            yield from leaves(inner, f"{path}.{name}")
    else:
        yield path


def test_every_described_value_has_its_default(schema: dict[str, Any]) -> None:
    described = {path for path, one in objects(schema) if one.get("type") != "object"}
    described -= {"", ".global", ".bridge.settings"}
    assert described <= set(leaves(values("values")))


@pytest.mark.parametrize("template", sorted(CHART.glob("templates/**/*.*")), ids=lambda p: p.name)
def test_templates_use_values_that_there_are(template: Path) -> None:
    known = values("values")
    for name in re.findall(r"\.Values\.([A-Za-z_.]+)", template.read_text()):
        inner: Any = known
        for part in name.split("."):
            if name.startswith("bridge.settings."):
                assert name.rpartition(".")[2] in Settings.model_fields
                break
            assert part in inner, name
            inner = inner[part]


@pytest.mark.parametrize("name", VALUES)
def test_the_bridge_takes_the_settings(name: str, tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    settings = values(name).get("bridge", {}).get("settings", {})
    file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    read = load({"config": str(file)})
    assert {key: getattr(read, key) for key in settings} == settings


def test_a_bridge_is_killed_after_its_drain() -> None:
    bridge = values("values")["bridge"]
    # The check in the templates takes the same, where the setting is left out.
    assert bridge["settings"]["drain_timeout_s"] == Settings.model_fields["drain_timeout_s"].default
    assert bridge["terminationGracePeriodSeconds"] >= bridge["settings"]["drain_timeout_s"] + 10
    assert bridge["scaling"]["cooldownSeconds"] > bridge["terminationGracePeriodSeconds"]
