"""The wheel by itself: installed where nothing else is, run from another folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cli.version import version
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import MODEL, Topics
from tests.kafka_client import collect, send
from wire.image import encode_image
from wire.prediction import decode_prediction

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "bridge", "cli", "consumer", "deadletters", "exporter", "imaging", "producer", "schemas",
    "stack", "storage", "tracing", "wire",
)  # fmt: skip
UV = Path(sys.executable).with_name("uv")


def uv(*arguments: object) -> None:
    """From uv's cache where it has everything: then no registry is asked."""
    for offline in (["--offline"], []):
        done = subprocess.run(
            [UV, *map(str, arguments), *offline], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
    raise AssertionError(done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the source distribution, so that this has all that is needed, too."""
    folder = tmp_path_factory.mktemp("dist")
    locked = ROOT / "requirements/build.lock"
    uv("build", "--quiet", "--build-constraints", locked, "--out-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    assert len(list(folder.glob("*.tar.gz"))) == 1
    return built


@pytest.fixture(scope="module")
def tkb(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, in an environment with the base dependencies alone."""
    folder = tmp_path_factory.mktemp("venv")
    uv("venv", "--quiet", "--clear", "--python", sys.executable, folder)
    python = folder / "bin/python"
    locked = ROOT / "requirements/bridge.lock"
    uv("pip", "install", "--quiet", "--python", python, "--constraints", locked, wheel)
    return folder / "bin/tkb"


def run(tkb: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HOME": str(folder), "COLUMNS": "100", "TERM": "dumb"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [tkb, *arguments], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = (path for path in (ROOT / "data").rglob("*") if path.is_file())
    data = {f"cli/data/{path.relative_to(ROOT / 'data')}" for path in files}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {path for path in listed.stdout.split() if (ROOT / path).exists()} | data <= names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_it_says_its_version_and_explains_itself(tkb: Path, tmp_path: Path) -> None:
    assert run(tkb, tmp_path, "--version").stdout == f"tkb {version()}\n"
    helped = run(tkb, tmp_path, "bridge", "--help")
    assert helped.returncode == 0
    assert "[default: 127.0.0.1:9092]" in helped.stdout


def test_a_command_without_its_extra_names_it(tkb: Path, tmp_path: Path) -> None:
    for name, extra in (("measure", "client"), ("export", "model"), ("stack", "stack")):
        done = run(tkb, tmp_path, name)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: tkb {name} needs ")
        assert f"pip install triton-kafka-bridge[{extra}]" in done.stderr
        assert done.stderr.count("\n") == 1


def test_it_serves_an_image_from_another_folder(
    tkb: Path, kafka: Kafka, triton: Triton, topics: Topics, tmp_path: Path
) -> None:
    image = cifar10(Encoding.PNG, limit=1)[0]
    record = encode_image(
        id="one", value=image.value, content_type=image.content_type, source="/test",
        intended_ns=1, sent_ns=1, run_id="run", label=image.label,
    )  # fmt: skip
    send(kafka.bootstrap, topics.images, [record])
    command: list[str | Path] = [
        tkb, "bridge", "--brokers", kafka.bootstrap, "--triton", triton.grpc, "--model", MODEL,
        "--images-topic", topics.images, "--predictions-topic", topics.predictions,
        "--dead-letters-topic", topics.dead_letters, "--http-port", "0", "--group", tmp_path.name,
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as bridge:
        try:
            (answer,) = collect(kafka.bootstrap, [topics.predictions], bool)
        finally:
            bridge.terminate()
            assert bridge.wait(60) == 0
    assert decode_prediction(answer).top[0]["label"] == image.label
