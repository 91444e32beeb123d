"""From networks of each kind to predictions in Kafka: exported, in a real Triton, by the bridge."""

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from exporter import weights as checkpoints
from exporter.export import export
from exporter.formats import find_format
from exporter.graph import wrapped
from exporter.model import Model
from exporter.own import own_model
from producer.encoding import EncodedImage, Encoding
from producer.sources import cifar10
from stack.kafka import Kafka
from stack.triton import Triton
from tests.bridge.answers import RIGHT_OF_1000, as_record, as_records, predictions, right
from tests.bridge.answers import collect_answers as collect
from tests.bridge.conftest import StartBridge
from tests.conftest import Topics
from tests.exporter import networks
from tests.kafka_client import send
from wire.answers import FLOAT32, Detections, Embedding
from wire.prediction import Prediction
from wire.record import Outgoing

pytestmark = pytest.mark.slow

FIVE = ("ant", "bee", "cat, tabby", "dog", "emu")
CLASSES = ("background", "round", "square")


class Kept(NamedTuple):
    """A model as it was exported, and its network in eager mode."""

    model: Model
    weights: Path | str | None


class Zoo(NamedTuple):
    triton: Triton
    models: dict[str, Kept]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zoo]:
    folder = tmp_path_factory.mktemp("networks")
    mine = networks.write(folder)
    labels = folder / "five.txt"
    labels.write_text("".join(f"{name}\n" for name in FIVE))
    classes = folder / "classes.txt"
    classes.write_text("".join(f"{name}\n" for name in CLASSES))
    repository = tmp_path_factory.mktemp("repository")
    kept: dict[str, Kept] = {}

    def add(model: Model, form: str = "onnx", weights: Path | str | None = None) -> None:
        export(
            model, repository, backend="python", weights=weights, max_batch_size=4, instances=1,
            threads=1, model_format=find_format(form, "cpu"),
        )  # fmt: skip
        kept[model.name] = Kept(model, weights)

    def told(model: Model) -> Path:
        return networks.telling_weights(model, folder / f"{model.name}.pth")

    add(own_model("resnet20_cifar10", None))
    add(own_model("grey", f"{mine}:grey", labels, "28x28", channels=1, mean="0.5", std="0.25"))
    add(own_model("vit", f"{mine}:vit", size="32x32", mean="0.5,0.4,0.3", std="0.2"))
    mobile = own_model("mobile", "torchvision.models:mobilenet_v3_small", labels, "64x64")
    add(mobile, "torchscript", told(mobile))
    efficient = own_model("efficientnet_b0", None, size="64x64")
    add(efficient, weights=told(efficient))
    add(own_model("vector", f"{mine}:Vector", size="16x24", task="embed"))
    features = own_model("mobilenet_v3_small", None, size="64x64", task="embed", weights="none")
    add(features, "torchscript", "none")
    name = "ssdlite320_mobilenet_v3_large"
    detector = own_model("boxes", f"torchvision.models.detection:{name}", classes)
    add(detector, "torchscript", told(detector))
    with Triton(repository, tmp_path_factory.mktemp("triton")) as server:
        yield Zoo(server, kept)


def as_pngs(pictures: dict[str, Image.Image]) -> list[Outgoing]:
    """Each picture as a PNG whose id is its name."""
    records = []
    for name, picture in pictures.items():
        file = io.BytesIO()
        picture.save(file, "PNG")
        records.append(as_record(EncodedImage(file.getvalue(), "image/png", None), name))
    return records


Ask = Callable[[str, dict[str, Image.Image]], dict[str, Prediction]]


@pytest.fixture
def ask(kafka: Kafka, topics: Topics, start_bridge: StartBridge, zoo: Zoo) -> Ask:
    """What the bridge answers of some pictures, by name."""

    def asked(model: str, pictures: dict[str, Image.Image]) -> dict[str, Prediction]:
        start_bridge(triton=zoo.triton.grpc, model=model)
        send(kafka.bootstrap, topics.images, as_pngs(pictures))
        found = predictions(collect(kafka, topics, len(pictures)), topics)
        assert {one.id for one in found} == set(pictures)
        return {one.id: one for one in found}

    return asked


def eager(kept: Kept, picture: Image.Image) -> tuple[torch.Tensor, ...]:
    """What the network itself gives for a picture of its input's size; rows of one image."""
    pixels = pil_to_tensor(picture).permute(1, 2, 0)[None]
    around = wrapped(checkpoints.load(kept.model, kept.weights), kept.model)
    with torch.inference_mode():
        found = around(pixels.contiguous())
    return tuple(one[0] for one in (found if isinstance(found, tuple) else (found,)))


def require_same_boxes(
    prediction: Prediction, found: tuple[torch.Tensor, ...], labels: Sequence[str], side: int
) -> None:
    """The bridge's boxes are those of eager mode, of a square picture of the input's size."""
    boxes, classes, scores = found
    likely = scores >= 0.25
    assert likely.any(), "without boxes nothing is compared"
    answer = prediction.answer
    assert isinstance(answer, Detections)
    same = sum(
        any(
            one["label"] == labels[int(label)]
            and abs(one["score"] - float(score)) < 1e-3
            and np.allclose(one["box"], box.clip(0, side), atol=0.5)
            for one in answer.found
        )
        for box, label, score in zip(boxes[likely], classes[likely], scores[likely], strict=True)
    )
    # Where two scores are nearly equal, either box may suppress the other.
    assert same >= 0.95 * int(likely.sum())
    assert len(answer.found) == pytest.approx(int(likely.sum()), abs=3)


