"""What the bridge knows of a model: all of it read from Triton's metadata and configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imaging.rules import Preprocess, read_preprocess


class UnservableModelError(Exception):
    """A model that this bridge cannot feed; the text says why."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An image classifier as Triton describes it.

    Attributes:
        shape: (height, width, channels) of one image, uint8; None: the model takes the encoded
            image itself (a BYTES input).
        classes: length of the output, None where it is variable.
        max_batch: images in one request, at least 1.
        batched: whether the model has a batch dimension (max_batch_size > 0).
        instances: copies of the model that run side by side; of an ensemble, of all its steps.
        error_output: name of the output with which the model says of each image why it can never
            use it; None: it has no such output.
    """

    name: str
    version: str
    input_name: str
    output_name: str
    shape: tuple[int, int, int] | None
    classes: int | None
    max_batch: int
    batched: bool
    instances: int
    preprocess: Preprocess
    error_output: str | None = None


ERROR_OUTPUT = "ERROR"
"""A BYTES [1] output of this name is empty for an image that was used, else "kind: message": that
image goes to the dead letters, and the others of its batch are answered."""


def read_spec(
    metadata: dict[str, Any],
    config: dict[str, Any],
    version: str = "",
    steps: Sequence[dict[str, Any]] = (),
) -> ModelSpec:
    """Understand a model from Triton's JSON metadata and configuration.

    Args:
        metadata: what `get_model_metadata(as_json=True)` gives.
        config: the `config` of what `get_model_config(as_json=True)` gives.
        version: the version asked for; empty: Triton's policy decides.
        steps: of an ensemble, the configuration of each of its models.

    Raises:
        UnservableModelError: the model does not take one image and give class scores.
    """
    name = metadata["name"]

    def refuse(why: str) -> UnservableModelError:
        return UnservableModelError(f"model {name!r} cannot be served by this bridge: {why}")

    optional = {one["name"] for one in config.get("input", []) if one.get("optional")}
    inputs = [one for one in metadata.get("inputs", []) if one["name"] not in optional]
    if len(inputs) != 1:
        names = ", ".join(one["name"] for one in inputs) or "none"
        raise refuse(f"it must have one input, it has {len(inputs)} ({names})")
    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise refuse("it is decoupled: it may give any number of answers to one request")
    if "sequence_batching" in config:
        raise refuse("it is stateful (sequence_batching)")

    max_batch = int(config.get("max_batch_size", 0))
    batched = max_batch > 0
    shape = _image_shape(inputs[0], batched, refuse)
    output = _scores(metadata.get("outputs", []), batched, refuse)
    classes = int(output["shape"][-1])
    return ModelSpec(
        name=name,
        version=version,
        input_name=inputs[0]["name"],
        output_name=output["name"],
        shape=shape,
        classes=classes if classes > 0 else None,
        max_batch=max(1, max_batch),
        batched=batched,
        instances=max(1, sum(map(_instances, (config, *steps)))),
        preprocess=read_preprocess(config.get("parameters", {}), refuse),
        error_output=_errors(metadata.get("outputs", []), batched),
    )


def _image_shape(tensor: dict[str, Any], batched: bool, refuse: Any) -> tuple[int, int, int] | None:
    dims = _dims(tensor, batched)
    seen = f"input {tensor['name']} is {tensor['datatype']} {list(dims)}"
    if tensor["datatype"] == "BYTES":
        if dims not in ((1,), ()):
            raise refuse(f"{seen}; a BYTES input must take one encoded image, [1]")
        return None
    if tensor["datatype"] != "UINT8":
        raise refuse(f"{seen}; it must be UINT8 pixels [height, width, channels], or BYTES [1]")
    if len(dims) != 3:
        raise refuse(f"{seen}; pixels must have rank 3: [height, width, channels]")
    height, width, channels = dims
    if channels not in (1, 3):
        raise refuse(f"{seen}; channels come last and must be 1 or 3")
    if height < 1 or width < 1:
        raise refuse(f"{seen}; height and width must be fixed, or images could not share a batch")
    return height, width, channels


def _scores(outputs: Sequence[dict[str, Any]], batched: bool, refuse: Any) -> dict[str, Any]:
    for tensor in outputs:
        if len(_dims(tensor, batched)) == 1 and tensor["datatype"].startswith(("FP", "BF")):
            return tensor
    seen = ", ".join(
        f"{one['name']} {one['datatype']} {list(_dims(one, batched))}" for one in outputs
    )
    raise refuse(f"it needs a floating-point output [classes], it has: {seen or 'none'}")


def _errors(outputs: Sequence[dict[str, Any]], batched: bool) -> str | None:
    for tensor in outputs:
        if tensor["name"] == ERROR_OUTPUT and tensor["datatype"] == "BYTES":
            return ERROR_OUTPUT if _dims(tensor, batched) in ((1,), ()) else None
    return None


def _instances(config: dict[str, Any]) -> int:
    return sum(int(group.get("count", 1)) for group in config.get("instance_group", []))


def _dims(tensor: dict[str, Any], batched: bool) -> tuple[int, ...]:
    dims = tuple(int(size) for size in tensor.get("shape", ()))
    return dims[1:] if batched else dims
