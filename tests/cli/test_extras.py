"""Where a package of an extra is not installed: what works nevertheless, and what is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli import app
from cli.app import install
from exporter.shipped import MODEL

ROOT = Path(__file__).resolve().parents[2]
HIDING = """\
import sys
sys.modules |= dict.fromkeys(sys.argv.pop(1).split(","))
from cli.main import run
run()
"""
NOWHERE = ("--brokers", "127.0.0.1:1", "--triton", "127.0.0.1:1")
AVRO = ("--prediction-format", "avro", "--schema-registry-url", "http://127.0.0.1:1")
EXPORT = ("export", "--backend", "python", "--repository", "models")


def tkb(hidden: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The program in an environment without some packages."""
    return subprocess.run(
        [sys.executable, "-c", HIDING, hidden, *arguments],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "COLUMNS": "400"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "arguments", "extra", "code"),
    [
        ("torch", ("export",), "model", 1),
        ("torch", (*EXPORT, "--threads", "2"), "model", 1),
        ("torch", (*EXPORT, "resnet18"), "model", 1),
        ("torch", ("demo", "--task", "detect"), "model", 1),
        ("torch,onnxruntime", ("demo",), "onnx", 1),
        ("find_libpython", ("demo",), "client', 'onnx', 'stack", 1),
        # Said at once, and not when Kafka and Triton have been started.
        ("hdrh", ("demo",), "client", 1),
        ("hdrh", ("stack", "up", "--ui"), "client", 1),
        ("obstore", ("bridge", "--reference-allow", "s3://photos"), "references", 2),
        ("obstore", ("doctor", *NOWHERE, "--reference-allow", "s3://photos"), "references", 1),
        ("fastavro", ("doctor", *NOWHERE, *AVRO), "schemas", 1),
        ("httpx2", ("read", "--schema-registry-url", "http://127.0.0.1:1"), "schemas", 2),
        ("opentelemetry", ("doctor", *NOWHERE, "--tracing"), "tracing", 1),
    ],
    ids=str,
)
def test_a_missing_package_is_said_with_its_extra(
    hidden: str, arguments: tuple[str, ...], extra: str, code: int, tmp_path: Path
) -> None:
    done = tkb(hidden, tmp_path, *arguments)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert f"install the project with its '{extra}' extra" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), (MODEL,), ("--format", "onnx")])
def test_the_projects_own_model_is_exported_without_torch(
    more: tuple[str, ...], tmp_path: Path
) -> None:
    done = tkb("torch", tmp_path, *EXPORT, *more)
    assert (done.returncode, done.stdout) == (0, f"models/{MODEL}\n"), done.stderr
    assert (tmp_path / "models" / MODEL / "1/model.onnx").is_file()
    assert "torch is not installed" in done.stderr
    assert "onnxruntime" not in done.stderr


@pytest.mark.slow
def test_what_the_exported_model_needs_is_said(tmp_path: Path) -> None:
    done = tkb("torch,onnxruntime", tmp_path, *EXPORT)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime, which is not installed: install the project with its 'onnx'" in done.stderr


@pytest.mark.parametrize(
    ("checkout", "pip", "here", "command"),
    [
        (True, True, "/home/me/checkout", ".venv/bin/python -m pip install -e '.[onnx]'"),
        (
            True,
            True,
            "/home/me/other",
            "/home/me/checkout/.venv/bin/python -m pip install -e '/home/me/checkout[onnx]'",
        ),
        (True, False, "/home/me/checkout", "uv pip install -p .venv/bin/python -e '.[onnx]'"),
        (
            False,
            True,
            "/home/me/checkout",
            ".venv/bin/python -m pip install 'triton-kafka-bridge[onnx]'",
        ),
    ],
)
def test_an_extra_is_installed_where_the_program_runs(
    checkout: bool, pip: bool, here: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "CHECKOUT", checkout)
    monkeypatch.setattr(app, "ROOT", Path("/home/me/checkout"))
    monkeypatch.setattr(app, "find_spec", lambda _: object() if pip else None)
    monkeypatch.setattr(sys, "executable", "/home/me/checkout/.venv/bin/python")
    monkeypatch.setattr(Path, "cwd", lambda: Path(here))
    assert install("onnx") == f"install the project with its 'onnx' extra ({command})"
