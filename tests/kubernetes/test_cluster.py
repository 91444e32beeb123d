"""The chart on a real API server: installed, upgraded, rolled back, and gone without a trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from tests.kubernetes import tools
from tests.kubernetes.chart import (
    ALL,
    CHART,
    NAMESPACE,
    RELEASE,
    STRIMZI,
    RefusedError,
    Values,
    helm,
)
from tests.kubernetes.control_plane import ApiError, Client, ControlPlane, Json
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.soak]


class Run(Protocol):
    """Helm, on the cluster."""

    def __call__(self, *arguments: str | Path, values: Values | None = None) -> str: ...


PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
BRIDGES = f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/{RELEASE}-bridge"
SETTINGS = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{RELEASE}-bridge"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as started:
        for source in sorted(tools.need(tools.crds()).glob("*.yaml")):
            crd = yaml.safe_load(source.read_text())
            started.client.ask(
                "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd
            )
        eventually(started.client.ready, "serving the kinds of the operators")
        for number in range(2):
            started.add_node(f"gpu-{number}", {"nvidia.com/gpu": "1"})
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"metadata": {"name": NAMESPACE, "labels": restricted}}
        started.client.ask("POST", "/api/v1/namespaces", namespace)
        account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
        eventually(lambda: there(started.client, account), "the namespace has its account")
        yield started


@pytest.fixture
def client(plane: ControlPlane) -> Client:
    return plane.client


@pytest.fixture
def run(plane: ControlPlane) -> Iterator[Run]:
    """Runs Helm against the cluster; what it installed is gone at the end."""
    client = plane.client
    before = client.everything()

    def release(*arguments: str | Path, values: Values | None = None) -> str:
        connected = ("--kubeconfig", plane.kubeconfig, "--namespace", NAMESPACE)
        given = () if values is None else ("--values", "-")
        return helm(*arguments, *connected, *given, input=json.dumps(values or {}))

    yield release
    if RELEASE in release("list", "--short"):
        release("uninstall", RELEASE, "--wait")
    eventually(lambda: client.everything() == before, "nothing being left behind")


def there(client: Client, path: str) -> bool:
    try:
        return bool(client.ask("GET", path))
    except ApiError:
        return False


def pods(client: Client, part: str) -> dict[str, Json]:
    chosen = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={part}"
    return {pod["metadata"]["name"]: pod for pod in client.items(f"{PODS}?labelSelector={chosen}")}


def ready(client: Client, part: str) -> int:
    return sum(
        condition == {**condition, "type": "Ready", "status": "True"}
        for pod in pods(client, part).values()
        for condition in pod["status"].get("conditions", ())
    )


def install(run: Run, file: str, values: Values | None = None) -> str:
    command = ("install", RELEASE, CHART, "--values", CHART / f"{file}.yaml")
    return run(*command, values=values or {})


@pytest.mark.parametrize(
    ("file", "bridges", "tritons"), [("values", 2, 1), ("values-gpu", 4, 2), ("values-kind", 1, 1)]
)
def test_pods_come_up_where_only_confined_ones_may(
    run: Run, client: Client, file: str, bridges: int, tritons: int
) -> None:
    install(run, file, {"observability": ALL["observability"], **STRIMZI})
    eventually(lambda: ready(client, "bridge") == bridges, "ready bridges", 120)
    eventually(lambda: ready(client, "triton") == tritons, "ready Tritons", 120)
    assert pods(client, "bridge").keys() == {f"{RELEASE}-bridge-{n}" for n in range(bridges)}
    for part in ("bridge", "triton"):
        for pod in pods(client, part).values():
            assert "kube-api-access" not in json.dumps(pod["spec"]["volumes"])


def test_a_pod_that_may_do_more_is_refused_there(client: Client) -> None:
    """Without this, the namespace might refuse nothing."""
    container = {"name": "open", "image": "open"}
    pod = {"metadata": {"name": "open"}, "spec": {"containers": [container]}}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        client.ask("POST", PODS, pod)


def test_gpus_are_scheduled(run: Run, client: Client) -> None:
    install(run, "values-gpu")
    eventually(lambda: ready(client, "triton") == 2, "ready Tritons", 120)
    nodes = {pod["spec"]["nodeName"] for pod in pods(client, "triton").values()}
    assert nodes == {"gpu-0", "gpu-1"}


def test_an_upgrade_replaces_bridges_and_a_rollback_brings_the_old_settings(
    run: Run, client: Client
) -> None:
    def top_k() -> bool:
        return "top_k = 5" in client.ask("GET", SETTINGS)["data"]["bridge.toml"]

    def settled() -> bool:
        status = client.ask("GET", BRIDGES)["status"]
        return bool(status.get("updatedReplicas") == status.get("readyReplicas") == 2) and (
            status["currentRevision"] == status["updateRevision"]
        )

    def identities() -> dict[str, str]:
        return {name: pod["metadata"]["uid"] for name, pod in pods(client, "bridge").items()}

    install(run, "values")
    eventually(settled, "settled bridges", 120)
    first = identities()
    upgrade = ("upgrade", RELEASE, CHART)
    run(*upgrade, values={"bridge": {"settings": {"top_k": 5}}})
    assert top_k()
    eventually(lambda: identities().keys() == first.keys() and settled(), "new bridges", 120)
    second = identities()
    assert not set(first.values()) & set(second.values())
    with pytest.raises(RefusedError, match="got string, want integer"):
        run(*upgrade, values={"bridge": {"replicas": "x"}})
    assert identities() == second
    run("rollback", RELEASE, "1")
    assert not top_k()
    eventually(lambda: identities().keys() == first.keys() and settled(), "old bridges", 120)
    assert not set(second.values()) & set(identities().values())


def test_an_upgrade_leaves_the_number_of_bridges_to_keda(run: Run, client: Client) -> None:
    scaled: Values = {"bridge": {"scaling": {"mode": "keda", "minReplicas": 0}}}
    install(run, "values", scaled)
    # As the autoscaler does.
    client.ask("PATCH", f"{BRIDGES}/scale", {"spec": {"replicas": 5}})
    eventually(lambda: ready(client, "bridge") == 5, "five ready bridges", 120)
    more = {"bridge": {**scaled["bridge"], "settings": {"top_k": 5}}}
    run("upgrade", RELEASE, CHART, values=more)
    assert client.ask("GET", BRIDGES)["spec"]["replicas"] == 5
    client.ask("PATCH", f"{BRIDGES}/scale", {"spec": {"replicas": 0}})
    eventually(lambda: not pods(client, "bridge"), "no bridge", 120)
    run("upgrade", RELEASE, CHART, values=scaled)
    assert client.ask("GET", BRIDGES)["spec"]["replicas"] == 0


@pytest.mark.parametrize("part", ["bridge", "triton"])
def test_a_drained_node_takes_one_pod_at_a_time(run: Run, client: Client, part: str) -> None:
    install(run, "values-gpu")
    count = {"bridge": 4, "triton": 2}[part]
    budget = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/{RELEASE}-{part}"

    def evict(name: str) -> None:
        body = {"metadata": {"name": name}, "apiVersion": "policy/v1", "kind": "Eviction"}
        client.ask("POST", f"{PODS}/{name}/eviction", body)

    def refused() -> bool:
        """Whether a second pod may not go while the first is being replaced."""
        eventually(lambda: ready(client, part) == count, f"ready pods of {part}", 120)
        eventually(
            lambda: client.ask("GET", budget)["status"].get("disruptionsAllowed") == 1, "a budget"
        )
        first, second = sorted(pods(client, part))[:2]
        evict(first)
        try:
            evict(second)
        except ApiError as error:
            return "would violate the pod's disruption budget" in str(error)
        return False

    # On a busy machine, the first may have been replaced by the time the second is asked for.
    eventually(refused, "a refusal")
