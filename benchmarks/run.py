"""Measure the bridge beside Triton alone and beside others; write JSON, a table and plots."""

import signal
import sys
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks import machine, report, results
from benchmarks.plan import FULL, QUICK, Plan, Result
from benchmarks.rig import Rig
from benchmarks.sections import SECTIONS
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
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Of each comparison. Left out: 3, or 2 when quick.")
    ] = None,
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
    if repeats is not None:
        plan = replace(plan, repeats=repeats)
    folder = output / device.value if device is Device.cuda else output
    # Once: before each section, the load would be that of the section before it.
    about = machine.describe(device.value)
    failed = []
    for name in [] if render else wanted:
        console.print(name, style="bold")
        try:
            results.save(
                folder,
                name,
                {**_measure(name, device.value, plan), "machine": about, "quick": quick},
            )
        except StackError as error:
            failed.append(name)
            console.print(f"bench: {name}: {error}", style="red", markup=False)
        except KeyboardInterrupt:
            console.print("stopped")
            raise typer.Exit(130) from None
    typer.echo(report.write(folder, results.read(folder, SECTIONS)))
    if failed:
        console.print(f"bench: not measured: {', '.join(failed)}", style="red", markup=False)
        raise typer.Exit(1)


def _measure(name: str, device: str, plan: Plan) -> Result:
    def say(text: str) -> None:
        console.print("  " + text, markup=False)

    started = time.monotonic()
    with Rig(device) as rig:
        result = SECTIONS[name](rig, plan, say)
    took = time.monotonic() - started
    say(f"{took:.0f} s")
    date = time.strftime("%Y-%m-%d")
    return {"repeats": plan.repeats, "date": date, "took_s": round(took), **result}


if __name__ == "__main__":
    typer.run(main)
