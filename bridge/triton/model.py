"""The bridge's description of a model, read from Triton's metadata and configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.tasks.select import read_task
from bridge.tasks.task import LABELS, Output, Task
from bridge.triton.inputs import ModelInput, dims_of, read_input
from imaging.rules import Preprocess, Shape, read_preprocess

PARAMETERS = (
    "preprocess.size", "preprocess.fit", "preprocess.resize", "preprocess.interpolation",
    "preprocess.color", "preprocess.layout", "preprocess.normalize", "preprocess.scale",
    "preprocess.mean", "preprocess.std",
    "postprocess.task", "postprocess.outputs", "postprocess.labels", "postprocess.activation",
    "postprocess.layout", "postprocess.boxes", "postprocess.coordinates", "postprocess.nms",
    "postprocess.score_threshold", "postprocess.iou_threshold", "postprocess.max_detections",
    "postprocess.normalize", "postprocess.encoding",
)  # fmt: skip
"""All parameters that describe a model."""


class UnservableModelError(Exception):
    """A model that this bridge cannot feed; the text says why."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of images as Triton describes it.

    Attributes:
        input: the model's input.
        task: turns its outputs into answers.
        max_batch: images in one request, at least 1.
        batched: whether the model has a batch dimension (max_batch_size > 0).
        instances: copies of the model that run side by side; for an ensemble, those of its steps.
        error_output: name of the output that says for each image why the model can never use it;
            None: there is no such output.
    """

    name: str
    version: str
    input: ModelInput
    task: Task
    max_batch: int
    batched: bool
    instances: int
    preprocess: Preprocess
    error_output: str | None = None

    @property
    def shape(self) -> Shape | None:
        """(height, width, channels) of one image; None: the model takes the encoded image."""
        return self.input.shape


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the bridge's settings say about a model.

    Attributes:
        task: auto, or one of `wire.answers.TASKS`.
        parameters: `preprocess.*` and `postprocess.*` values, which win over the model's own.
        top_k: number of classes in the answer of a classification.
    """

    task: str = "auto"
    parameters: Mapping[str, str] = field(default_factory=dict)
    top_k: int = 3


ERROR_OUTPUT = "ERROR"
"""Name of an output, BYTES [1], that is empty for an image that was used, else "kind: message":
that image is dead-lettered, and the others of its batch are answered."""


def read_spec(
    metadata: dict[str, Any],
    config: dict[str, Any],
    version: str = "",
    steps: Sequence[dict[str, Any]] = (),
    wanted: Wanted | None = None,
) -> ModelSpec:
    """Describe a model from Triton's JSON metadata and configuration.

    Args:
        metadata: the result of `get_model_metadata(as_json=True)`.
        config: the `config` in the result of `get_model_config(as_json=True)`.
        version: the version that was set; empty: Triton's policy decides.
        steps: configurations of the models of an ensemble.

    Raises:
        UnservableModelError: the model does not take one image, or has no usable outputs.
    """
    name = metadata["name"]
    wanted = wanted or Wanted()

    def refuse(why: str) -> UnservableModelError:
        return UnservableModelError(f"model {name!r} cannot be served by this bridge: {why}")

    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise refuse(
            "it is decoupled: it may give any number of answers to one request; serve it without "
            "model_transaction_policy { decoupled: true }"
        )
    if "sequence_batching" in config:
        raise refuse(
            "it is stateful (sequence_batching): what it answers depends on the images before; "
            "serve it with dynamic_batching, or without both"
        )

    for key in wanted.parameters:
        if key not in PARAMETERS and not key.startswith(f"{LABELS}."):
            raise refuse(
                f"there is no parameter {key!r}; there are {', '.join(PARAMETERS)}, and "
                f"{LABELS}.OUTPUT for an output of several"
            )
    text = {
        key: str(one.get("string_value", "")) for key, one in config.get("parameters", {}).items()
    } | dict(wanted.parameters)
    max_batch = int(config.get("max_batch_size", 0))
    batched = max_batch > 0
    taken = read_input(metadata, config, text, refuse)
    preprocess = read_preprocess({key: {"string_value": one} for key, one in text.items()}, refuse)
    errors = _errors(metadata.get("outputs", []), batched)
    outputs = [
        _output(one, batched, taken.leading)
        for one in metadata.get("outputs", [])
        if one["name"] != errors
    ]
    task = read_task(
        outputs,
        asked=wanted.task,
        top_k=wanted.top_k,
        shape=taken.shape,
        preprocess=preprocess,
        text=text,
        refuse=refuse,
    )
    return ModelSpec(
        name=name,
        version=version,
        input=taken,
        task=task,
        max_batch=max(1, max_batch),
        batched=batched,
        instances=max(1, sum(map(_instances, (config, *steps)))),
        preprocess=preprocess,
        error_output=errors,
    )


def _output(tensor: dict[str, Any], batched: bool, leading: int | None) -> Output:
    dims = dims_of(tensor, batched)
    # A front dimension equal to the input's own is the one for images; a front dimension of -1
    # beside an input of exactly one image is something else, such as the number of boxes.
    if leading is not None and len(dims) > 1 and dims[0] in (1, leading):
        dims = dims[1:]
    return Output(str(tensor["name"]), str(tensor["datatype"]), dims)


def _errors(outputs: Sequence[dict[str, Any]], batched: bool) -> str | None:
    for tensor in outputs:
        if tensor["name"] == ERROR_OUTPUT and tensor["datatype"] == "BYTES":
            return ERROR_OUTPUT if dims_of(tensor, batched) in ((1,), ()) else None
    return None


def _instances(config: dict[str, Any]) -> int:
    return sum(int(group.get("count", 1)) for group in config.get("instance_group", []))
