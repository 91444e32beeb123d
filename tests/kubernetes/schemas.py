"""Schemas of Kubernetes, KEDA, Strimzi and the Prometheus operator, for kubeconform."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes import tools


def write_schemas(directory: Path, version: str) -> str:
    """Write them into a folder; unknown fields are errors.

    Returns:
        kubeconform's -schema-location.
    """
    for source in tools.need(tools.openapi(version)).glob("*__v*_openapi.json"):
        components = json.loads(source.read_text()).get("components", {})
        _close(components)
        for name, one in components.get("schemas", {}).items():
            for kind in one.get("x-kubernetes-group-version-kind", []):
                whole = {"components": components, "$ref": f"#/components/schemas/{name}"}
                # A document of each API group has Kubernetes' general kinds, too.
                if kind["kind"] in KINDS and name.endswith(f".{kind['version']}.{kind['kind']}"):
                    _write(directory, kind["group"], kind["version"], kind["kind"], whole)
    for source in tools.need(tools.crds()).glob("*.yaml"):
        crd = yaml.safe_load(source.read_text())["spec"]
        for served in crd["versions"]:
            schema = served["schema"]["openAPIV3Schema"]
            _close(schema)
            # The API server's own, which the CRD does not repeat.
            schema["properties"]["metadata"] = {"type": "object"}
            schema["properties"].setdefault("apiVersion", {"type": "string"})
            schema["properties"].setdefault("kind", {"type": "string"})
            _write(directory, crd["group"], served["name"], crd["names"]["kind"], schema)
    return f"{directory}/" + "{{.Group}}/{{.ResourceAPIVersion}}/{{.ResourceKind}}.json"


KINDS = frozenset(
    {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
        "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
    }
)  # fmt: skip
"""Kubernetes' own kinds that the chart makes; another one has no schema here, which is an error."""


def _write(directory: Path, group: str, version: str, kind: str, schema: dict[str, Any]) -> None:
    # kubeconform calls the core's group by its version.
    path = directory / (group or version) / version / f"{kind.lower()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema))


def _close(schema: Any) -> None:
    """Forbid what is not named, as the API server does with strict validation."""
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        named = schema.get("properties")
        if isinstance(named, dict) and all(isinstance(one, dict) for one in named.values()):
            schema.setdefault("additionalProperties", False)
        for one in schema.values():
            _close(one)
