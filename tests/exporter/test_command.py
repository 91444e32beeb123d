import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def run(
    *arguments: str, folder: Path, hidden: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command as a user calls it, from a folder that is not the project's.

    Args:
        hidden: a folder whose packages stand before those of the environment.
    """
    command = [sys.executable, str(ROOT / "scripts" / "export_model.py"), *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | ({} if hidden is None else {"PYTHONPATH": str(hidden)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_it_prints_the_models_folder_and_its_progress_apart(tmp_path: Path) -> None:
    done = run("--repository", "models", "--backend", "python", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "models/resnet20_cifar10\n"
    assert "max difference" in done.stderr
    assert (tmp_path / "models/resnet20_cifar10/1/model.py").is_file()


def test_it_needs_no_compiler_for_gpus(tmp_path: Path) -> None:
    """The export's image has none: compose.mk leaves it out of the lock file."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/triton.py").write_text("raise ImportError('not in this image')\n")
    done = run("--repository", "models", folder=tmp_path, hidden=tmp_path / "hidden")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/resnet20_cifar10/1/model.pt").is_file()


def test_what_can_not_be_exported_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("no tensors")
    done = run("resnet56_cifar10", "--weights", "notes.pt", folder=tmp_path)
    assert done.returncode == 1
    assert "error: notes.pt can't be read as a checkpoint" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        ("--backend", "onnx"),
        ("--dali",),
        ("resnet56_cifar10", "--weights", "absent.pt"),
        ("mine", "--network", "absent.py:build", "--size", "8x8"),
    ],
)
def test_wrong_options_are_a_usage_error(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    done = run(*wrong, folder=tmp_path)
    assert done.returncode == 2
    assert any(one in done.stderr for one in wrong if one.startswith(("--", "absent")))
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_help_has_examples(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "Examples:" in done.stdout


def test_what_a_detector_cannot_be_is_refused(tmp_path: Path) -> None:
    done = run("detector_cifar10", "--precision", "fp16", folder=tmp_path)
    assert done.returncode == 1
    assert "a detector is exported in fp32" in done.stderr
    assert not list(tmp_path.iterdir())
