"""CPU time of the bridge's stages: its own functions on real records, one after the other.

What the whole bridge takes beyond their sum is the clients of Kafka and gRPC, and its threads.
"""

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor

from benchmarks.models import CLASSES, SHAPE
from benchmarks.programs.common import TOP_K
from bridge.tasks.classify import Classify
from bridge.tasks.task import Output
from bridge.triton.inputs import ModelInput
from bridge.triton.messages import make_request, parse_answer
from bridge.triton.model import ModelSpec
from imaging.decode import to_input
from imaging.rules import ImageRules, Preprocess, Size
from producer.encoding import EncodedImage, Encoding
from producer.sources import cifar10, synthetic
from schemas.formats import FORMATS, Format, FramedSerializer
from wire.image import ImageEvent, decode_image, encode_image
from wire.prediction import STAMPS, Prediction, encode_prediction
from wire.record import StoredRecord

BATCH = 64
IMAGES = 256
MAX_BYTES, MAX_PIXELS = 16 << 20, 50_000_000
"""The bridge's defaults."""
ROUNDS = 7
"""The median of so many is one repeat: the first fills caches, others are interrupted."""
PHOTO_SIDE, LARGE = 500, (224, 224, 3)
OUTPUT = "OUTPUT__0"

Stages = dict[str, list[float]]
"""CPU microseconds per image of each stage, one figure for each repeat."""


def stages(repeats: int) -> dict[str, Stages]:
    """Measure the stages for each kind of image."""
    kinds = {
        "raw": (cifar10(Encoding.RAW, limit=IMAGES), _spec(SHAPE)),
        "PNG": (cifar10(Encoding.PNG, limit=IMAGES), _spec(SHAPE)),
        f"JPEG {PHOTO_SIDE}x{PHOTO_SIDE} to {LARGE[0]}x{LARGE[1]}": (
            synthetic(Encoding.JPEG, BATCH, PHOTO_SIDE, 0),
            _spec(LARGE, Preprocess(resize=256)),
        ),
    }
    found: dict[str, Stages] = {}
    for name, (images, spec) in kinds.items():
        measured = [_stages(images, spec) for _ in range(repeats)]
        found[name] = {stage: [one[stage] for one in measured] for stage in measured[0]}
    return found


def _spec(shape: tuple[int, int, int], preprocess: Preprocess | None = None) -> ModelSpec:
    return ModelSpec(
        name="model", version="1", input=ModelInput("INPUT__0", "UINT8", shape),
        task=Classify(Output(OUTPUT, "FP32", (CLASSES,)), CLASSES, TOP_K),
        max_batch=BATCH, batched=True, instances=1, preprocess=preprocess or Preprocess(),
    )  # fmt: skip


def _stages(images: Sequence[EncodedImage], spec: ModelSpec) -> dict[str, float]:
    records = [_record(index, image) for index, image in enumerate(images)]
    events = [decode_image(record) for record in records]
    values = [record.record_value or b"" for record in records]

    rules = ImageRules(spec.shape, spec.preprocess, MAX_BYTES, MAX_PIXELS)

    def decode() -> list[Any]:
        return [to_input(event, value, rules) for event, value in zip(events, values, strict=True)]

    pixels = decode()
    response = _response(BATCH)
    sizes: list[Size | None] = [None] * BATCH
    top = parse_answer(response, spec, sizes).results[0]
    assert isinstance(top, tuple)
    stamps = dict.fromkeys(STAMPS, time.time_ns())
    prediction = Prediction("an-id", spec.name, spec.version, top, stamps, BATCH)
    work: dict[str, tuple[int, Callable[[], object]]] = {
        "envelope": (len(records), lambda: [decode_image(record) for record in records]),
        "decode": (len(records), decode),
        "request": (BATCH, lambda: make_request(spec, pixels[:BATCH], timeout_s=30)),
        "answer": (BATCH, lambda: parse_answer(response, spec, sizes)),
        "prediction": (
            len(events),
            lambda: [encode_prediction(event, b"key", prediction, "bench") for event in events],
        ),
    }
    for name, chosen in FORMATS.items():
        work[f"prediction, {name}"] = (len(events), _predictions(events, prediction, chosen))
    return {stage: _cpu_us(run) / count for stage, (count, run) in work.items()}


def _predictions(
    events: Sequence[ImageEvent], prediction: Prediction, chosen: Format
) -> Callable[[], object]:
    """The stage "prediction" in another format than JSON."""
    write = FramedSerializer(chosen, 1)
    return lambda: [
        encode_prediction(event, b"key", prediction, "bench", serializer=write) for event in events
    ]


def _record(index: int, image: EncodedImage) -> StoredRecord:
    now = time.time_ns()
    sent = encode_image(
        id=f"b{index}", value=image.value, content_type=image.content_type, source="bench",
        intended_ns=now, sent_ns=now, dtype=image.dtype, shape=image.shape,
    )  # fmt: skip
    return StoredRecord(
        record_key=sent.key, record_value=sent.value, record_headers=sent.headers,
        timestamp_ms=now // 1_000_000,
    )  # fmt: skip


def _response(count: int) -> Any:
    """What Triton's classification extension answers to a batch."""
    texts = np.array([[b"0.994124:3:cat"] * TOP_K] * count, dtype=object)
    response = service_pb2.ModelInferResponse(model_name="model", model_version="1")
    output = response.outputs.add(name=OUTPUT, datatype="BYTES", shape=[count, TOP_K])
    assert output.name == OUTPUT
    response.raw_output_contents.append(serialize_byte_tensor(texts).item())
    return response


def _cpu_us(run: Callable[[], object]) -> float:
    taken = []
    gc.disable()  # the bridge has Python's collector look rarely
    try:
        for _ in range(ROUNDS):
            before = time.thread_time_ns()
            run()
            taken.append(time.thread_time_ns() - before)
    finally:
        gc.enable()
    return median(taken) / 1e3
