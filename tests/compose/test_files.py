"""docker-compose.yaml, Dockerfile, .env.example and the lock files agree with the programs."""

import json
import os
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer

from bridge.config import Settings
from bridge.loading import load
from consumer.measuring.command import app as consumer
from producer.command import app as producer
from scripts.compose_check import started
from tests.compose.engine import ROOT, UnavailableError, find_compose, run

COMPOSE = "".join(
    (ROOT / file).read_text() for file in ("docker-compose.yaml", "docker-compose.ensemble.yaml")
)
EXAMPLE = (ROOT / ".env.example").read_text()
DOCUMENTED = dict(re.findall(r"^# ([A-Z0-9_]+)=(.*)$", EXAMPLE, re.MULTILINE))
SET_BY_THE_IMAGE = {"BRIDGE_CONFIG", "BRIDGE_HTTP_HOST", "BRIDGE_HTTP_PORT"}
BRIDGE = {f"BRIDGE_{name.upper()}": name for name in Settings.model_fields}
READ_BY_COMPOSE = {"COMPOSE_FILE", "COMPOSE_PROFILES"}


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


@pytest.fixture(scope="module")
def compose() -> list[str]:
    try:
        return find_compose(build=False)
    except UnavailableError as error:
        pytest.skip(str(error))


def config(compose: list[str], *files: str, **settings: str) -> dict[str, Any]:
    words = [word for file in ("docker-compose.yaml", *files) for word in ("--file", file)]
    argv = [*compose, "--env-file", os.devnull, *words, "--profile", "*", "config"]
    done: dict[str, Any] = json.loads(run([*argv, "--format", "json"], env=settings).stdout)
    return done


def test_every_setting_of_the_bridge_can_be_given_and_is_documented() -> None:
    given = set(re.findall(r"^      (BRIDGE_\w+):", COMPOSE, re.MULTILINE))
    assert given == set(BRIDGE) - SET_BY_THE_IMAGE
    assert given <= set(DOCUMENTED)


@pytest.mark.parametrize(("prefix", "app"), [("PRODUCER", producer), ("CONSUMER", consumer)])
def test_settings_of_producer_and_consumer_are_ones_they_read(
    prefix: str, app: typer.Typer
) -> None:
    given = set(re.findall(rf"^      {prefix}_(\w+):", COMPOSE, re.MULTILINE))
    parameters = {str(parameter.name).upper() for parameter in typer.main.get_command(app).params}
    assert given
    assert given <= parameters


def test_every_variable_is_documented_with_its_default_and_no_other() -> None:
    used = dict(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+):?-((?:\$\{[^}]*\}|[^}])*)\}", COMPOSE))
    passed = set(re.findall(r"^      ([A-Z0-9_]+):$", COMPOSE, re.MULTILINE))
    assert set(used) | passed == set(DOCUMENTED) - READ_BY_COMPOSE
    nested = {"BRIDGE_MODEL"}  # the model that is exported
    assert {n: DOCUMENTED[n] for n in used if n not in nested} == {
        name: default for name, default in used.items() if name not in nested
    }


def test_documented_defaults_of_the_bridge_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {"BRIDGE_BROKERS", "BRIDGE_TRITON"}
    defaults = load({})
    for name, value in DOCUMENTED.items():
        if name in BRIDGE and value:
            monkeypatch.setenv(name, value)
    for name in addresses:
        monkeypatch.delenv(name)
    assert load({}) == defaults


LOCKS = [f"requirements/{image}.lock" for image in ("bridge", "client", "export")]


@pytest.mark.parametrize("lock", [*LOCKS, "exporter/decoding/requirements-triton.lock"])
def test_images_hold_the_versions_that_are_tested(lock: str) -> None:
    tested = (ROOT / "requirements/all.lock").read_text()
    assert pins(lock)
    other = [
        f"{name}=={version}"
        for name, version in pins(lock).items()
        if f"\n{name}=={version} " not in f"\n{tested}"
    ]
    assert other == []


def test_the_bridge_is_installed_with_its_own_dependencies_alone() -> None:
    assert set(pins("requirements/bridge.lock")).isdisjoint({"torch", "matplotlib", "pytest"})


