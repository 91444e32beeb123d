"""The options of `tkb export`: what each may be, and what its help says."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

SERVING, NETWORK, ENSEMBLE = "How it is served", "The network", "Encoded images"
"""The panels of the command's help."""


class BackendName(StrEnum):
    pytorch = "pytorch"
    onnxruntime = "onnxruntime"
    python = "python"


class DeviceName(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class FormatName(StrEnum):
    torchscript = "torchscript"
    pt2 = "pt2"
    onnx = "onnx"


class InterpolationName(StrEnum):
    nearest = "nearest"
    bilinear = "bilinear"
    bicubic = "bicubic"
    lanczos = "lanczos"


class PrecisionName(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class TaskName(StrEnum):
    classify = "classify"
    detect = "detect"
    embed = "embed"


def _served(text: str, **more: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=SERVING, **more)


def _network(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=NETWORK, **more)


def _encoded(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=ENSEMBLE, **more)


Name = Annotated[str, typer.Argument(help="Name of the model; see above.")]
Repository = Annotated[
    Path, typer.Option(metavar="FOLDER", help="The model repository; created where it is missing.")
]
Backend = Annotated[
    BackendName | None,
    typer.Option(
        help="pytorch: for a Triton with libtorch, such as NVIDIA's image; which torch loads "
        "what this one exports is in docs/provisioning.md. onnxruntime: for --format onnx, in the "
        "same image. python: writes a model.py too, for any Triton with the Python backend, and "
        "torch or ONNX Runtime beside it. Left out: pytorch, or onnxruntime for --format onnx."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="DEFAULT|NAME|FILE|none",
        help="DEFAULT: torchvision's pretrained weights (a download). NAME: others of "
        "torchvision's, such as IMAGENET1K_V1. FILE: a checkpoint of tensors. none: random "
        "weights, for load tests. Left out: the weights that your own network is built with or "
        "that come with the project, else DEFAULT.",
    ),
]
Version = Annotated[int, typer.Option(metavar="N", help="Number of the version.")]

MaxBatchSize = Annotated[
    int | None,
    _served("Most images of one inference. Left out: 64, or 8 for a detector.", metavar="N"),
]
Instances = Annotated[
    int | None,
    _served(
        "Copies of the model on each device. Left out: 1, but 2 for the python backend, whose "
        "instances are processes.",
        metavar="N",
    ),
]
Device = Annotated[
    DeviceName,
    _served(
        "auto: a GPU where there is one, else the CPU. cuda: an instance group on every GPU, and "
        "for the onnxruntime backend TensorRT; Triton refuses the model without one."
    ),
]
QueueDelay = Annotated[
    int, _served("How long a request waits in Triton for others to join.", metavar="MICROSECONDS")
]
Threads = Annotated[
    int | None,
    _served(
        "CPU threads of one instance (for the pytorch backend: of the process). Left out: the "
        "runtime's default, or an equal share of the cores (python backend).",
        metavar="N",
    ),
]
Precision = Annotated[PrecisionName, _served("Precision of the network's weights and activations.")]
Format = Annotated[
    FormatName | None,
    typer.Option(
        "--format",
        rich_help_panel=SERVING,
        help="torchscript: model.pt. pt2: model.pt2, torch.export compiled by AOTInductor for "
        "this kind of CPU or GPU; needs a C++ compiler. onnx: model.onnx, for ONNX Runtime. Left "
        "out: torchscript, or onnx for --backend onnxruntime.",
    ),
]

Ensemble = Annotated[
    bool,
    _encoded(
        "Write NAME_decode and NAME_jpeg too: an ensemble that takes encoded images, for bridges "
        "that should not decode. Triton's Python needs numpy, Pillow and pyspng."
    ),
]
Decoders = Annotated[
    int,
    _encoded(
        "Processes that decode for the ensemble; one for each core that they may use.",
        min=1,
        max=1024,
        metavar="N",
    ),
]
Dali = Annotated[
    bool,
    _encoded(
        "With --ensemble: NVIDIA DALI decodes its JPEGs, on the GPU where --device is one. "
        "Triton's Python needs exporter/decoding/requirements.lock.",
        "--dali",
    ),
]

Task = Annotated[
    TaskName | None,
    _network(
        "classify: probabilities of classes. detect: boxes. embed: a vector; of torchvision's "
        "networks, and the project's, what their last layer gets. Left out: what the network is "
        "made for; of your own, classify."
    ),
]
Network = Annotated[
    str | None,
    _network(
        "Your own network: a function or class in a Python file or a module, which is run, or a "
        "TorchScript file; or torchvision.models:NAME.",
        metavar="FILE.py:NAME|MODULE:NAME|FILE.pt",
    ),
]
Labels = Annotated[
    Path | None,
    _network(
        "The network's classes in the order of its outputs, one name on each line (for "
        "torchvision's detectors, the background first). Left out: torchvision's; for a network of "
        "your own, the number of a class is its label.",
        metavar="FILE",
    ),
]
Size = Annotated[
    str | None,
    _network(
        "Height and width of the input in pixels. Your own network needs it. Left out: as "
        "torchvision's weights have it.",
        metavar="HEIGHTxWIDTH",
    ),
]
Channels = Annotated[int, _network("3: RGB. 1: grey.", min=1, max=3, metavar="1|3")]
Resize = Annotated[
    int | None,
    _network(
        "Shorter side that images are scaled to before --size is cut from their centre. Left "
        "out: the shorter side of --size, or as torchvision's weights have it; for a detector "
        "they are scaled to fit into --size instead, and nothing is cut.",
        min=1, max=16384, metavar="PIXELS",
    ),
]  # fmt: skip
Interpolation = Annotated[
    InterpolationName | None,
    _network("How images are scaled. Left out: bilinear, or as torchvision's weights have it."),
]
Mean = Annotated[
    str | None,
    _network(
        "Subtracted from the pixels, which are in [0, 1]: a number for each channel, or one for "
        "all. Left out: 0, or as torchvision's weights have it.",
        metavar="R,G,B",
    ),
]
Std = Annotated[
    str | None,
    _network(
        "The pixels, less the mean, are divided by this. Left out: 1, or as torchvision's weights "
        "have it.",
        metavar="R,G,B",
    ),
]
Probabilities = Annotated[
    bool,
    _network(
        "Your own classifier ends in a softmax already. Left out: one is added.", "--probabilities"
    ),
]
