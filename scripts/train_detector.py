"""Train the detector that the project ships: writes data/detector_cifar10.pt."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli.paths import DATA
from exporter.detector.canvases import shipped
from exporter.detector.evaluate import evaluate
from exporter.detector.training import STEPS, train

EVERY = 25
"""Steps between two lines of progress."""


def main(
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where the weights go.")] = DATA
    / "detector_cifar10.pt",
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Batches of canvases.")] = STEPS,
) -> None:
    """Train the small detector on canvases made of the shipped CIFAR-10 images.

    Some minutes on two cores. Ends with its score on canvases of the images that were held out.
    """
    import torch  # noqa: PLC0415 - it takes seconds, and --help should not

    started = time.monotonic()

    def report(step: int, loss: float) -> None:
        if step % EVERY == 0 or step == steps:
            seconds = time.monotonic() - started
            typer.echo(f"step {step:,} of {steps:,}, loss {loss:.3f}, {seconds:.0f} s", err=True)

    trained, held_out = shipped()
    network = train(trained, steps=steps, report=report)
    output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: value.half() for name, value in network.state_dict().items()}, output)
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
    found = evaluate(output, held_out)
    typer.echo(
        f"mAP@0.5 {found.mean_average_precision:.3f}, precision {found.precision:.3f} and recall "
        f"{found.recall:.3f} at scores from {found.threshold}: {found.objects} objects on canvases "
        "of held-out images"
    )


if __name__ == "__main__":
    typer.run(main)
