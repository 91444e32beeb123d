"""docker-compose.yaml on a real engine: python -m pytest tests/compose/e2e.py (as root).

Images of registries are stood in for by ones made from the same programs (standins/): their own
entry points, and a GPU, are not tried here.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import sys
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.ports import free_ports
from tests.compose.engine import (
    CACHE,
    ROOT,
    Project,
    UnavailableError,
    find_compose,
    run,
    start_engine,
)
from tests.compose.images import STANDINS, build_all, name_in, site_packages
from tests.security.nodes import PLAYBOOK, Nodes
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(1800)

IMAGES = 1000
CORRECT = 915
"""Of the 1,000, by the network itself (data/README.md)."""
LONG_RUNNING = ("kafka", "triton", "bridge")
IMAGES_OF_REGISTRIES = ("PYTHON_IMAGE", "KAFKA_IMAGE", "TRITON_IMAGE", "PROMETHEUS_IMAGE")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project's files and its images, on an engine that nobody else uses."""
    # Whatever ends the tests, the engine ends with them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # On a disk: an engine can't stack layers on every file system that /tmp may be.
    directory = CACHE / "engine"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        compose = find_compose()
        with start_engine(directory) as host:
            project = Project(
                host,
                (
                    ROOT / "docker-compose.yaml",
                    ROOT / "docker-compose.cpu.yaml",
                    STANDINS / "compose.yaml",
                ),
                compose,
                _settings(),
            )
            build_all(project.docker, tmp_path_factory.mktemp("images"))
            try:
                yield project
            finally:
                down(project)
    except UnavailableError as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _settings() -> dict[str, str]:
    names = (
        "KAFKA_PORT",
        "TRITON_HTTP_PORT",
        "TRITON_GRPC_PORT",
        "TRITON_METRICS_PORT",
        "PROMETHEUS_PORT",
        "BRIDGE_PORTS",
    )
    ports = dict(zip(names, map(str, free_ports(len(names))), strict=True))
    first = int(ports["BRIDGE_PORTS"])
    return {
        **ports,
        "BRIDGE_PORTS": f"{first}-{first + 9}",
        "MODEL_BACKEND": "python",
        # By their tags: what stands in for them has other digests.
        **{name: name_in("docker-compose.yaml", name) for name in IMAGES_OF_REGISTRIES},
        "SITE_PACKAGES": str(site_packages()),
    }


