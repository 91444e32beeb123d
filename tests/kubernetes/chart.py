"""The chart as Helm renders it, and as its files say."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from stack.paths import ROOT
from tests.kubernetes import tools

CHART = ROOT / "deploy" / "helm" / "triton-kafka"
VALUES = ("values", "values-gpu", "values-kind")
RELEASE, NAMESPACE = "cats", "vision"
ALL: dict[str, Any] = {
    "observability": {"podMonitor": True, "prometheusRule": True, "dashboard": True},
    "bridge": {"scaling": {"mode": "keda"}},
    "triton": {"scaling": {"enabled": True}},
}
"""What is off until somebody asks for it."""
SECURED = {
    "kafka": {
        "tls": {"enabled": True, "caSecret": "kafka-ca", "clientSecret": "kafka-user"},
        "sasl": {
            "mechanism": "SCRAM-SHA-512",
            "username": "bridge",
            "passwordSecret": {"name": "kafka-password", "key": "password"},
        },
    }
}
STRIMZI = {"strimzi": {"enabled": True}}
Values = dict[str, Any]
Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm refuses these values; the text is what it tells the user."""


def helm(*arguments: str | Path, **options: Any) -> str:
    """What Helm prints.

    Raises:
        RefusedError: it ends with an error.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [tools.helm(), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    if done.returncode:
        raise RefusedError(done.stderr)
    return done.stdout


def render(values: Values | None = None, file: str = "values") -> list[Manifest]:
    """What an installation with this values file, and these values over it, makes.

    Raises:
        RefusedError: Helm does not take them.
    """
    return [one for one in yaml.safe_load_all(template(values, file)) if one]


def template(values: Values | None = None, file: str = "values") -> str:
    command = ("template", RELEASE, CHART, "--namespace", NAMESPACE)
    files = ("--values", CHART / f"{file}.yaml", "--values", "-")
    return helm(*command, *files, input=json.dumps(values or {}))


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of this kind, of this part of the release."""
    (found,) = (
        manifest
        for manifest in manifests
        if (manifest["kind"], manifest["metadata"]["name"]) == (kind, f"{RELEASE}-{name}")
    )
    return found


def pod(manifests: list[Manifest], part: str) -> Manifest:
    """The specification of the pods of `bridge` or `triton`."""
    kind = {"bridge": "StatefulSet", "triton": "Deployment"}[part]
    spec: Manifest = one(manifests, kind, part)["spec"]["template"]["spec"]
    return spec
