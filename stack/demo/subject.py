"""What the demo sends: images to classify, or canvases with objects to find."""

from dataclasses import dataclass
from pathlib import Path

from stack.demo.detections import Detecting, write_canvases

MODEL = "resnet20_cifar10"
SENT = 1000
CANVASES = 400


@dataclass(frozen=True, slots=True)
class Subject:
    """The images that are sent, and the model that answers them.

    Attributes:
        source: arguments of `tkb produce`.
        least_rate: lowest rate in images per second, however slow the machine is.
        detecting: the canvases with their objects; None: the images are classified.
    """

    model: str
    source: tuple[object, ...]
    count: int
    title: str
    least_rate: int = 20
    detecting: Detecting | None = None


CLASSIFY = Subject(MODEL, ("cifar10",), SENT, "1,000 CIFAR-10 images: Kafka → Triton → Kafka")


def detecting(directory: Path) -> Subject:
    """Canvases of images that the detector was not trained with, written below `directory`."""
    made = write_canvases(directory / "canvases", CANVASES)
    return Subject(
        "detector_cifar10", ("folder", made.folder), CANVASES,
        f"{CANVASES} canvases of CIFAR-10 images: Kafka → Triton → Kafka", 3, made,
    )  # fmt: skip
