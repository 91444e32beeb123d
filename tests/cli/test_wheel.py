"""The wheel by itself: installed where nothing else is, run from another folder.

`make test-pythons` runs this on each Python that the bridge supports.
"""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from cli.paths import APP, CACHE
from cli.version import version
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.kafka.jars import class_path
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
PYTHONS = os.environ.get("WHEEL_PYTHONS", "").split()
"""Versions or paths of the interpreters to try, each with the newest packages that the wheel
allows, numpy 2 among them. Empty: only the interpreter that runs this, with the locked packages."""


def uv(*arguments: object) -> None:
    """Run uv, with its cache alone where that has everything: then no registry is asked."""
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


@pytest.fixture(scope="module", params=PYTHONS or [sys.executable])
def tkb(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """The command, in an environment with the base dependencies alone."""
    folder = tmp_path_factory.mktemp("venv")
    uv("venv", "--quiet", "--clear", "--python", request.param, folder)
    python = folder / "bin/python"
    locked = [] if PYTHONS else ["--constraints", ROOT / "requirements/bridge.lock"]
    uv("pip", "install", "--quiet", "--only-binary", ":all:", "--python", python, *locked, wheel)
    return folder / "bin/tkb"


@pytest.fixture
def whole(wheel: Path, tmp_path: Path) -> Path:
    """The command, in an environment with everything that the project may need."""
    folder = tmp_path / "venv"
    uv("venv", "--quiet", "--python", sys.executable, folder)
    (found,) = folder.glob("lib/python*/site-packages")
    (found / "others.pth").write_text(sysconfig.get_path("purelib"))
    uv("pip", "install", "--quiet", "--python", folder / "bin/python", "--no-deps", wheel)
    return folder / "bin/tkb"


def at_home(folder: Path) -> dict[str, str]:
    """The environment of a user whose files are in this folder, Kafka's jars among them."""
    cached = folder / "cache" / APP
    cached.mkdir(parents=True)
    (cached / "kafka").symlink_to(CACHE / "kafka")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    folders = {"XDG_CACHE_HOME": folder / "cache", "XDG_STATE_HOME": folder / "state"}
    return {**kept, **{name: str(path) for name, path in folders.items()}}


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
    for name, extra in (
        ("measure", "client"), ("export", "model"), ("stack", "stack"),
        ("demo", "client,onnx,stack"),
    ):  # fmt: skip
        done = run(tkb, tmp_path, name)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: tkb {name} needs ")
        # uv has made this environment, without pip.
        python = tkb.with_name("python")
        assert f"uv pip install -p {python} 'triton-kafka-bridge[{extra}]'" in done.stderr
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


@pytest.mark.slow
def test_a_stack_leaves_its_files_with_the_user_and_none_where_it_is_run(
    whole: Path, tmp_path: Path
) -> None:
    assert class_path()  # fetched now, if ever
    work, environment = tmp_path / "work", at_home(tmp_path)
    work.mkdir()
    command: list[str | Path] = [whole, "stack", "up", "--no-triton"]
    with subprocess.Popen(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True
    ) as stack:
        try:
            assert stack.stdout is not None
            ready = next((line for line in stack.stdout if "Ctrl-C" in line), None)
        finally:
            stack.terminate()
    assert ready
    assert list(work.iterdir()) == []
    assert (tmp_path / "state" / APP / "default" / "kafka").is_dir()


@pytest.mark.soak  # a minute and more; `make demo` runs the same from a checkout
def test_the_demo_runs_in_an_empty_folder(whole: Path, tmp_path: Path) -> None:
    assert class_path()
    work, environment = tmp_path / "work", at_home(tmp_path)
    work.mkdir()
    done = subprocess.run(
        [whole, "demo"], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in work.iterdir()] == ["results"]
    assert (work / "results" / "latency_report.html").is_file()
