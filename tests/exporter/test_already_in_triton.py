"""docs/bring-your-own-model.md, "A model that is already in Triton": its commands, run."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.kafka import Kafka
from stack.ports import free_ports
from stack.triton import Triton
from tests import models
from tests.conftest import Topics
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "bring-your-own-model.md").read_text()
SECTION = PAGE.partition("## A model that is already in Triton\n")[2].partition("\n### ")[0]


def commands() -> list[str]:
    """The page's commands with their continuation lines, and the command that reads the file."""
    (console,) = re.findall(r"^```console\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    typed: list[str] = [one.strip() for one in re.split(r"^\$ ", console, flags=re.MULTILINE)]
    return [*filter(None, typed), "tkb bridge --config bridge.toml"]


@pytest.fixture(scope="module")
def densenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    repository = tmp_path_factory.mktemp("densenet")
    models.write_densenet(repository)
    with Triton(repository, tmp_path_factory.mktemp("densenet-triton")) as server:
        yield server


@pytest.mark.parametrize("number", range(3))
def test_each_of_the_three_ways_serves_the_model(
    kafka: Kafka, topics: Topics, densenet: Triton, tmp_path: Path, number: int
) -> None:
    told = commands()
    assert len(told) == 3
    (tmp_path / "tkb").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "cli"} "$@"\n')
    (tmp_path / "tkb").chmod(0o755)
    (file,) = re.findall(r"^```toml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    (tmp_path / "bridge.toml").write_text(file)
    (port,) = free_ports(1)
    env = {
        **os.environ,
        "PATH": os.pathsep.join((str(tmp_path), os.environ["PATH"])),
        "BRIDGE_BROKERS": kafka.bootstrap,
        "BRIDGE_TRITON": densenet.grpc,
        "BRIDGE_HTTP_PORT": str(port),
        "BRIDGE_IMAGES_TOPIC": topics.images,
        "BRIDGE_PREDICTIONS_TOPIC": topics.predictions,
        "BRIDGE_DEAD_LETTERS_TOPIC": topics.dead_letters,
        "BRIDGE_GROUP": topics.images,
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        bridge = subprocess.Popen(
            ["bash", "-c", told[number].replace("tkb bridge", "exec tkb bridge")],
            cwd=tmp_path, env=env, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        eventually(lambda: "serving" in log.read_text() or bridge.poll() is not None, "serve", 240)
        assert bridge.poll() is None, log.read_text()
        assert "densenet_onnx" in log.read_text()
    finally:
        bridge.send_signal(signal.SIGTERM)
        bridge.wait(120)
