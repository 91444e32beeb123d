"""What checks the manifests: programs and schemas that come as Go modules."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.paths import ROOT

KUSTOMIZE = ("sigs.k8s.io/kustomize/kustomize/v5", "v5.8.1")
KUBECONFORM = ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
KUBERNETES = ("k8s.io/kubernetes", "v1.37.2")
KEDA = ("github.com/kedacore/keda/v2", "v2.21.0")
BUILT = ROOT / ".cache" / "kubernetes"
TIMEOUT_S = 280


@cache
def program(module: str, version: str) -> Path:
    """A program, built once; the test is skipped where that is not possible."""
    path = BUILT / version / Path(module.removesuffix("/v5")).name
    if not path.is_file():
        environment = {**os.environ, "GOBIN": str(path.parent)}
        _go(["install", f"{module}@{version}"], environment)
    return path


@cache
def module(path: str, version: str) -> Path:
    """Where a module's files are; the test is skipped where it cannot be had."""
    text = _go(["mod", "download", "-json", f"{path}@{version}"], dict(os.environ))
    return Path(json.loads(text)["Dir"])


def _go(arguments: list[str], environment: dict[str, str]) -> str:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed, which builds the programs that check manifests")
    # Outside any module, whose go.mod would have a say.
    done = subprocess.run(
        [go, *arguments], cwd="/", env=environment, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"go {arguments[0]} {arguments[-1]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def write_schemas(directory: Path) -> None:
    """Schemas of Kubernetes and KEDA, where kubeconform finds them; unknown fields are errors."""
    for source in module(*KUBERNETES).glob("api/openapi-spec/v3/*__v*_openapi.json"):
        components = json.loads(source.read_text()).get("components", {})
        _close(components)
        for name, one in components.get("schemas", {}).items():
            for kind in one.get("x-kubernetes-group-version-kind", []):
                whole = {"components": components, "$ref": f"#/components/schemas/{name}"}
                # A document of each API group has Kubernetes' general kinds, too.
                if name.endswith(f".{kind['version']}.{kind['kind']}"):
                    _write(directory, kind["group"], kind["version"], kind["kind"], whole)
    for source in module(*KEDA).glob("config/crd/bases/*.yaml"):
        crd = yaml.safe_load(source.read_text())["spec"]
        for version in crd["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            _close(schema)
            # The API server's own, which the CRD does not repeat.
            schema["properties"]["metadata"] = {"type": "object"}
            _write(directory, crd["group"], version["name"], crd["names"]["kind"], schema)


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
