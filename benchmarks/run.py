"""Measure the bridge beside Triton alone and beside others; write JSON, a table and plots."""

import json
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import machine, report
from benchmarks.rig import Rig
from benchmarks.sections import FULL, QUICK, SECTIONS, save
from stack.errors import StackError
from stack.paths import ROOT, STACKS

console = Console(highlight=False)


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"A section: {', '.join(SECTIONS)}; repeatable.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Fewer and shorter repeats.")] = False,
    device: Annotated[Device, typer.Option(help="Where Triton runs the model.")] = Device.cpu,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = ROOT
    / "benchmarks/results",
    render: Annotated[bool, typer.Option(help="Only write table and plots anew.")] = False,
) -> None:
    """Measure, write one JSON file for each section, then a table and plots of all there are."""
    wanted = only or list(SECTIONS)
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        raise typer.BadParameter(
            f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}"
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    STACKS.mkdir(exist_ok=True)
    plan = QUICK if quick else FULL
    folder = output / device.value if device is Device.cuda else output
    try:
        for name in [] if render else wanted:
            started = time.monotonic()
            console.print(f"[bold]{name}[/bold]")
            about = machine.describe(device.value)
            with Rig(device.value) as rig:
                result = SECTIONS[name](rig, plan, lambda text: console.print("  " + text))
            took = time.monotonic() - started
            save(folder, name, {
                "machine": about, "quick": quick, "repeats": plan.repeats,
                "date": time.strftime("%Y-%m-%d"), "took_s": round(took), **result,
            })  # fmt: skip
            console.print(f"  {took:.0f} s")
    except StackError as error:
        console.print(f"bench: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130) from None
    found = {
        name: json.loads(path.read_text())
        for name in SECTIONS
        if (path := folder / f"{name}.json").exists()
    }
    console.print(report.write(folder, found), markup=False)


if __name__ == "__main__":
    typer.run(main)
