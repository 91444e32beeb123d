"""`config.pbtxt`: one template, read back with Triton's own protobuf classes."""

from dataclasses import dataclass

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from exporter.models import Model

INPUT, OUTPUT, LABELS = "INPUT__0", "OUTPUT__0", "labels.txt"
"""The tensor names are the pytorch backend's convention; the python backend takes any."""

BACKENDS = ("pytorch", "python")
DEVICES = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "cuda": "KIND_GPU"}

QUEUE_TIMEOUT_US = 30_000_000
"""A request that waited this long is refused: a client that gave up leaves its request in the
queue. It is as long as Triton drains on SIGTERM."""

QUEUE_BYTES = 1 << 30
"""Memory that waiting pixels may take; beyond it Triton answers UNAVAILABLE, and clients wait."""
QUEUE_REQUESTS = (16, 1024)
"""Fewest and most requests in the queue, whatever their size: each costs Triton some kB too."""

INSTANCES = {"pytorch": 1, "python": 2}
"""Copies of the model where nothing else is asked for. An instance of the python backend is a
process. Measured with ResNet-20 on two cores that other programs used too, batches of 32 with four
in flight: two instances with one thread each, 240 to 950 images/s (median 580); one with two
threads, 30 to 740 (median 360), because its threads wait for each other after every layer. The
instances of the pytorch backend share one process and its thread pool, so one is enough there."""

WARMUP_RUNS = 2
"""TorchScript profiles a graph on its first run and compiles it on the second."""

TEMPLATE = """\
# Written by scripts/export_model.py: change its options, not this file.

name: "{name}"
backend: "{backend}"
{platform}max_batch_size: {max_batch_size}

# Pixels of one image: height, width, RGB.
input {{ name: "{input}" data_type: TYPE_UINT8 dims: [ {dims} ] }}

# Probabilities.
output {{
  name: "{output}" data_type: TYPE_FP32 dims: [ {classes} ] label_filename: "{labels}"
}}
{batching}
instance_group {{ count: {instances} kind: {kind} }}

{parameters}

{warmups}
"""

BATCHING = """
# Requests that wait together run together, from however many clients they come.
dynamic_batching {{
  max_queue_delay_microseconds: {delay}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {timeout}
    allow_timeout_override: true
    max_queue_size: {queue_size}
  }}
}}
"""

PARAMETER = 'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'

WARMUP = """\
model_warmup {{
  name: "batch_{size}" batch_size: {size} count: {runs}
  inputs {{
    key: "{input}" value {{ data_type: TYPE_UINT8 dims: [ {dims} ] random_data: true }}
  }}
}}"""


@dataclass(frozen=True, slots=True)
class Serving:
    """How Triton runs a model.

    Attributes:
        instances: copies of the model on each device.
        device: auto (a GPU where Triton and the backend see one), cpu, or cuda (every GPU).
        queue_delay_us: how long the dynamic batcher holds a request for company; microseconds.
        threads: CPU threads of one instance; None: torch's default for the pytorch backend, the
            cores shared out among the instances for the python backend.
    """

    backend: str = "pytorch"
    max_batch_size: int = 64
    instances: int = 1
    device: str = "auto"
    queue_delay_us: int = 0
    threads: int | None = None


def render(
    model: Model,
    serving: Serving,
    platform: str = "pytorch_libtorch",
    filename: str = "model.pt",
) -> str:
    """The text of config.pbtxt, for a network stored as `filename`."""
    dims = f"{model.size[0]}, {model.size[1]}, 3"
    text = TEMPLATE.format(
        name=model.name,
        backend=serving.backend,
        platform=f'platform: "{platform}"\n' if serving.backend == "pytorch" else "",
        max_batch_size=serving.max_batch_size,
        input=INPUT,
        output=OUTPUT,
        labels=LABELS,
        dims=dims,
        classes=len(model.labels),
        batching=_batching(model, serving) if serving.max_batch_size > 1 else "",
        instances=serving.instances,
        kind=DEVICES[serving.device],
        parameters="\n".join(
            PARAMETER.format(key=key, value=value)
            for key, value in _parameters(model, serving, filename).items()
        ),
        warmups="\n".join(
            WARMUP.format(size=size, runs=WARMUP_RUNS, input=INPUT, dims=dims)
            for size in warmup_sizes(serving.max_batch_size)
        ),
    )
    parse(text)
    return text


def parse(text: str) -> model_config_pb2.ModelConfig:
    """Read a config.pbtxt; `google.protobuf.text_format.ParseError` where it is malformed."""
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def queue_size(model: Model, max_batch_size: int) -> int:
    """Requests that may wait: `QUEUE_BYTES` of full batches, within `QUEUE_REQUESTS`."""
    height, width = model.size
    fewest, most = QUEUE_REQUESTS
    return max(fewest, min(most, QUEUE_BYTES // (max_batch_size * height * width * 3)))


def warmup_sizes(max_batch_size: int) -> list[int]:
    """Powers of two up to the largest batch, and that one.

    Not every size: measured on two cores with ResNet-20, the first calls of all cost 230 ms and
    30 ms (compilation), the first call with any other batch size only 2 to 3 ms (oneDNN prepares
    for its shape), and later calls are at full speed. On a GPU the fuser specialises for the
    first two shapes that it sees and then compiles for any shape; these sizes are enough for both.
    """
    sizes = [1]
    while sizes[-1] * 2 < max_batch_size:
        sizes.append(sizes[-1] * 2)
    return sizes if max_batch_size == 1 else [*sizes, max_batch_size]


def preprocess_parameters(model: Model) -> dict[str, str]:
    """What is done to an image before the network gets it, as the bridge reads it."""
    return {
        "preprocess.color": "RGB",
        "preprocess.resize": str(model.resize),
        "preprocess.interpolation": model.interpolation,
    }


def _batching(model: Model, serving: Serving) -> str:
    return BATCHING.format(
        delay=serving.queue_delay_us,
        timeout=QUEUE_TIMEOUT_US,
        queue_size=queue_size(model, serving.max_batch_size),
    )


def _parameters(model: Model, serving: Serving, filename: str) -> dict[str, str]:
    parameters = preprocess_parameters(model)
    if serving.threads is not None:
        parameters["INTRA_OP_THREAD_COUNT"] = str(serving.threads)
    if serving.backend == "python":
        parameters["DEVICE"] = serving.device
        parameters["MODEL_FILE"] = filename
    elif serving.instances > 1:
        parameters["ENABLE_WEIGHT_SHARING"] = "true"
    return parameters