def down(project: Project) -> None:
    everything = ("--profile", "clients", "--profile", "observability")
    project(*everything, "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="module")
def pipeline(project: Project) -> Project:
    """What a user types, and nothing else."""
    project("up", "--detach", "--wait", "triton", "bridge")
    return project


def replay(project: Project, run_id: str, rate: int) -> str:
    """Send the images and return the producer's report."""
    words = ("cifar10", f"--rate={rate}", f"--run-id={run_id}", "--listen", "--listen-timeout=120")
    return project("run", "--rm", "--no-deps", "producer", *words).stdout


def assert_all_answered(report: str) -> None:
    numbers = dict(re.findall(r"^(\S+) +([\d,]+)", report, re.MULTILINE))
    assert numbers["answered"] == f"{IMAGES:,}", report
    assert numbers["missing"] == numbers["dead-lettered"] == "0", report
    assert numbers["correct"] == str(CORRECT), report


def healthy(project: Project, service: str) -> bool:
    states = [project.inspect(container)["State"] for container in project.ids(service)]
    return bool(states) and all(state["Health"]["Status"] == "healthy" for state in states)


def get(project: Project, port: str, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{project.settings[port]}{path}") as answer:
        return json.load(answer)


def test_one_command_brings_the_pipeline_up_healthy(pipeline: Project) -> None:
    assert all(healthy(pipeline, service) for service in LONG_RUNNING)
    jobs = pipeline("ps", "--all", "--format", "json").stdout
    ended = {job["Service"]: job for job in map(json.loads, jobs.splitlines())}
    assert ended["topics"]["ExitCode"] == ended["export"]["ExitCode"] == 0
    assert "producer" not in ended


def test_a_thousand_images_are_answered_and_measured(pipeline: Project) -> None:
    # A backlog that grows is this machine's affair, not the containers'.
    words = [
        *("--count", str(IMAGES), "--run-id", "measured"),
        *("--ready-file", "/results/ready", "--allow-backlog"),
    ]
    started = pipeline("run", "--detach", "--no-deps", "consumer", *words).stdout
    consumer = started.split()[-1]
    eventually(lambda: "ready" in pipeline.docker("exec", consumer, "ls", "/results", check=False))

    report = replay(pipeline, "measured", rate=200)

    assert_all_answered(report)
    assert pipeline.docker("wait", consumer).strip() == "0", pipeline.logs(consumer)
    pipeline.docker("cp", f"{consumer}:/results", CACHE / "engine")
    for name in (
        "latency_results.txt",
        "latency_histogram.png",
        "latency_report.html",
        "latency_summary.json",
    ):
        assert (CACHE / "engine" / "results" / name).stat().st_size > 0
    pipeline.docker("rm", consumer)


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_it_goes_on_where_a_crash_cut_it_off(pipeline: Project, service: str) -> None:
    words = (
        "cifar10",
        "--rate=50",
        f"--run-id=crash-{service}",
        "--listen",
        "--listen-timeout=180",
        "--flush-timeout=180",  # a broker may take a minute to come back
    )
    started = pipeline("run", "--detach", "--no-deps", "producer", *words).stdout
    producer = started.split()[-1]
    eventually(lambda: pipeline.inspect(producer)["State"]["Running"])
    before = {container: _restarts(pipeline, container) for container in pipeline.ids(service)}
    answered = _answered(pipeline)
    eventually(lambda: _answered(pipeline) > answered)

    pipeline.crash(service)

    status = pipeline.docker("wait", producer).strip()
    report = pipeline.logs(producer)
    assert status == "0", report
    assert_all_answered(report)
    assert {c: _restarts(pipeline, c) for c in before} == {c: n + 1 for c, n in before.items()}
    pipeline.docker("rm", producer)
    eventually(lambda: all(healthy(pipeline, name) for name in LONG_RUNNING))


def _restarts(project: Project, container: str) -> int:
    return int(project.inspect(container)["RestartCount"])


def _answered(project: Project) -> float:
    container = project.ids("bridge")[0]
    return _metric(project, container, "bridge_images_answered_total")


def _metric(project: Project, container: str, name: str) -> float:
    program = (
        "import urllib.request as u;"
        "print(u.urlopen('http://127.0.0.1:8080/metrics').read().decode())"
    )
    text = project.docker("exec", container, "python", "-c", program)
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


def test_scaled_bridges_share_the_images(pipeline: Project) -> None:
    pipeline("up", "--detach", "--wait", "--no-recreate", "--scale", "bridge=3", "bridge")
    bridges = pipeline.ids("bridge")
    assert len(bridges) == 3
    eventually(
        lambda: (
            sorted(_metric(pipeline, b, "bridge_partitions_assigned") for b in bridges) == [4] * 3
        )
    )

    report = replay(pipeline, "scaled", rate=200)

    assert_all_answered(report)
    assert all(_metric(pipeline, b, "bridge_images_answered_total") > 0 for b in bridges)


def test_prometheus_sees_every_bridge_and_triton(pipeline: Project) -> None:
    pipeline("--profile", "observability", "up", "--detach", "--no-deps", "prometheus")

    def query(text: str) -> list[float]:
        path = f"/api/v1/query?query={urllib.parse.quote(text)}"
        try:
            answer = get(pipeline, "PROMETHEUS_PORT", path)
        except OSError:
            return []
        return [float(sample["value"][1]) for sample in answer["data"]["result"]]

    eventually(lambda: query('up{job="bridge"}') == [1, 1, 1] and query('up{job="triton"}') == [1])
    replay(pipeline, "seen", rate=200)
    assert sum(query("bridge_images_received_total")) >= IMAGES
    eventually(lambda: bool(query("bridge:prediction_latency_seconds:p99_5m")))
    # Bridges of one model meet in Triton's batches.
    assert query("sum(nv_inference_count) / sum(nv_inference_exec_count)")[0] > 1
    alerts = get(pipeline, "PROMETHEUS_PORT", "/api/v1/rules?type=alert")["data"]["groups"]
    assert {rule["health"] for group in alerts for rule in group["rules"]} == {"ok"}


def runs_what_it_writes(project: Project, service: str) -> bool:
    """Whether a library that a container writes to /tmp can be loaded, as a .pt2 package's is."""
    container = project.ids(service)[0]
    program = (
        "import ctypes, ctypes.util, glob, shutil;"
        "library = glob.glob('/lib/x86_64-linux-gnu/libm.so.6')[0];"
        "shutil.copy(library, '/tmp/probe.so');"
        "ctypes.CDLL('/tmp/probe.so')"
    )
    try:
        project.docker("exec", container, "python", "-c", program)
    except AssertionError as error:
        assert "failed to map segment" in str(error), error
        return False
    return True


def test_triton_alone_runs_what_it_writes_to_its_scratch_space(pipeline: Project) -> None:
    assert runs_what_it_writes(pipeline, "triton")
    assert not runs_what_it_writes(pipeline, "bridge"), "noexec where nothing needs it"


def test_another_model_is_exported_and_a_failed_download_is_told_as_such(project: Project) -> None:
    """Not "Read-only file system": torch keeps what it downloads on a volume."""
    words = ("run", "--rm", "--no-deps", "--env", "MODEL=resnet18")
    project(*words, "--env", "WEIGHTS=none", "export")
    failed = project(*words, "--env", "https_proxy=http://127.0.0.1:9", "export", check=False)
    assert failed.returncode == 1
    assert "can't download" in failed.stderr, failed.stderr
    assert "Read-only" not in failed.stderr


def test_a_triton_that_decodes_is_built_on_nvidias_image_and_keeps_its_numpy(
    project: Project,
) -> None:
    base = name_in("docker-compose.yaml", "TRITON_IMAGE")
    # An engine's own builder makes all earlier stages, too: the exporter's without its torch, 4 GB.
    words = (
        *("--network=host", "--target=triton", "--build-arg=EXPORT_LOCK=requirements/bridge.lock"),
        f"--build-arg=TRITON_IMAGE={base}",
        f"--build-arg=PYTHON_IMAGE={name_in('docker-compose.yaml', 'PYTHON_IMAGE')}",
    )
    project.docker("build", *words, "--tag=triton-kafka-triton:latest", ROOT)
    where = "import numpy, PIL, pyspng; print(numpy.__file__, PIL.__file__, pyspng.__file__)"
    run = ("run", "--rm", "--network=none", "triton-kafka-triton:latest", "python3", "-c", where)
    numpy, pillow, pyspng = project.docker(*run).split()
    assert numpy.startswith("/usr/lib/python3/")
    assert {pillow.split("/")[2], pyspng.split("/")[2]} == {"decoding"}


@pytest.fixture
def tools(pipeline: Project, tmp_path: Path) -> dict[str, str]:
    """An environment in which "docker compose" is this pipeline's, and a GPU's tools are there."""
    docker = shutil.which("docker")
    assert docker is not None
    files = " ".join(f"--file {file}" for file in pipeline.files)
    compose = " ".join(pipeline.compose).replace("docker ", f"{docker} ")
    here = f"shift; exec {compose} --env-file {os.devnull} {files}"
    programs = {
        "docker": f'[ "$1" != compose ] || {{ {here} "$@"; }}\nexec {docker} "$@"',
        "nvidia-smi": "echo 'Stand-in, 580.95.05, 9.0, 81559 MiB'",
        "nvidia-ctk": "echo 'NVIDIA Container Toolkit CLI version 1.20.2'",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return {**pipeline.settings, "DOCKER_HOST": pipeline.host, "PATH": path}


def test_the_check_of_a_machine_finds_all_that_a_running_pipeline_has(
    tools: dict[str, str],
) -> None:
    done = run([sys.executable, "scripts/compose_check.py"], env=tools, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all ports are free" in done.stdout, "those of this pipeline are its own"


def test_the_smoke_test_of_a_gpu_node_sees_a_pipeline_that_is_well_but_for_its_gpu(
    tools: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "gpu-node.json"
    words = ["-m", "scripts.check_gpu_node", f"--output={output}"]
    done = run([sys.executable, *words], env=tools, check=False)
    seen = json.loads(output.read_text())
    assert done.returncode == 1, done.stdout
    failed = {name for name, one in seen.items() if isinstance(one, dict) and "failed" in one}
    assert failed == {"container"}, seen
    assert seen["triton"]["backend"] == "python"
    assert seen["triton"]["server"]
    assert seen["gpus"][0]["name"] == "Stand-in"
    assert seen["versions"]["docker"]
    assert seen["images"]["answered"] == IMAGES
    assert seen["images"]["correct"] == CORRECT
    assert seen["images"]["sent_per_s"] > 0
    assert seen["throughput"]["images"] >= IMAGES
    assert seen["throughput"]["images_per_batch"] >= 1
    assert seen["throughput"]["images_per_s_of_computing"] > 0


@pytest.mark.skipif(not PLAYBOOK.exists(), reason="make ansible-venv installs Ansible")
def test_a_broker_of_several_machines_lets_in_who_signs_in_and_nobody_else(
    project: Project, tmp_path: Path
) -> None:
    """The override that ansible/roles/kafka writes for its host, on the engine."""
    nodes, data = Nodes(tmp_path, ["k1"]), tmp_path / "data"
    played = nodes.play(kafka_data_path=str(data), kafka_user_id=1000)
    assert played.returncode == 0, played.stdout + played.stderr
    data.mkdir()
    os.chown(data, 1000, 1000)
    release = tmp_path / "k1"
    shutil.copy(ROOT / "docker-compose.yaml", release)
    (port,) = free_ports(1)
    ports = f'services: {{kafka: {{ports: !override ["127.0.0.1:{port}:9092"]}}}}\n'
    (release / "ports.yaml").write_text(ports)
    files = [release / name for name in ("docker-compose.yaml", "node-kafka.yaml", "ports.yaml")]
    # The network that brokers and bridges of one host share.
    project.docker("network", "create", "triton-kafka")
    settings = {**project.settings, "COMPOSE_PROJECT_NAME": "secured"}
    secured = Project(project.host, files, project.compose, settings)
    try:
        secured("up", "--detach", "--wait", "kafka")
        secured("up", "--detach", "topics", "users")
        jobs = [*secured("ps", "--all", "--quiet", "topics", "users").stdout.split()]
        assert len(jobs) == 2
        assert [project.docker("wait", job).strip() for job in jobs] == ["0", "0"]

        project("build", "producer")
        client = nodes.client()
        certificates = f"{tmp_path}/client/certificates"
        words = [
            *("run", "--rm", "--network=triton-kafka", "--env=PRODUCER_BROKERS=kafka:29092"),
            f"--volume={certificates}:{certificates}:ro",
        ]
        produce = ("triton-kafka-client:latest", "produce", "cifar10", "--rate=0", "--count=10")
        said = project.docker(*words, f"--env=PRODUCER_KAFKA={client.load}", *produce)
        assert re.search(r"^acknowledged +10$", said, re.MULTILINE), said
        with pytest.raises(AssertionError, match="cannot use Kafka"):
            project.docker(*words, *produce)
    finally:
        secured("down", "--volumes", "--remove-orphans")
        project.docker("network", "rm", "triton-kafka")


def content(project: Project, image: str, scratch: Path) -> dict[str, tuple[object, ...]]:
    """Every file of an image, without the time at which it was written."""
    container = project.docker("create", "--network=none", image).strip()
    archive = scratch / "image.tar"
    project.docker("export", f"--output={archive}", container)
    project.docker("rm", container)
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(archive) as files:
        for file in files:
            opened = files.extractfile(file) if file.isfile() else None
            digest = hashlib.sha256(opened.read()).hexdigest() if opened else ""
            owner = (file.mode, file.uid, file.gid)
            found[file.name] = (file.type, *owner, file.linkname, digest)
    return found


def test_two_builds_of_one_source_have_the_same_content(project: Project, tmp_path: Path) -> None:
    project("build", "bridge")
    base = name_in("docker-compose.yaml", "PYTHON_IMAGE")
    words = ("--network=host", "--no-cache", "--target=bridge", f"--build-arg=PYTHON_IMAGE={base}")
    project.docker("build", *words, "--tag=again", ROOT)
    first = content(project, "triton-kafka-bridge:latest", tmp_path)
    assert len(first) > 1000
    assert content(project, "again", tmp_path) == first


@pytest.mark.parametrize("service", ["triton", "bridge"])
def test_containers_have_no_more_rights_than_they_need(pipeline: Project, service: str) -> None:
    container = pipeline.ids(service)[0]
    assert pipeline.docker("exec", container, "id", "--user").strip() == "1000"
    host = pipeline.inspect(container)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    ports = pipeline.inspect(container)["NetworkSettings"]["Ports"].values()
    assert {binding["HostIp"] for bindings in ports for binding in bindings or ()} == {"127.0.0.1"}


def test_the_bridges_image_has_what_it_runs_and_no_more(pipeline: Project) -> None:
    container = pipeline.ids("bridge")[0]
    probe = "import importlib.util as u; print([n for n in ('torch', 'pip') if u.find_spec(n)])"
    assert pipeline.docker("exec", container, "python", "-c", probe).strip() == "[]"
    find = "for tool in cc gcc make pip git; do command -v $tool; done; true"
    assert pipeline.docker("exec", container, "sh", "-c", find) == ""
    rooms = "('bridge', 'consumer', 'data', 'exporter', 'producer', 'stack', 'wire')"
    probe = f"import importlib.util as u; print([n for n in {rooms} if u.find_spec(n)])"
    there = pipeline.docker("exec", container, "python", "-c", probe).strip()
    assert there == "['bridge', 'wire']"


def test_a_stopped_bridge_drains_and_says_so(pipeline: Project) -> None:
    containers = pipeline.ids("bridge")
    pipeline("stop", "bridge")
    for container in containers:
        assert pipeline.inspect(container)["State"]["ExitCode"] == 0
        assert '"event": "stopped"' in pipeline.logs(container).splitlines()[-1]


def test_down_leaves_nothing(pipeline: Project) -> None:
    down(pipeline)
    assert pipeline.docker("ps", "--all", "--quiet") == ""
    assert pipeline.docker("volume", "ls", "--quiet") == ""
    names = pipeline.docker("network", "ls", "--format", "{{.Name}}").split()
    assert sorted(names) == ["host", "none"]


def test_data_stays_on_the_volume_while_containers_go(project: Project) -> None:
    """Topics outlive `down` without --volumes: the log is not in the container or in /tmp."""
    list_topics = ("/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server", "kafka:29092", "--list")
    project("up", "--detach", "--wait", "kafka")
    project("run", "--rm", "topics")
    project("down")
    project("up", "--detach", "--wait", "kafka")
    topics = project("exec", "kafka", *list_topics).stdout.split()
    assert {"images", "predictions", "images.dlq"} <= set(topics)
