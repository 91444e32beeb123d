"""Makes `config.pbtxt` from one template, and reads it back with Triton's own protobuf classes."""

from dataclasses import dataclass

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from exporter.config_text import (
    BATCHING,
    OUTPUT_TEXT,
    PARAMETER,
    TEMPLATE,
    TENSORRT,
    WARMUP,
    WHAT,
)
from exporter.model import Model
from exporter.outputs import Output, outputs_of

INPUT, OUTPUT, LABELS = "INPUT__0", "OUTPUT__0", "labels.txt"
"""The tensor names are the pytorch backend's convention; the other backends accept any names."""

BACKENDS = ("pytorch", "onnxruntime", "python")
DEVICES = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "cuda": "KIND_GPU"}

QUEUE_TIMEOUT_US = 30_000_000
"""Microseconds of waiting after which a request is refused: a client that gave up leaves its
request in the queue. The time is the same as that for which Triton drains on SIGTERM."""

QUEUE_BYTES = 1 << 30
"""Most bytes that waiting pixels may take; beyond that Triton answers UNAVAILABLE, and clients
wait."""
QUEUE_REQUESTS = (16, 1024)
"""Fewest and most requests in the queue, whatever their size, since each also costs Triton some
kB."""

INSTANCES = {"pytorch": 1, "onnxruntime": 1, "python": 2}
"""Copies of the model by default, by backend. An instance of the python backend is a process.
Measured with ResNet-20 on two cores that other programs also used, with batches of 32 and four in
flight: two instances with one thread each gave 240 to 950 images/s (median 580); one with two
threads gave 30 to 740 (median 360), because its threads wait for each other after every layer. The
instances of the pytorch backend share one process and its thread pool, so that one is enough."""

MAX_BATCH_SIZE = {"classify": 64, "embed": 64, "detect": 8}
"""Largest batch by default, by task. Triton warms up with the largest batch, and a detector needs a
tenth of a second or more for an image on a CPU."""

WARMUP_RUNS = 2
"""Warm-up runs: TorchScript profiles a graph on its first run and compiles it on the second."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How Triton runs a model.

    Attributes:
        instances: copies of the model on each device.
        device: auto (a GPU where Triton and the backend see one), cpu, or cuda (every GPU).
        queue_delay_us: microseconds for which the dynamic batcher waits for further requests.
        threads: CPU threads of one instance; None: torch's default for the pytorch backend; for the
            python backend, the cores divided by the instances.
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
    *,
    size: int | None = None,
    precision: str = "fp32",
) -> str:
    """The text of config.pbtxt, for a network stored as `filename`.

    Args:
        platform: the name of the file's format in Triton's own backend for it.
        size: number of classes, of a vector's numbers, or of boxes; None: there are labels.
        precision: precision of the network.
    """
    outputs = outputs_of(model, len(model.labels) if size is None else size)
    dims = f"{model.size[0]}, {model.size[1]}, {model.channels}"
    text = TEMPLATE.format(
        name=model.name,
        backend=serving.backend,
        platform="" if serving.backend == "python" else f'platform: "{platform}"\n',
        max_batch_size=serving.max_batch_size,
        input=INPUT,
        color="RGB" if model.channels == 3 else "grey",
        dims=dims,
        what=WHAT["yolov8" if model.layout == "yolov8" else model.task],
        outputs="\n".join(_output(output, model) for output in outputs),
        batching=_batching(model, serving) if serving.max_batch_size > 1 else "",
        instances=serving.instances,
        kind=DEVICES[serving.device],
        optimization=_optimization(model, serving, precision),
        parameters="\n".join(
            parameter(key, value)
            for key, value in _parameters(model, serving, filename, outputs).items()
        ),
        warmups="\n".join(
            WARMUP.format(size=size, runs=WARMUP_RUNS, input=INPUT, dims=dims)
            for size in warmup_sizes(serving.max_batch_size)
        ),
    )
    parse(text)
    return text


def parameter(key: str, value: str) -> str:
    """The text of a parameter in config.pbtxt."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return PARAMETER.format(key=key, value=escaped)


def _output(output: Output, model: Model) -> str:
    named = model.task == "classify" and model.labels
    return OUTPUT_TEXT.format(
        name=output.name,
        data_type=output.data_type,
        dims=", ".join(map(str, output.dims)),
        more=f' label_filename: "{LABELS}"' if named else "",
    )


def _optimization(model: Model, serving: Serving, precision: str) -> str:
    if (serving.backend, serving.device) != ("onnxruntime", "cuda"):
        return ""
    return TENSORRT.format(
        precision={"fp32": "FP32", "fp16": "FP16"}[precision],
        input=INPUT,
        dims=f"{model.size[0]}x{model.size[1]}x{model.channels}",
        most=serving.max_batch_size,
    )


def usual_batch_size(model: Model) -> int:
    """The largest batch by default."""
    return MAX_BATCH_SIZE[model.task]


def parse(text: str) -> model_config_pb2.ModelConfig:
    """Read a config.pbtxt.

    Raises:
        google.protobuf.text_format.ParseError: it is malformed.
    """
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def queue_size(model: Model, max_batch_size: int) -> int:
    """Number of requests that may wait: `QUEUE_BYTES` of full batches, within `QUEUE_REQUESTS`."""
    height, width = model.size
    fewest, most = QUEUE_REQUESTS
    return max(fewest, min(most, QUEUE_BYTES // (max_batch_size * height * width * model.channels)))


def warmup_sizes(max_batch_size: int) -> list[int]:
    """Powers of two up to the largest batch, and that batch itself.

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
    """The preprocessing of an image for the network, as parameters for the bridge."""
    return {
        "preprocess.color": "RGB" if model.channels == 3 else "L",
        # A `resize` means the fit `cover`.
        **(
            {"preprocess.resize": str(model.resize)}
            if model.fit == "cover"
            else {"preprocess.fit": model.fit}
        ),
        "preprocess.interpolation": model.interpolation,
    }


def _postprocess_parameters(model: Model, outputs: list[Output]) -> dict[str, str]:
    """The meaning of the outputs, as parameters for the bridge; a classification needs none."""
    if model.task == "classify":
        return {}
    told = {"postprocess.task": model.task}
    if model.task == "detect":
        told["postprocess.layout"] = model.layout
        if len(outputs) > 1:
            told["postprocess.outputs"] = ",".join(output.name for output in outputs)
        if model.labels:
            apart = "\n" if any("," in label for label in model.labels) else ","
            told["postprocess.labels"] = apart.join(model.labels)
    return told


def _batching(model: Model, serving: Serving) -> str:
    return BATCHING.format(
        delay=serving.queue_delay_us,
        timeout=QUEUE_TIMEOUT_US,
        queue_size=queue_size(model, serving.max_batch_size),
    )


def _parameters(
    model: Model, serving: Serving, filename: str, outputs: list[Output]
) -> dict[str, str]:
    parameters = preprocess_parameters(model) | _postprocess_parameters(model, outputs)
    if serving.threads is not None:
        # Each backend has its own name for it.
        onnx = serving.backend == "onnxruntime"
        key = "intra_op_thread_count" if onnx else "INTRA_OP_THREAD_COUNT"
        parameters[key] = str(serving.threads)
    if serving.backend == "python":
        parameters["DEVICE"] = serving.device
        parameters["MODEL_FILE"] = filename
    elif serving.backend == "pytorch" and serving.instances > 1:
        parameters["ENABLE_WEIGHT_SHARING"] = "true"
    return parameters
