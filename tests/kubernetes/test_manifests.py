"""The manifests: what they promise, and that an API server takes them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import Settings, load
from bridge.triton.addresses import parse_targets
from stack.paths import ROOT
from tests.kubernetes import tools

FOLDER = ROOT / "kubernetes"
OVERLAYS = ("base", "cpu", "keda")
LEAVE_GROUP_S = 10
"""What a bridge takes beside its drain: Kafka's client leaves the group and closes."""


def documents(*names: str) -> Iterator[dict[str, Any]]:
    for name in names or ("bridge", "triton", "config", "network", "namespace"):
        yield from yaml.safe_load_all((FOLDER / "base" / f"{name}.yaml").read_text())


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = (d for d in documents() if (d["kind"], d["metadata"]["name"]) == (kind, name))
    return found


def pod(name: str) -> dict[str, Any]:
    kind = {"bridge": "StatefulSet", "triton": "Deployment"}[name]
    spec: dict[str, Any] = one(kind, name)["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The bridge's settings as a pod has them."""
    for name in list(os.environ):
        if name.startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    for name, value in one("ConfigMap", "bridge")["data"].items():
        assert name.removeprefix("BRIDGE_").lower() in Settings.model_fields, name
        monkeypatch.setenv(name, value)
    for variable in pod("bridge")["containers"][0]["env"]:
        assert variable["name"].removeprefix("BRIDGE_").lower() in Settings.model_fields
        if "value" in variable:
            monkeypatch.setenv(variable["name"], variable["value"])
    return load({})


def test_the_bridge_takes_its_settings_and_is_killed_after_its_drain(settings: Settings) -> None:
    grace = pod("bridge")["terminationGracePeriodSeconds"]
    assert grace >= settings.drain_timeout_s + LEAVE_GROUP_S
    (ports,) = (container["ports"] for container in pod("bridge")["containers"])
    assert settings.http_port == ports[0]["containerPort"]
    assert settings.http_host == "0.0.0.0"


def test_the_bridge_finds_each_triton_by_the_headless_service(settings: Settings) -> None:
    (target,) = parse_targets(settings.triton)
    service = one("Service", "triton")
    namespace = one("Namespace", "triton-kafka")["metadata"]["name"]
    assert target.dns
    assert target.host == f"{service['metadata']['name']}.{namespace}.svc.cluster.local"
    assert target.port in {port["port"] for port in service["spec"]["ports"]}
    assert service["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("name", ["bridge", "triton"])
def test_pods_are_as_confined_as_the_namespace_asks(name: str) -> None:
    assert (
        one("Namespace", "triton-kafka")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )
    spec = pod(name)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
    assert all({"emptyDir", "secret"} & volume.keys() for volume in spec["volumes"])


@pytest.mark.parametrize("name", ["bridge", "triton"])
def test_probes_ask_for_life_and_for_readiness_apart(name: str) -> None:
    (container,) = pod(name)["containers"]
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"].rpartition("/")[2]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths["liveness"] == "live"
    assert paths["readiness"] == "ready"
    ports = {port["name"] for port in container["ports"]}
    assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in paths} <= ports


@pytest.mark.parametrize("name", ["bridge", "triton"])
def test_a_drained_node_takes_one_pod_of_each_at_a_time(name: str) -> None:
    labels = {"app.kubernetes.io/name": name}
    budget = one("PodDisruptionBudget", name)["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    assert one("NetworkPolicy", name)["spec"]["podSelector"] == {"matchLabels": labels}


def test_keda_looks_at_what_the_bridge_reads(settings: Settings) -> None:
    (scaled, _) = yaml.safe_load_all((FOLDER / "keda" / "scaledobject.yaml").read_text())
    (trigger,) = scaled["spec"]["triggers"]
    seen = trigger["metadata"]
    assert (seen["topic"], seen["consumerGroup"]) == (settings.images_topic, settings.group)
    assert seen["bootstrapServers"] == settings.brokers
    assert scaled["spec"]["scaleTargetRef"] == {"kind": "StatefulSet", "name": "bridge"}
    grace = pod("bridge")["terminationGracePeriodSeconds"]
    assert scaled["spec"]["cooldownPeriod"] > grace
    scale_down = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"][
        "scaleDown"
    ]
    assert scale_down["stabilizationWindowSeconds"] > grace


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("schemas")
    tools.write_schemas(directory)
    return directory


def conform(schemas: Path, manifests: str) -> subprocess.CompletedProcess[str]:
    location = f"{schemas}/" + "{{.Group}}/{{.ResourceAPIVersion}}/{{.ResourceKind}}.json"
    return subprocess.run(
        [tools.program(*tools.KUBECONFORM), "-summary", "-schema-location", location],
        input=manifests, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def render(overlay: str) -> str:
    done = subprocess.run(
        [tools.program(*tools.KUSTOMIZE), "build", FOLDER / overlay],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_kustomize_makes_fits_the_schemas(schemas: Path, overlay: str) -> None:
    manifests = render(overlay)
    done = conform(schemas, manifests)
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(1 for document in yaml.safe_load_all(manifests) if document)
    assert f"{count} resources found" in done.stdout
    assert f"Valid: {count}" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overlay", "right", "wrong"),
    [
        ("base", "readinessProbe:", "readynessProbe:"),
        ("base", "maxUnavailable: 1", "maxUnavailable: [1]"),
        ("keda", "cooldownPeriod: 300", "cooldownPeriod: soon"),
        ("keda", "pollingInterval:", "pollInterval:"),
    ],
)
def test_a_mistake_does_not_fit_them(schemas: Path, overlay: str, right: str, wrong: str) -> None:
    manifests = render(overlay)
    assert right in manifests
    assert conform(schemas, manifests.replace(right, wrong)).returncode == 1


@pytest.mark.slow
def test_without_gpus_no_pod_waits_for_one() -> None:
    made = list(yaml.safe_load_all(render("cpu")))
    (triton,) = (d for d in made if (d["kind"], d["metadata"]["name"]) == ("Deployment", "triton"))
    spec = triton["spec"]["template"]["spec"]
    assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]
    assert "--device=cpu" in spec["initContainers"][0]["args"]
