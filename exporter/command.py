"""Export a network of torchvision, or the user's own, into a model repository for Triton."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import typer

from cli.app import fail, install, make_app
from cli.commands import importing
from exporter import options
from exporter.errors import ArgumentError, ExportError
from exporter.shipped import MODEL, install_shipped

HELP = """Export a network of torchvision, or your own, into a model repository that Triton serves.

Writes REPOSITORY/NAME/config.pbtxt, labels.txt and VERSION/model.pt: uint8 pixels [N, H, W, 3] in,
probabilities [N, classes] out (or boxes, or a vector: --task). The exported file is checked against
the network that it was made from; a failed export changes nothing, and one that was done before
writes nothing.

\b
Names: resnet20_cifar10 (its weights come with the project, and the model as `--backend python
       --format onnx` writes it: that needs no torch),
       detector_cifar10 (finds CIFAR-10's objects on 128x128 pixels; its weights come, too),
       resnet32_cifar10, resnet44_cifar10, resnet56_cifar10, resnet110_cifar10;
       every classifier of torchvision: resnet50, mobilenet_v3_large, efficientnet_b0, vit_b_16, …
       every detector of torchvision: fasterrcnn_mobilenet_v3_large_320_fpn, …
       or any, for your own network: --network and --size say what it is. It takes float32
       pixels [N, 3, H, W] and gives [N, classes].

\b
Examples:
  tkb export
  tkb export resnet50 --device cuda --precision fp16
  tkb export efficientnet_b0 --format onnx --device cuda
  tkb export ssdlite320_mobilenet_v3_large --backend python
  tkb export mobilenet_v3_small --task embed
  tkb export resnet56_cifar10 --weights checkpoint.pt
  tkb export resnet18 --weights none --backend python
  tkb export resnet50 --ensemble --decoders 16
  tkb export resnet50 --ensemble --dali --device cuda
  tkb export fruit --network fruit.py:build --labels fruit.txt --size 224x224
  tkb export fruit --network torchvision.models:vit_b_16 --labels fruit.txt --weights fruit.pth
"""

app = make_app()


@app.command(help=HELP)
def main(
    context: typer.Context,
    name: options.Name = MODEL,
    repository: options.Repository = Path("model_repository"),
    backend: options.Backend = None,
    weights: options.Weights = None,
    version: options.Version = 1,
    max_batch_size: options.MaxBatchSize = None,
    instances: options.Instances = None,
    device: options.Device = options.DeviceName.auto,
    queue_delay_us: options.QueueDelay = 0,
    threads: options.Threads = None,
    precision: options.Precision = options.PrecisionName.fp32,
    model_format: options.Format = None,
    ensemble: options.Ensemble = False,
    decoders: options.Decoders = 2,
    dali: options.Dali = False,
    task: options.Task = None,
    network: options.Network = None,
    labels: options.Labels = None,
    size: options.Size = None,
    channels: options.Channels = 3,
    resize: options.Resize = None,
    interpolation: options.Interpolation = None,
    mean: options.Mean = None,
    std: options.Std = None,
    probabilities: options.Probabilities = False,
) -> None:
    if network is not None and size is None and not network.startswith("torchvision.models"):
        raise typer.BadParameter("your own network needs --size HEIGHTxWIDTH, that of its input")
    if dali and not ensemble:
        raise typer.BadParameter("--dali decodes for the ensemble: it needs --ensemble")
    form = model_format or _form_for(backend)
    if find_spec("torch") is None and _as_shipped(context):
        _take_shipped(repository)
        return
    with importing("export"):  # imported late: torch takes seconds, and --help must be fast
        from exporter.export import export  # noqa: PLC0415
        from exporter.formats import find_format  # noqa: PLC0415
        from exporter.own import own_model  # noqa: PLC0415
        from exporter.passthrough import export_ensemble  # noqa: PLC0415

    def say(line: str) -> None:
        typer.echo(line, err=True)

    written = None
    try:
        model = own_model(
            name, network, labels, size, task=_text(task), weights=weights, channels=channels,
            resize=resize, mean=mean, std=std, interpolation=_text(interpolation),
            probabilities=probabilities,
        )  # fmt: skip
        done = export(
            model, repository, backend=_text(backend), weights=weights, version=version,
            max_batch_size=max_batch_size, instances=instances, device=device.value,
            queue_delay_us=queue_delay_us, threads=threads, precision=precision.value,
            model_format=find_format(form.value, device.value), report=say,
        )  # fmt: skip
        if ensemble:
            written = export_ensemble(
                model, repository, version=version, max_batch_size=max_batch_size or 64,
                decoders=decoders, dali=dali, device=device.value, report=say,
            )  # fmt: skip
    except ArgumentError as error:
        raise typer.BadParameter(str(error)) from None
    except ExportError as error:
        fail(error)
    typer.echo(done.directory)
    if written is not None:
        typer.echo(written)


def _as_shipped(context: typer.Context) -> bool:
    """Whether the options ask for nothing but the model that comes with the project, exported."""
    given = {
        name: value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    given.pop("repository", None)
    shipped = {"name": MODEL, "backend": "python", "model_format": "onnx"}
    return "backend" in given and given.items() <= shipped.items()


def _take_shipped(repository: Path) -> None:
    typer.echo("taking the model as it comes, in ONNX (torch is not installed)", err=True)
    if find_spec("onnxruntime") is None:
        typer.echo(
            f"Triton's Python will need onnxruntime, which is not installed: {install('onnx')}",
            err=True,
        )
    try:
        typer.echo(install_shipped(repository))
    except ExportError as error:
        fail(error)


def _form_for(backend: options.BackendName | None) -> options.FormatName:
    if backend is options.BackendName.onnxruntime:
        return options.FormatName.onnx
    return options.FormatName.torchscript


def _text(one: StrEnum | None) -> str | None:
    return None if one is None else one.value