def pictures(size: tuple[int, int], mode: str = "RGB", count: int = 3) -> dict[str, Image.Image]:
    """Real pictures, enlarged to (height, width), with a corner that tells left from right."""
    found = {}
    for number, one in enumerate(cifar10(Encoding.PNG, limit=count)):
        with Image.open(io.BytesIO(one.value)) as image:
            picture = image.resize(size[::-1], Image.Resampling.BICUBIC)
        picture.paste((255, 200, 0), (0, 0, size[1] // 4, size[0] // 4))
        found[f"picture-{number}"] = picture.convert(mode)
    return found


def test_onnx_keeps_the_oracle_from_kafka_to_kafka(
    kafka: Kafka, topics: Topics, start_bridge: StartBridge, zoo: Zoo
) -> None:
    images = cifar10(Encoding.PNG)
    start_bridge(triton=zoo.triton.grpc, model="resnet20_cifar10")
    send(kafka.bootstrap, topics.images, as_records(images))
    assert right(images, predictions(collect(kafka, topics, 1000), topics)) == RIGHT_OF_1000
    assert "on CPUExecutionProvider" in zoo.triton.log_path.read_text()


@pytest.mark.parametrize(
    ("name", "labels"), [("grey", FIVE), ("mobile", FIVE), ("vit", tuple(map(str, range(7))))]
)
def test_a_classifier_of_ones_own_names_its_classes_or_numbers_them(
    ask: Ask, zoo: Zoo, name: str, labels: tuple[str, ...]
) -> None:
    kept = zoo.models[name]
    model = kept.model
    # Of the size that images are scaled to: what is cut from its centre is known.
    height, width = model.size
    sent = pictures((height, width), "L" if model.channels == 1 else "RGB")
    if model.resize != min(model.size):
        sent = {key: _framed(picture, model.resize) for key, picture in sent.items()}
    found = ask(name, sent)
    for key, picture in sent.items():
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        (scores,) = eager(kept, picture.crop((left, top, left + width, top + height)))
        best = int(scores.argmax())
        (first, *_) = found[key].top
        assert (first["class_id"], first["label"]) == (best, labels[best])
        assert first["score"] == pytest.approx(float(scores[best]), abs=1e-3)


def _framed(picture: Image.Image, side: int) -> Image.Image:
    frame = Image.new("RGB", (side, side), (90, 10, 10))
    frame.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return frame


def test_torchvisions_own_transforms_are_what_the_bridge_does(ask: Ask, zoo: Zoo) -> None:
    kept = zoo.models["efficientnet_b0"]
    sent = pictures((150, 200))
    found = ask("efficientnet_b0", sent)
    transforms = kept.model.pretrained.transforms(crop_size=64, resize_size=kept.model.resize)
    network = checkpoints.load(kept.model, kept.weights)
    for key, picture in sent.items():
        with torch.inference_mode():
            scores = torch.softmax(network(transforms(picture)[None])[0], 0)
        (first, *_) = found[key].top
        assert first["label"] == kept.model.labels[int(scores.argmax())]
        # Bicubic pixels may differ by one between Pillow's releases.
        assert first["score"] == pytest.approx(float(scores.max()), rel=0.1)


@pytest.mark.parametrize(("name", "length"), [("vector", 6), ("mobilenet_v3_small", 1024)])
def test_an_embedder_gives_its_vector_without_a_softmax(
    ask: Ask, zoo: Zoo, name: str, length: int
) -> None:
    kept = zoo.models[name]
    size = kept.model.size if name == "vector" else (kept.model.resize,) * 2
    sent = pictures(size)
    found = ask(name, sent)
    for key, picture in sent.items():
        left, top = (size[1] - kept.model.size[1]) // 2, (size[0] - kept.model.size[0]) // 2
        box = (left, top, left + kept.model.size[1], top + kept.model.size[0])
        (vector,) = eager(kept, picture.crop(box))
        answer = found[key].answer
        assert isinstance(answer, Embedding)
        values = np.frombuffer(answer.values, FLOAT32)
        assert len(values) == length
        np.testing.assert_allclose(values, vector.numpy(), atol=1e-3)


def test_a_detector_of_torchvision_is_found_by_the_bridge_as_one(ask: Ask, zoo: Zoo) -> None:
    kept = zoo.models["boxes"]
    sent = pictures((320, 320))
    # Twice as wide as the input: its boxes are to come back in its own pixels.
    sent["wide"] = sent["picture-0"].resize((640, 320), Image.Resampling.NEAREST)
    found = ask("boxes", sent)
    for key, picture in sent.items():
        if key == "wide":
            continue
        require_same_boxes(found[key], eager(kept, picture), CLASSES, 320)
    wide = found["wide"].answer
    assert isinstance(wide, Detections)
    assert wide.image == {"width": 640, "height": 320}
    assert max(one["box"][2] for one in wide.found) > 320
