"""The one description of a prediction, from which Avro, Protobuf and JSON Schema are made.

There is one record for all tasks, so that a table has one column for each field: fields of only
some tasks may be null, or empty if they are arrays. A change must keep what docs/schemas.md
promises: new fields are nullable and get new numbers; no field changes its type, name or number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Union

from wire.prediction import STAMPS

NAMESPACE = "triton_kafka_bridge"

Scalar = Literal["string", "int", "long", "float", "double", "boolean"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        number: Protobuf's number; it is never used again for another field.
        repeated: whether it is an array of `kind`.
        nullable: whether it may be absent; an array is then empty.
    """

    number: int
    name: str
    kind: Union[Scalar, "Record"]
    repeated: bool = False
    nullable: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A structure of named fields."""

    name: str
    fields: tuple[Field, ...]
    doc: str = ""

    @property
    def full_name(self) -> str:
        return f"{NAMESPACE}.{self.name}"

    def records(self) -> Iterator["Record"]:
        """The records inside it, each once and before the one that contains it; this one comes
        last."""
        seen: set[str] = set()
        for field in self.fields:
            for one in field.kind.records() if isinstance(field.kind, Record) else ():
                if one.name not in seen:
                    seen.add(one.name)
                    yield one
        yield self


STAMP_FIELDS = Record(
    "Stamps",
    tuple(Field(number, name, "long") for number, name in enumerate(STAMPS, 1)),
    "nanoseconds since the epoch; 0: not known",
)
IMAGE_RECORD = Record(
    "ImageRecord",
    (Field(1, "topic", "string"), Field(2, "partition", "int"), Field(3, "offset", "long")),
    "where the image is on its topic",
)
SCORED_LABEL = Record(
    "ScoredLabel",
    (Field(1, "label", "string"), Field(2, "class_id", "long"), Field(3, "score", "double")),
)
DETECTION = Record(
    "Detection",
    (
        *SCORED_LABEL.fields,
        Field(4, "box", "double", repeated=True, doc="left, top, right, bottom in pixels"),
    ),
)
IMAGE_SIZE = Record("ImageSize", (Field(1, "width", "long"), Field(2, "height", "long")))
HEAD = Record(
    "Head",
    (Field(1, "output", "string"), Field(2, "top", SCORED_LABEL, repeated=True)),
    "the best classes of one output of a model that has several",
)
OUTPUT_TENSOR = Record(
    "OutputTensor",
    (
        Field(1, "name", "string"),
        Field(2, "datatype", "string", doc="of KServe's protocol v2"),
        Field(3, "shape", "long", repeated=True),
        Field(4, "numbers", "double", True, True, "data of FP16, FP32, FP64 and BF16"),
        Field(5, "integers", "long", True, True, "data of INT* and UINT*"),
        Field(6, "booleans", "boolean", True, True, "data of BOOL"),
        Field(7, "texts", "string", True, True, "data of BYTES, and of UINT64 above 2^63 - 1"),
        Field(8, "data_base64", "string", nullable=True, doc="the values' bytes, little-endian"),
        Field(9, "png_base64", "string", nullable=True, doc="the values as a grey PNG"),
    ),
    "a tensor, flat, the last index fastest",
)
PREDICTION = Record(
    "Prediction",
    (
        Field(1, "id", "string", doc="of the image"),
        Field(2, "model", "string"),
        Field(3, "version", "string", doc="of the model that answered"),
        Field(4, "task", "string", doc="classify, detect, embed or raw"),
        Field(5, "batch_size", "int", doc="images in the request to Triton"),
        Field(6, "stamps_ns", STAMP_FIELDS, doc="nanoseconds since the epoch"),
        Field(7, "record", IMAGE_RECORD, nullable=True, doc="where the image is"),
        Field(8, "label", "string", nullable=True, doc="the best of top or detections"),
        Field(9, "score", "double", nullable=True, doc="of that label"),
        Field(10, "top", SCORED_LABEL, True, True, "classify: the best classes, best first"),
        Field(11, "detections", DETECTION, True, True, "detect: the objects, the surest first"),
        Field(12, "image", IMAGE_SIZE, nullable=True, doc="detect: size of the image in pixels"),
        Field(13, "dimensions", "int", nullable=True, doc="embed: of the vector"),
        Field(14, "embedding", "float", True, True, "embed: the vector"),
        Field(15, "outputs", OUTPUT_TENSOR, True, True, "raw: the model's outputs"),
        Field(16, "heads", HEAD, True, True, "classify: each output, where there are several"),
    ),
    "The answer to one image",
)
