"""Export a ResNet, or the user's own network, into a model repository that Triton serves."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.app import fail, make_app
from cli.main import importing

if TYPE_CHECKING:
    from exporter.models import Model

HELP = """Export a ResNet, or your own network, into a model repository that Triton serves.

Writes REPOSITORY/NAME/config.pbtxt, labels.txt and VERSION/model.pt: uint8 pixels [N, H, W, 3] in,
probabilities [N, classes] out. The exported file is checked against the network that it was made
from; a failed export changes nothing, and one that was done before writes nothing.

\b
Names: resnet20_cifar10 (its weights come with the project),
       resnet32_cifar10, resnet44_cifar10, resnet56_cifar10, resnet110_cifar10,
       resnet18, resnet34, resnet50, resnet101, resnet152 (torchvision, ImageNet);
       detector_cifar10 (finds CIFAR-10's objects on 128x128 pixels; its weights come, too),
       or any, for your own network: --network, --labels and --size say what it is. It takes
       float32 pixels [N, 3, H, W] and gives [N, classes].

\b
Examples:
  tkb export
  tkb export resnet50 --device cuda --precision fp16
  tkb export resnet56_cifar10 --weights checkpoint.pt
  tkb export resnet18 --weights none --backend python
  tkb export resnet50 --ensemble --decoders 16
  tkb export resnet50 --ensemble --dali --device cuda
  tkb export fruit --network fruit.py:build --labels fruit.txt --size 224x224
"""


class Backend(StrEnum):
    pytorch = "pytorch"
    python = "python"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Format(StrEnum):
    torchscript = "torchscript"
    pt2 = "pt2"


class Interpolation(StrEnum):
    nearest = "nearest"
    bilinear = "bilinear"
    bicubic = "bicubic"
    lanczos = "lanczos"


class Precision(StrEnum):
    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


app = make_app()

SERVING, OWN, ENSEMBLE = "How it is served", "Your own network", "Encoded images"
"""The panels of its help."""


@app.command(help=HELP)
def main(
    name: Annotated[str, typer.Argument(help="The model.")] = "resnet20_cifar10",
    repository: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="The model repository; created where it is missing."),
    ] = Path("model_repository"),
    backend: Annotated[
        Backend,
        typer.Option(
            help="pytorch: for a Triton with libtorch, such as NVIDIA's image; which torch loads "
            "what this one exports is in docs/provisioning.md. python: writes a model.py too, for "
            "any Triton with the Python backend and torch beside it."
        ),
    ] = Backend.pytorch,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="DEFAULT|FILE|none",
            help="DEFAULT: torchvision's pretrained weights (a download). FILE: a checkpoint of "
            "tensors. none: random weights, for load tests. Left out: the weights that your own "
            "network is built with or that come with the project, else DEFAULT.",
        ),
    ] = None,
    version: Annotated[int, typer.Option(metavar="N", help="The version's number.")] = 1,
    max_batch_size: Annotated[
        int,
        typer.Option(
            metavar="N", help="Images that one inference may hold.", rich_help_panel=SERVING
        ),
    ] = 64,
    instances: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Copies of the model on each device. Left out: 1 for the pytorch backend, 2 for "
            "the python backend, whose instances are processes.",
            rich_help_panel=SERVING,
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option(
            help="auto: a GPU where there is one, else the CPU. cuda: an instance group on every "
            "GPU; Triton refuses the model without one.",
            rich_help_panel=SERVING,
        ),
    ] = Device.auto,
    queue_delay_us: Annotated[
        int,
        typer.Option(
            metavar="MICROSECONDS",
            help="How long a request waits in Triton for others to join.",
            rich_help_panel=SERVING,
        ),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="CPU threads of one instance (for the pytorch backend: of the process). Left "
            "out: torch's default, or an equal share of the cores (python backend).",
            rich_help_panel=SERVING,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="Of the network's weights and activations.", rich_help_panel=SERVING),
    ] = Precision.fp32,
    model_format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="torchscript: model.pt. pt2: model.pt2, torch.export compiled by AOTInductor for "
            "this kind of CPU or GPU; needs a C++ compiler.",
            rich_help_panel=SERVING,
        ),
    ] = Format.torchscript,
    ensemble: Annotated[
        bool,
        typer.Option(
            help="Write NAME_decode and NAME_jpeg too: an ensemble that takes encoded images, for "
            "bridges that should not decode. Triton's Python needs numpy, Pillow and pyspng.",
            rich_help_panel=ENSEMBLE,
        ),
    ] = False,
    decoders: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Processes that decode for the ensemble: one for each core.",
            rich_help_panel=ENSEMBLE,
        ),
    ] = 2,
    dali: Annotated[
        bool,
        typer.Option(
            "--dali",
            help="With --ensemble: NVIDIA DALI decodes its JPEGs, on the GPU where --device is "
            "one. Triton's Python needs exporter/decoding/requirements.lock.",
            rich_help_panel=ENSEMBLE,
        ),
    ] = False,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME|FILE.pt",
            help="Your own network: a function or class in a Python file, which is run, or a "
            "TorchScript file.",
            rich_help_panel=OWN,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its classes in the order of its outputs, a name a line.",
            rich_help_panel=OWN,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="HEIGHTxWIDTH", help="Of its input, pixels.", rich_help_panel=OWN),
    ] = None,
    resize: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=16384,
            metavar="PIXELS",
            rich_help_panel=OWN,
            help="Shorter side that images are scaled to before --size is cut from their centre. "
            "Left out: the shorter side of --size.",
        ),
    ] = None,
    interpolation: Annotated[
        Interpolation, typer.Option(help="How they are scaled.", rich_help_panel=OWN)
    ] = Interpolation.bilinear,
    mean: Annotated[
        str,
        typer.Option(
            metavar="R,G,B",
            help="Subtracted from its pixels, which are in [0, 1].",
            rich_help_panel=OWN,
        ),
    ] = "0,0,0",
    std: Annotated[
        str,
        typer.Option(metavar="R,G,B", help="Then they are divided by this.", rich_help_panel=OWN),
    ] = "1,1,1",
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities",
            help="It ends in a softmax; else one is put behind it.",
            rich_help_panel=OWN,
        ),
    ] = False,
) -> None:
    own = (network, labels, size)
    if any(one is not None for one in own) and None in own:
        raise typer.BadParameter("your own network needs all of --network, --labels and --size")
    if dali and not ensemble:
        raise typer.BadParameter("--dali decodes for the ensemble: it needs --ensemble")
    with importing("export"):  # late: torch takes seconds, and --help should not
        from exporter.detector.export import NAME as DETECTOR  # noqa: PLC0415
        from exporter.detector.export import export_detector  # noqa: PLC0415
        from exporter.errors import ExportError  # noqa: PLC0415
        from exporter.export import export  # noqa: PLC0415
        from exporter.formats import find_format  # noqa: PLC0415
        from exporter.own import own_model  # noqa: PLC0415
        from exporter.passthrough import export_ensemble  # noqa: PLC0415

    def say(line: str) -> None:
        typer.echo(line, err=True)

    if name == DETECTOR and network is None:
        try:
            typer.echo(export_detector(repository, backend=backend.value, report=say))
        except ExportError as error:
            fail(error)
        return
    written = None
    try:
        model: str | Model = name
        if network is not None and labels is not None and size is not None:
            model = own_model(
                name, network, labels, size, resize=resize, mean=mean, std=std,
                interpolation=interpolation.value, probabilities=probabilities,
            )  # fmt: skip
        done = export(
            model,
            repository,
            backend=backend.value,
            weights=weights,
            version=version,
            max_batch_size=max_batch_size,
            instances=instances,
            device=device.value,
            queue_delay_us=queue_delay_us,
            threads=threads,
            precision=precision.value,
            model_format=find_format(model_format.value, device.value),
            report=say,
        )
        if ensemble:
            written = export_ensemble(
                model,
                repository,
                weights=weights,
                version=version,
                max_batch_size=max_batch_size,
                decoders=decoders,
                dali=dali,
                device=device.value,
                report=say,
            )
    except ExportError as error:
        fail(error)
    typer.echo(done.directory)
    if written is not None:
        typer.echo(written)
