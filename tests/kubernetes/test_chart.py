"""What the chart makes: what it promises, and that wrong values are refused with the reason."""

import json
import os
import re
from typing import Any

import pytest
import yaml

from bridge.config import Settings
from bridge.kafka.clients import make_consumer, make_producer
from bridge.loading import load
from bridge.triton.addresses import parse_targets
from stack.paths import ROOT
from tests.kubernetes.chart import (
    ALL,
    CHART,
    NAMESPACE,
    RELEASE,
    SECURED,
    STRIMZI,
    VALUES,
    Manifest,
    RefusedError,
    Values,
    helm,
    one,
    pod,
    render,
)

LEAVE_GROUP_S = 10
"""What a bridge takes beside its drain: Kafka's client leaves the group and closes."""
POD = f"{RELEASE}-bridge-1"


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """The variables of the second bridge, as the kubelet fills them in."""
    variables: dict[str, str] = {}
    for variable in pod(manifests, "bridge")["containers"][0]["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            assert source == {"fieldRef": {"fieldPath": "metadata.name"}}
            text = POD
        else:
            text = "secret" if "secretKeyRef" in source else variable["value"]
        for name, value in variables.items():
            text = text.replace(f"$({name})", value)
        variables[variable["name"]] = text
    return variables


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """The bridge's settings as a pod has them."""

    def read(manifests: list[Manifest]) -> Settings:
        for name in list(os.environ):
            if name.startswith("BRIDGE_"):
                monkeypatch.delenv(name)
        for name, text in environment(manifests).items():
            monkeypatch.setenv(name, text)
        assert os.environ["BRIDGE_CONFIG"] == "/etc/bridge/bridge.toml"
        file = tmp_path / "bridge.toml"
        file.write_text(one(manifests, "ConfigMap", "bridge")["data"]["bridge.toml"])
        monkeypatch.setenv("BRIDGE_CONFIG", str(file))
        return load({})

    return read


@pytest.mark.parametrize("file", VALUES)
def test_the_bridge_takes_what_the_chart_hands_it(file: str, settings: Any) -> None:
    manifests = render(file=file)
    read = settings(manifests)
    spec = pod(manifests, "bridge")
    assert spec["terminationGracePeriodSeconds"] >= read.drain_timeout_s + LEAVE_GROUP_S
    (ports,) = (container["ports"] for container in spec["containers"])
    assert read.http_port == ports[0]["containerPort"]
    assert read.http_host == "0.0.0.0"
    assert read.model in pod(manifests, "triton")["initContainers"][0]["args"]


@pytest.mark.parametrize("file", VALUES)
def test_the_bridge_finds_each_triton_by_the_headless_service(file: str, settings: Any) -> None:
    manifests = render(file=file)
    (target,) = parse_targets(settings(manifests).triton)
    service = one(manifests, "Service", "triton")
    assert target.dns
    assert target.host == f"{service['metadata']['name']}.{NAMESPACE}.svc"
    assert target.port in {port["port"] for port in service["spec"]["ports"]}
    assert service["spec"]["clusterIP"] == "None"


def test_settings_keep_their_kinds_on_the_way_through_helm(settings: Any) -> None:
    """Helm's numbers are all floats; Kafka's client refuses 30000.0."""
    asked: Values = {
        "max_inflight": 4,
        "max_image_bytes": 33554432,
        "max_buffered_bytes": 2147483648,
        "retry_min_s": 0.25,
        "tracing": False,
        "group": 'cats & "dogs" <é>',
        "kafka": {"socket.keepalive.enable": True},
        "kafka_consumer": {"session.timeout.ms": 30000, "fetch.error.backoff.ms": 250},
        "model_parameters": {"preprocess.mean": [0.485, 0.5, 1], "preprocess.layout": "nchw"},
    }
    read = settings(render({"bridge": {"settings": asked}}))
    taken = {name: getattr(read, name) for name in asked}
    mean = {"preprocess.mean": "0.485\n0.5\n1", "preprocess.layout": "nchw"}
    consumer = taken["kafka_consumer"]
    assert consumer.pop("group.instance.id") == f"{NAMESPACE}.{POD}"
    assert all(type(value) is int for value in consumer.values())
    assert taken == {**asked, "model_parameters": mean}


def test_other_settings_are_other_pods() -> None:
    def checksum(values: Values) -> str:
        template = one(render(values), "StatefulSet", "bridge")["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/settings"]
        return found

    before = checksum({})
    assert checksum({}) == before
    assert checksum({"bridge": {"replicas": 3}}) == before
    assert checksum({"bridge": {"settings": {"top_k": 5}}}) != before


@pytest.mark.parametrize(
    ("values", "static"),
    [
        ({}, True),
        ({"scaling": {"mode": "keda"}}, False),
        ({"scaling": {"mode": "hpa"}}, False),
        ({"scaling": {"mode": "keda"}, "staticMembership": True}, True),
        ({"staticMembership": False}, False),
    ],
)
def test_a_bridges_identity_is_its_own_and_survives_its_pod(
    values: Values, static: bool, settings: Any
) -> None:
    read = settings(render({"bridge": values}))
    assert read.transactional_id == f"{NAMESPACE}.{POD}"
    assert read.kafka_consumer == ({"group.instance.id": f"{NAMESPACE}.{POD}"} if static else {})


def test_kafka_with_tls_and_a_user(settings: Any) -> None:
    manifests = render(SECURED)
    read = settings(manifests)
    assert read.kafka == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "bridge",
        "ssl.ca.location": "/kafka/ca.crt",
        "ssl.certificate.location": "/kafka/user.crt",
        "ssl.key.location": "/kafka/user.key",
    }
    assert read.kafka_password.get_secret_value() == "secret"
    (volume,) = (v for v in pod(manifests, "bridge")["volumes"] if v["name"] == "kafka")
    mounted = {
        (source["secret"]["name"], item["path"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert mounted == {
        ("kafka-ca", "ca.crt"),
        ("kafka-user", "user.crt"),
        ("kafka-user", "user.key"),
    }
    assert "secret" not in json.dumps(one(manifests, "ConfigMap", "bridge"))


@pytest.mark.parametrize("routes", [{}, {"cat": "cats", "dog": "1", "cow": "cats"}], ids=len)
def test_strimzis_user_may_do_what_the_bridge_does(settings: Any, routes: dict[str, str]) -> None:
    manifests = render({**STRIMZI, "bridge": {"settings": {"routes": routes}}})
    read = settings(manifests)
    assert read.routes == routes
    assert read.brokers == f"{RELEASE}-kafka-kafka-bootstrap.{NAMESPACE}.svc:9093"
    user = one(manifests, "KafkaUser", "bridge")
    rights = {
        (acl["resource"]["type"], acl["resource"]["name"]): set(acl["operations"])
        for acl in user["spec"]["authorization"]["acls"]
    }
    assert rights == {
        ("topic", read.images_topic): {"Read", "Describe"},
        ("topic", read.predictions_topic): {"Write", "Describe"},
        **{("topic", topic): {"Write", "Describe"} for topic in routes.values()},
        ("topic", read.dead_letters_topic): {"Write", "Describe"},
        ("group", read.group): {"Read", "Describe"},
        ("transactionalId", read.transactional_id.removesuffix("-1")): {"Write", "Describe"},
    }
    topics = [m["spec"]["topicName"] for m in manifests if m["kind"] == "KafkaTopic"]
    assert sorted(topics) == sorted(read.topics)
    assert read.kafka["sasl.username"] == user["metadata"]["name"]


@pytest.mark.parametrize("values", [{}, SECURED, STRIMZI], ids=["plain", "secured", "strimzi"])
def test_keda_looks_at_what_the_bridge_reads(values: Values, settings: Any) -> None:
    bridge = {"scaling": {"mode": "keda", "imagesPerSecond": 2500.5, "maxWaitSeconds": 4}}
    manifests = render({**values, "bridge": bridge})
    read = settings(manifests)
    scaled = one(manifests, "ScaledObject", "bridge")["spec"]
    (trigger,) = scaled["triggers"]
    seen = trigger["metadata"]
    assert (seen["topic"], seen["consumerGroup"]) == (read.images_topic, read.group)
    assert seen["bootstrapServers"] == read.brokers
    assert seen["lagThreshold"] == "10002"
    target = one(manifests, "StatefulSet", "bridge")
    assert scaled["scaleTargetRef"] == {"kind": "StatefulSet", "name": target["metadata"]["name"]}
    assert "replicas" not in target["spec"]
    grace = pod(manifests, "bridge")["terminationGracePeriodSeconds"]
    assert scaled["cooldownPeriod"] > grace
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] > grace
    assert ("authenticationRef" in trigger) == bool(read.kafka)


def test_keda_begins_where_the_bridges_do(settings: Any) -> None:
    for start in ("earliest", "latest"):
        bridge = {"settings": {"start": start}, "scaling": {"mode": "keda"}}
        manifests = render({"bridge": bridge})
        (trigger,) = one(manifests, "ScaledObject", "bridge")["spec"]["triggers"]
        assert trigger["metadata"]["offsetResetPolicy"] == settings(manifests).start == start


def test_a_bridge_that_fetches_images_reaches_object_storage() -> None:
    def ports(values: Values) -> set[int]:
        rules = one(render({"bridge": values}), "NetworkPolicy", "bridge")["spec"]["egress"]
        return {port["port"] for rule in rules for port in rule["ports"]}

    assert 443 not in ports({})
    assert 443 in ports({"settings": {"reference_allow": "s3://photos/"}})


def test_kedas_password_is_named_and_not_written() -> None:
    manifests = render({**SECURED, "bridge": {"scaling": {"mode": "keda"}}})
    spec = one(manifests, "TriggerAuthentication", "bridge")["spec"]
    secrets = {ref["parameter"]: (ref["name"], ref["key"]) for ref in spec["secretTargetRef"]}
    assert secrets == {
        "password": ("kafka-password", "password"),
        "ca": ("kafka-ca", "ca.crt"),
        "cert": ("kafka-user", "user.crt"),
        "key": ("kafka-user", "user.key"),
    }
    (username,) = spec["configMapTargetRef"]
    config = one(manifests, "ConfigMap", "bridge")
    assert username["name"] == config["metadata"]["name"]
    assert config["data"][username["key"]] == "bridge"


def test_without_keda_bridges_follow_their_own_metric() -> None:
    manifests = render({"bridge": {"scaling": {"mode": "hpa"}}})
    spec = one(manifests, "HorizontalPodAutoscaler", "bridge")["spec"]
    (metric,) = spec["metrics"]
    assert metric["pods"]["metric"] == {"name": "bridge_consumer_lag"}
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "50000"}
    assert spec["minReplicas"] == 1


@pytest.mark.parametrize("file", VALUES)
@pytest.mark.parametrize("source", ["export", "persistentVolumeClaim", "objectStorage", "image"])
@pytest.mark.parametrize("part", ["bridge", "triton"])
def test_pods_are_confined(file: str, source: str, part: str) -> None:
    repository = {
        "source": source,
        "persistentVolumeClaim": {"claimName": "models"},
        "objectStorage": {"url": "s3://bucket/models", "credentialsSecret": "s3"},
        "image": {"repository": "registry.example/models"},
    }
    spec = pod(render({"triton": {"modelRepository": repository}, **SECURED}, file), part)
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
    kinds = {key for volume in spec["volumes"] for key in volume if key != "name"}
    assert kinds <= {"emptyDir", "configMap", "projected", "persistentVolumeClaim"}
    mounts = {m["name"] for c in spec["containers"] for m in c["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["volumes"]}


def test_models_in_googles_storage_come_with_their_credentials() -> None:
    storage = {"url": "gs://bucket/models", "credentialsSecret": "gcs"}
    repository = {"source": "objectStorage", "objectStorage": storage}
    manifests = render({"triton": {"modelRepository": repository}})
    spec = pod(manifests, "triton")
    (container,) = spec["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["MODEL_REPOSITORY"] == "gs://bucket/models"
    folder, _, _ = variables["GOOGLE_APPLICATION_CREDENTIALS"].rpartition("/")
    assert folder in {mount["mountPath"] for mount in container["volumeMounts"]}
    allowed = one(manifests, "NetworkPolicy", "triton")["spec"]["egress"]
    assert {port["port"] for rule in allowed for port in rule["ports"]} == {53, 443}


@pytest.mark.parametrize("part", ["bridge", "triton"])
def test_probes_ask_for_life_and_for_readiness_apart(part: str) -> None:
    (container,) = pod(render(), part)["containers"]
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"].rpartition("/")[2]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths["liveness"] == "live"
    assert paths["readiness"] == "ready"
    ports = {port["name"] for port in container["ports"]}
    assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in paths} <= ports


@pytest.mark.parametrize("part", ["bridge", "triton"])
def test_everything_about_a_part_chooses_its_pods_and_no_others(part: str) -> None:
    manifests = render(ALL)
    kind = {"bridge": "StatefulSet", "triton": "Deployment"}[part]
    owner = one(manifests, kind, part)["spec"]
    chosen = owner["selector"]["matchLabels"]
    labels = owner["template"]["metadata"]["labels"]
    assert chosen.items() <= labels.items()
    # A selector cannot be changed, so nothing that an upgrade changes may be in it.
    assert chosen.keys() == {
        f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")
    }
    assert one(manifests, "Service", part)["spec"]["selector"] == chosen
    for kind, path in (
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
        ("PodMonitor", "selector"),
    ):
        assert one(manifests, kind, part)["spec"][path] == {"matchLabels": chosen}
    assert one(manifests, "PodDisruptionBudget", part)["spec"]["maxUnavailable"] == 1
    account = one(manifests, "ServiceAccount", part)
    assert account["automountServiceAccountToken"] is False
    assert pod(manifests, part)["serviceAccountName"] == account["metadata"]["name"]
    monitor = one(manifests, "PodMonitor", part)["spec"]
    assert labels[monitor["jobLabel"]] == part


def test_alerts_are_the_projects_but_for_those_left_out() -> None:
    (group,) = yaml.safe_load((ROOT / "observability/alerts.yaml").read_text())["groups"]
    (made,) = one(render(ALL), "PrometheusRule", "pipeline")["spec"]["groups"]
    assert made["rules"] == [rule for rule in group["rules"] if rule.get("alert") != "KafkaUnseen"]
    everything = {**ALL, "observability": {**ALL["observability"], "disabledAlerts": []}}
    (made,) = one(render(everything), "PrometheusRule", "pipeline")["spec"]["groups"]
    assert made == group


def test_the_dashboard_is_the_projects() -> None:
    data = one(render(ALL), "ConfigMap", "dashboard")["data"]
    assert (
        data["pipeline.json"]
        == (ROOT / "observability/grafana/dashboards/pipeline.json").read_text()
    )


def test_gpus_are_asked_for_where_there_are_some() -> None:
    (container,) = pod(render(file="values-gpu"), "triton")["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    for file in ("values", "values-kind"):
        manifests = render(file=file)
        assert "gpu" not in json.dumps(pod(manifests, "triton")["containers"])
        assert "--device=cpu" in pod(manifests, "triton")["initContainers"][0]["args"]
    slices = {"triton": {"gpus": 2, "gpuResource": "nvidia.com/mig-1g.10gb"}}
    (container,) = pod(render(slices), "triton")["containers"]
    assert container["resources"]["limits"] == {"memory": "8Gi", "nvidia.com/mig-1g.10gb": 2}


def test_kafkas_client_takes_the_options() -> None:
    """librdkafka itself reads them: names, numbers and paths."""
    manifests = render({"bridge": {"settings": {"kafka_consumer": {"session.timeout.ms": 30000}}}})
    text = one(manifests, "ConfigMap", "bridge")["data"]["bridge.toml"]
    assert re.search(r'^"session.timeout.ms" = 30000$', text, re.MULTILINE)
    options = {"session.timeout.ms": 30000, "group.instance.id": f"{NAMESPACE}.{POD}"}
    read = load({"kafka_consumer": options})
    make_consumer(read, print, print, print).close()
    make_producer(read, print, print, {}).flush(0)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"bridge": {"replicas": "two"}}, "got string, want integer"),
        ({"bridge": {"replica": 2}}, "'replica' not allowed"),
        ({"bridge": {"settings": {"max_inflght": 4}}}, "'max_inflght' not allowed"),
        ({"bridge": {"settings": {"brokers": "a:9092"}}}, "'brokers' not allowed"),
        ({"bridge": {"settings": {"fuse_ratio": 2}}}, "maximum: got 2, want 1"),
        ({"bridge": {"settings": {"delivery": "never"}}}, "'exactly-once'"),
        ({"bridge": {"terminationGracePeriodSeconds": 30}}, "a bridge needs 35 s to end"),
        ({"bridge": {"settings": {"drain_timeout_s": 90}}}, "a bridge needs 100 s to end"),
        ({"bridge": {"replicas": 13}}, "kafka.topics.partitions = 12"),
        (
            {"bridge": {"scaling": {"mode": "keda", "maxReplicas": 13}}},
            "kafka.topics.partitions = 12",
        ),
        ({"bridge": {"scaling": {"mode": "hpa", "minReplicas": 0}}}, "only mode keda"),
        ({"bridge": {"scaling": {"mode": "keda", "cooldownSeconds": 60}}}, "cooldownSeconds is 60"),
        (
            {"bridge": {"scaling": {"mode": "keda", "minReplicas": 9, "maxReplicas": 8}}},
            "minReplicas is above",
        ),
        ({"bridge": {"scaling": {"imagesPerSecond": 0}}}, "exclusiveMinimum"),
        ({"kafka": {"sasl": {"mechanism": "PLAIN"}}}, "say who logs in"),
        ({"kafka": {"sasl": {"mechanism": "SCRAM"}}}, "'SCRAM-SHA-512'"),
        ({"kafka": {"tls": {"caSecret": "ca"}}}, "kafka.tls.enabled is false"),
        ({"kafka": {"topics": {"images": "my images"}}}, "does not match pattern"),
        ({"kafka": {"topics": {"images": "predictions"}}}, "are three topics"),
        ({"bridge": {"settings": {"routes": {"cat": "images"}}}}, "cat goes to"),
        ({"bridge": {"settings": {"routes": {"cat": "my cats"}}}}, "cat goes to"),
        (
            {**STRIMZI, "bridge": {"settings": {"routes": {"a": "a_cat", "b": "A-cat"}}}},
            "topics A-cat and a_cat differ only in letters",
        ),
        ({"triton": {"modelRepository": {"source": "git"}}}, "'objectStorage'"),
        ({"triton": {"modelRepository": {"source": "objectStorage"}}}, "url is empty"),
        ({"triton": {"modelRepository": {"source": "image"}}}, "repository is empty"),
        (
            {"triton": {"modelRepository": {"source": "persistentVolumeClaim"}}},
            "claimName is empty",
        ),
        ({"triton": {"terminationGracePeriodSeconds": 30}}, "minimum: got 30, want 31"),
        ({"observability": {"podMonitor": "yes"}}, "got string, want boolean"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_with_its_reason(values: Values, reason: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(reason)):
        render(values)


@pytest.mark.parametrize("file", VALUES)
def test_lint_finds_nothing(file: str) -> None:
    said = helm("lint", CHART, "--strict", "--values", CHART / f"{file}.yaml")
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


def test_a_package_holds_the_files_that_are_links(tmp_path: Any) -> None:
    helm("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    arguments = ("--set", "observability.dashboard=true,observability.prometheusRule=true")
    from_package = helm("template", RELEASE, package, *arguments)
    assert from_package == helm("template", RELEASE, CHART, *arguments)
    assert "BridgeDown" in from_package
