"""The smoke test of a GPU node, on a machine of stand-in programs and a Triton of two pages."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from producer.listener import Tally
from producer.report import Report
from scripts import check_gpu_node
from tests.scripts.machine import Answers, Machine

CONFIG = "/v2/models/resnet20_cifar10/config"
STATS = {
    "inference_count": 1000,
    "execution_count": 40,
    "inference_stats": {"compute_infer": {"count": 1000, "ns": 1000 * 2_000_000}},
}
PAGES: dict[str, Any] = {
    "/v2/health/ready": None,
    "/v2": {"version": "2.75.0"},
    CONFIG: {"backend": "pytorch", "instance_group": [{"kind": "KIND_GPU"}]},
    "/v2/models/resnet20_cifar10/stats": {"model_stats": [STATS]},
}


@pytest.fixture
def pages() -> dict[str, Any]:
    return dict(PAGES)


@pytest.fixture
def triton(pages: dict[str, Any]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 400)
            self.end_headers()
            if pages.get(self.path) is not None:
                self.wfile.write(json.dumps(pages[self.path]).encode())

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def report(correct: int) -> str:
    """What the producer really says, not a copy of it."""
    tally = Tally(1000, 0, duplicates=0, labelled=1000, correct=correct, unreadable=0)
    done = Report("r", 1000, 1000, {}, 2.0, 0.0, tally)
    return "\n".join(done.lines()) + "\n"


@pytest.fixture
def answers(triton: str) -> Answers:
    return {
        "version": (0, "29.9.3"),
        "compose version": (0, "5.7.1"),
        "compose exec -T triton nvidia-smi": (0, "GPU 0: NVIDIA H100 (UUID: GPU-1)\n"),
        "compose port": (0, triton),
        "compose images": (0, "[]"),
        "compose run": (0, report(915)),
    }


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    made.program("nvidia-smi", {"--query-gpu": (0, "NVIDIA H100, 580.95.05, 9.0, 81559 MiB\n")})
    made.program("nvidia-ctk", {"--version": (0, "NVIDIA Container Toolkit CLI version 1.20.2\n")})
    return made


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any]]:
    output = tmp_path / "seen.json"
    monkeypatch.setattr("sys.argv", ["check_gpu_node", f"--output={output}"])
    status = check_gpu_node.main()
    seen: dict[str, Any] = json.loads(output.read_text())
    return status, seen


def test_all_that_was_seen_is_in_one_file(
    machine: Machine, answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.program("docker", answers)
    status, seen = run(tmp_path, monkeypatch)
    assert status == 0
    assert seen["well"]
    assert seen["gpus"] == [
        {"name": "NVIDIA H100", "driver": "580.95.05", "compute_capability": "9.0",
         "memory": "81559 MiB"}
    ]  # fmt: skip
    assert seen["versions"]["toolkit"] == "1.20.2"
    assert seen["container"] == ["GPU 0: NVIDIA H100 (UUID: GPU-1)"]
    assert seen["triton"]["server"] == "2.75.0"
    assert seen["triton"]["instances"] == ["KIND_GPU"]
    assert seen["images"] == {
        "sent": 1000, "answered": 1000, "missing": 0, "correct": 915, "sent_per_s": 500.0,
    }  # fmt: skip
    # 40 batches of 2 ms: 1,000 images in 80 ms.
    assert seen["throughput"] == {
        "images": 1000, "images_per_batch": 25.0, "images_per_s_of_computing": 12500,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "answer", "step", "message"),
    [
        ("compose exec -T triton nvidia-smi", (0, ""), "container", "no GPU is in Triton's"),
        ("compose exec -T triton nvidia-smi", (1, "not running"), "container", "not running"),
        ("compose port", (0, "127.0.0.1:9"), "triton", "http://127.0.0.1:9/v2/health/ready"),
        ("compose run", (0, report(914)), "images", "915 of 1000 answers should be right"),
        ("compose run", (1, "no broker"), "images", "no broker"),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_is_still_looked_at(
    machine: Machine,
    answers: Answers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    answer: tuple[int, str],
    step: str,
    message: str,
) -> None:
    machine.program("docker", answers | {words: answer})
    status, seen = run(tmp_path, monkeypatch)
    assert status == 1
    assert not seen["well"]
    assert message in seen[step]["failed"]
    assert seen["gpus"][0]["name"] == "NVIDIA H100"
    assert "throughput" in seen


def test_a_model_on_the_cpu_is_not_well(
    machine: Machine,
    answers: Answers,
    pages: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages[CONFIG] = {"backend": "pytorch", "instance_group": [{"kind": "KIND_CPU"}]}
    machine.program("docker", answers)
    status, seen = run(tmp_path, monkeypatch)
    assert status == 1
    assert "resnet20_cifar10 runs on the CPU" in seen["triton"]["failed"]


def test_a_model_of_the_python_backend_takes_the_gpu_whatever_triton_calls_it(
    machine: Machine,
    answers: Answers,
    pages: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages[CONFIG] = {
        "backend": "python",
        "instance_group": [{"kind": "KIND_CPU"}],
        "parameters": {"DEVICE": {"string_value": "auto"}},
    }
    machine.program("docker", answers)
    status, seen = run(tmp_path, monkeypatch)
    assert status == 0, seen
    assert seen["triton"]["device"] == "auto"


def test_a_machine_without_anything_says_so_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, seen = run(tmp_path, monkeypatch)
    assert status == 1
    assert seen["gpus"] == {"failed": "nvidia-smi is not installed"}
    assert seen["images"]["failed"].startswith("Compose is missing: install docker-compose-plugin")


def test_docker_without_compose_is_told_what_to_install(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker alone says "unknown flag: --rm"."""
    machine.program("docker", {"": (1, "unknown flag: --rm")})
    status, seen = run(tmp_path, monkeypatch)
    assert status == 1
    for step in ("container", "triton", "images", "throughput"):
        assert "install docker-compose-plugin" in seen[step]["failed"], step
