"""Installs the project's classifier for Triton's Python backend, without torch."""

import hashlib
from pathlib import Path

from cli.paths import DATA
from exporter.repository import install, is_current

MODEL = "resnet20_cifar10"
VERSION = 1
SHIPPED = DATA / "onnx" / MODEL
"""The output of `tkb export --format onnx --backend python`, without the backend's program."""
BACKEND = Path(__file__).with_name("python_backend") / "model.py"


def install_shipped(repository: Path) -> Path:
    """Put the project's ONNX model into a model repository; returns its folder there.

    A model that is there already is not changed.

    Raises:
        ExportError: the repository cannot be written.
    """
    directory = repository / MODEL
    files = {
        f"{VERSION}/model.onnx": SHIPPED / str(VERSION) / "model.onnx",
        f"{VERSION}/model.py": BACKEND,
        "labels.txt": SHIPPED / "labels.txt",
        "config.pbtxt": SHIPPED / "config.pbtxt",
    }
    made_from = {
        name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()
    }
    if not is_current(directory, VERSION, made_from):
        install(directory, VERSION, files, made_from)
    return directory
