"""The project's classifier as it comes, ready for Triton's Python backend: without torch."""

import hashlib
from pathlib import Path

from cli.paths import DATA
from exporter.repository import install, is_current

MODEL = "resnet20_cifar10"
VERSION = 1
SHIPPED = DATA / "onnx" / MODEL
"""What `tkb export --format onnx --backend python` writes of it, but for the backend's program."""
BACKEND = Path(__file__).with_name("python_backend") / "model.py"


def install_shipped(repository: Path) -> Path:
    """Put the ONNX model that comes with the project into a model repository; its folder there.

    One that is there already is left as it is.

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