def test_compose_accepts_the_file_and_reserves_gpus(compose: list[str]) -> None:
    triton = config(compose)["services"]["triton"]
    (device,) = triton["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert device["count"] == -1  # all
    triton = config(compose, TRITON_GPU_COUNT="2")["services"]["triton"]
    assert triton["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 2


def test_the_cpu_file_reserves_none(compose: list[str]) -> None:
    triton = config(compose, "docker-compose.cpu.yaml")["services"]["triton"]
    assert "deploy" not in triton


def test_tritons_image_keeps_its_own_numpy_and_dali() -> None:
    """What its Python has for its own CUDA must not be stood before by packages of another."""
    assert set(pins("exporter/decoding/requirements-triton.lock")) == {"pillow", "pyspng"}


def test_the_exports_image_has_no_compiler_for_gpus() -> None:
    """Nothing that is exported there uses torch.compile; it takes 0.9 GB."""
    assert "torch" in pins("requirements/export.lock")
    assert "triton" not in pins("requirements/export.lock")


def test_with_models_that_are_there_nothing_waits_for_an_export(compose: list[str]) -> None:
    assert "export" in started(config(compose))
    services = started(config(compose, "docker-compose.exported.yaml"))
    assert set(services) == {"bridge", "kafka", "topics", "triton"}


def test_a_triton_that_decodes_is_built_where_it_is_asked_for(compose: list[str]) -> None:
    assert "build" not in config(compose)["services"]["triton"]
    triton = config(compose, "docker-compose.ensemble.yaml")["services"]["triton"]
    assert triton["build"]["target"] == "triton"
    plain = config(compose)["services"]["triton"]["image"]
    assert triton["build"]["args"]["TRITON_IMAGE"] == plain
    assert triton["deploy"], "with its GPUs"


def test_only_triton_may_run_what_it_writes_to_its_scratch_space(compose: list[str]) -> None:
    """Docker mounts tmpfs noexec; a .pt2 package is unpacked to /tmp and loaded as a library."""
    mounted = {
        name: service.get("tmpfs", []) for name, service in config(compose)["services"].items()
    }
    assert mounted.pop("triton") == ["/tmp:exec"]  # noqa: S108 - of a container
    assert {mount for mounts in mounted.values() for mount in mounts} == {"/tmp"}  # noqa: S108


def test_what_torch_downloads_has_a_place_that_outlives_the_export(compose: list[str]) -> None:
    (home,) = re.findall(r"^ENV TORCH_HOME=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    export = config(compose)["services"]["export"]
    assert export["read_only"]
    volumes = {mount["target"]: mount for mount in export["volumes"]}
    assert volumes[home]["type"] == "volume"
    assert not volumes[home].get("read_only")


def script_of(compose: list[str], service: str, **settings: str) -> tuple[str, dict[str, str]]:
    """The shell script that a service runs, and its environment."""
    found = config(compose, **settings)["services"][service]
    assert found["entrypoint"] == ["/bin/sh", "-ec"]
    (script,) = found["command"]
    # "config" prints a file that Compose reads again.
    return script.replace("$$", "$"), found["environment"]


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, ["resnet20_cifar10", "--repository", "/models"]),
        (
            {"MODEL": "resnet50", "MODEL_WEIGHTS": "/files/my best.pt"},
            ["--weights=/files/my best.pt"],
        ),
        ({"MODEL_OPTIONS": "--ensemble --decoders=8"}, ["--ensemble", "--decoders=8"]),
        ({"MODEL": ""}, None),
    ],
)
def test_a_model_is_exported_as_the_settings_say(
    compose: list[str], tmp_path: Path, settings: dict[str, str], given: list[str] | None
) -> None:
    script, environment = script_of(compose, "export", **settings)
    (tmp_path / "tkb").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >words\n')
    (tmp_path / "tkb").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(
        ["sh", "-ec", script], check=True, cwd=tmp_path, env={**environment, "PATH": path}
    )
    if given is None:
        assert not (tmp_path / "words").exists()
        return
    words = (tmp_path / "words").read_text().splitlines()
    assert words[0] == "export"
    assert set(given) <= set(words)
    assert "" not in words


def test_the_kafka_exporter_has_a_flag_for_each_broker_and_shows_no_password(
    compose: list[str], tmp_path: Path
) -> None:
    secret = r"pa$$word \n #1"
    script, environment = script_of(
        compose,
        "kafka-exporter",
        BRIDGE_BROKERS="a:9092,b:9092, c:9092",
        KAFKA_EXPORTER_OPTIONS="--tls.enabled --kafka.labels=x,y",
        KAFKA_EXPORTER_PASSWORD=secret.replace("$", "$$"),
    )
    program = tmp_path / "kafka_exporter"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    script = script.replace("/bin/kafka_exporter", str(program))
    script = script.replace("/tmp/flags", str(tmp_path / "flags"))  # noqa: S108
    environment = {name: value.replace("$$", "$") for name, value in environment.items()}
    shown = subprocess.run(
        ["sh", "-ec", script], check=True, env=environment, capture_output=True, text=True
    ).stdout
    assert shown == f"@{tmp_path / 'flags'}\n"
    assert (tmp_path / "flags").stat().st_mode & 0o077 == 0
    assert (tmp_path / "flags").read_text().splitlines() == [
        "--kafka.server=a:9092",
        "--kafka.server=b:9092",
        "--kafka.server=c:9092",
        "--tls.enabled",
        "--kafka.labels=x,y",
        f"--sasl.password={environment['PASSWORD']}",
    ]
    assert environment["PASSWORD"].startswith("pa$")


