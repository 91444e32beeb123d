"""What the walks through the documentation say is done, file by file and command by command.

A fenced block of `bash` is run to its end; one of `bash background` is a terminal of its own; one
with a file's name is that file.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exporter.triton_config import parse
from producer.encoding import Encoding
from producer.sources import cifar10
from stack.ports import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PARTS = (
    "bridge",
    "cli",
    "consumer",
    "data",
    "deadletters",
    "exporter",
    "imaging",
    "producer",
    "scripts",
    "stack",
    "tracing",
    "wire",
)
READY = {
    "stack up": "Ctrl-C stops it.",
    "tkb bridge": "serving",
    "tkb measure": None,  # says nothing where no one looks on; a file tells
}


class Block(NamedTuple):
    language: str
    argument: str
    text: str


def blocks(page: str) -> list[Block]:
    found = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(*one) for one in found]


class Walk:
    """A checkout as a newcomer has it, and the terminals that are open in it."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder = folder
        self._running = running
        self._background: dict[str, subprocess.Popen[bytes]] = {}
        for part in PARTS:
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(ROOT / "pyproject.toml", folder)
        # As an installed one is, and of this checkout.
        program = folder / "bin" / "tkb"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {folder / "cli"} "$@"\n')
        program.chmod(0o755)
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        (ROOT / ".cache").mkdir(exist_ok=True)
        (folder / ".cache").symlink_to(ROOT / ".cache")
        kafka, triton, http = free_ports(3)
        self._ports = {"9092": str(kafka), "8001": str(triton)}
        brokers = f"127.0.0.1:{kafka}"
        # The defaults that the text relies on may be another's on this machine.
        self._env = {
            **os.environ,
            "HOME": str(folder),
            # Each block is a shell of its own: what the text activates once, all of them have.
            "PATH": os.pathsep.join(
                (str(program.parent), str(folder / ".venv" / "bin"), os.environ["PATH"])
            ),
            "BRIDGE_BROKERS": brokers,
            "BRIDGE_TRITON": f"127.0.0.1:{triton}",
            "BRIDGE_HTTP_PORT": str(http),
            "PRODUCER_BROKERS": brokers,
            "CONSUMER_BROKERS": brokers,
            "READER_BROKERS": brokers,
            "CONSUMER_READY_FILE": str(folder / "ready"),
            "CONSUMER_ALLOW_BACKLOG": "1",
        }

    def take(self, block: Block) -> str:
        """Do what a block says; what it printed, if it ran to its end."""
        if block.language == "bash":
            command = block.text
            for usual, ours in self._ports.items():
                command = command.replace(usual, ours)
            if block.argument == "background":
                self._start(command)
                return ""
            done = subprocess.run(
                ["bash", "-ec", command], cwd=self.folder, env=self._env, capture_output=True,
                text=True, timeout=280, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            if "produce" in command and "tkb measure" in self._background:
                # As a reader does: what is sent before it has ended would be measured with it.
                self._background["tkb measure"].wait(280)
            return done.stdout
        if block.argument:
            text = block.text
            for usual, ours in self._ports.items():
                text = text.replace(usual, ours)
            (self.folder / block.argument).write_text(text)
        return ""

    def finish(self, program: str) -> dict[str, Any]:
        """Wait for the measurement that runs in another terminal; its summary."""
        assert self._background[program].wait(280) == 0, self._log(program)
        summary: dict[str, Any] = json.loads(
            (self.folder / "results" / "latency_summary.json").read_text()
        )
        return summary

    def _start(self, command: str) -> None:
        program = next(name for name in READY if name in command)
        with self._log_path(program).open("wb") as log:
            child = subprocess.Popen(
                ["bash", "-ec", f"exec {command.strip()}"], cwd=self.folder, env=self._env,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._background[program] = child
        self._running.callback(self._end, child)
        deadline = time.monotonic() + 240
        while not self._is_ready(program):
            assert child.poll() is None, self._log(program)
            assert time.monotonic() < deadline, self._log(program)
            time.sleep(0.1)

    def _is_ready(self, program: str) -> bool:
        text = READY[program]
        return (self.folder / "ready").exists() if text is None else text in self._log(program)

    def _log_path(self, program: str) -> Path:
        return self.folder / f"{program.replace('/', '-').replace(' ', '-')}.log"

    def _log(self, program: str) -> str:
        return self._log_path(program).read_text(errors="replace")

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait(120)


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    with ExitStack() as running:
        yield Walk(tmp_path, running)


@pytest.mark.timeout(1200)
def test_ones_own_model_answers_every_picture_right(walk: Walk) -> None:
    page = (DOCS / "bring-your-own-model.md").read_text()
    printed = "".join(walk.take(block) for block in blocks(page))
    assert re.search(r"^answered +60$", printed, re.MULTILINE), printed
    summary = walk.finish("tkb measure")
    assert (summary["answered"], summary["labelled"], summary["correct"]) == (60, 60, 60)


@pytest.mark.timeout(1200)
def test_the_quick_start_by_hand_leads_where_it_says(walk: Walk) -> None:
    photos = walk.folder / "photos" / "cat"
    photos.mkdir(parents=True)
    for index, image in enumerate(cifar10(Encoding.PNG, limit=5)):
        (photos / f"{index}.png").write_bytes(image.value)
    page = (DOCS / "quickstart.md").read_text()
    printed = "".join(walk.take(block) for block in blocks(page))
    assert re.search(r"^answered +5$", printed, re.MULTILINE), printed
    assert "no dead letters\n" in printed
    found = [line for line in printed.splitlines() if line.startswith("cat/")]
    assert {line.split()[0] for line in found} == {f"cat/{index}.png" for index in range(5)}
    # By `tkb read`, and some of the 1,000 predictions that the twenty lines of Python print.
    assert all(re.fullmatch(r"\S+  \w+  \d\.\d+", line) for line in found[:5])
    assert len(re.findall(r"^\S+ \w+ [\d.]+$", printed, re.MULTILINE)) == 1000
    summary = walk.finish("tkb measure")
    assert (summary["answered"], summary["correct"]) == (1000, 915)


def test_the_configuration_for_a_model_of_another_tool_is_one() -> None:
    page = (DOCS / "bring-your-own-model.md").read_text()
    (config,) = (one.text for one in blocks(page) if one.text.startswith("name:"))
    assert parse(config).name == "fruit"