def test_no_secret_stands_on_a_command_line() -> None:
    """Whoever is on the machine reads command lines with "ps"."""
    secrets = {name for name in DOCUMENTED if re.search("PASSWORD|SECRET|TOKEN|_KEY$", name)}
    assert "KAFKA_EXPORTER_PASSWORD" in secrets
    for name in secrets:
        for line in COMPOSE.splitlines():
            if f"${{{name}" in line:
                assert re.match(r"      [A-Z_]+: ", line), line


def test_triton_and_bridge_bring_what_they_need_in_order(compose: list[str]) -> None:
    services = config(compose)["services"]

    def waits_for(name: str) -> dict[str, str]:
        return {on: how["condition"] for on, how in services[name]["depends_on"].items()}

    assert waits_for("triton") == {"export": "service_completed_successfully"}
    assert waits_for("bridge") == {
        "topics": "service_completed_successfully",
        "triton": "service_healthy",
    }
    assert waits_for("topics") == {"kafka": "service_healthy"}


def test_ports_are_opened_on_loopback_unless_asked_otherwise(compose: list[str]) -> None:
    def hosts(**settings: str) -> set[str]:
        services = config(compose, **settings)["services"].values()
        return {port["host_ip"] for service in services for port in service.get("ports", ())}

    assert hosts() == {"127.0.0.1"}
    assert hosts(BIND_ADDRESS="192.0.2.1") == {"192.0.2.1"}


def test_every_container_gives_up_its_rights(compose: list[str]) -> None:
    for service in config(compose)["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_no_image_is_whatever_was_pushed_last(compose: list[str]) -> None:
    for service in config(compose)["services"].values():
        if "build" not in service:
            name = re.sub(r"@sha256:[0-9a-f]{64}$", "", service["image"])
            assert re.search(r":v?\d[\w.-]+$", name), name


def test_nothing_is_cut_off_while_it_drains(compose: list[str]) -> None:
    services = config(compose)["services"]
    (exit_s,) = re.findall(r"--exit-timeout-secs=(\d+)", COMPOSE)
    assert _seconds(services["triton"]["stop_grace_period"]) > int(exit_s)
    assert _seconds(services["bridge"]["stop_grace_period"]) > load({}).drain_timeout_s + 10


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(?:(\d+)m)?(\d+)s", text)
    assert found is not None, text
    return int(found[1] or 0) * 60 + int(found[2])


def test_the_build_context_holds_what_the_dockerfile_copies_and_no_more() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (?!--from)(\S+) \S+$", text, re.MULTILINE))
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    named = {name.rstrip("/") for name in copied if "$" not in name}

    def lets_in(one: str, name: str) -> bool:
        return fnmatch(name, one) or name.startswith(f"{one}/")

    assert [name for name in named if not any(lets_in(one, name) for one in let_in)] == []
    assert [one for one in let_in if not any(lets_in(one, name) for name in named)] == []


def test_the_dockerfile_keeps_its_rules() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.split(r"(?m)^FROM ", text)[1:]
    bases = [re.match(r"(\S+) AS (\S+)\n", stage) for stage in stages]
    names = {base[2]: base[1] for base in bases if base is not None}
    assert len(names) == len(stages), "every stage has a name"
    assert set(names.values()) - set(names) == {"${PYTHON_IMAGE}", "${TRITON_IMAGE}"}
    for stage in stages:
        if "ENTRYPOINT" in stage:
            assert "ENTRYPOINT [" in stage  # exec form: signals arrive
        if "LABEL" in stage:
            assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE)[-1:] == ["1000:1000"]
            assert "org.opencontainers.image.version" in stage
    assert not re.search(r"^ADD |apt-get|curl|sudo|:latest", text, re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE)
    assert {
        source for source in copied if "$" not in source and not (ROOT / source).exists()
    } == set()


def test_hadolint_finds_nothing() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed")
    run(["hadolint", Path("Dockerfile")])
