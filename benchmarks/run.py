"""Measure the bridge beside Triton alone and beside others; write JSON, a table and plots."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import machine, report, results
from benchmarks.plan import Plan, Result, plan_for
from benchmarks.progress import Progress, shares
from benchmarks.rig import ServerDiedError
from benchmarks.sections import PREPARE, SECTIONS
from benchmarks.servers import Servers
from stack.errors import StackError
from stack.paths import ROOT, STACKS

console = Console(highlight=False)

GPU_SECTIONS = ("throughput", "latency", "photos", "formats")
"""What is promised of a GPU; all that a run with little time measures."""
WEIGHTS = {"throughput": 3.0, "latency": 3.0, "photos": 3.5, "formats": 1.5}
"""Of the sections' shares of a run's time."""
BASELINE = "baseline"
"""The section that is measured only where a commit is told."""
ASKED = (BASELINE, "memory")
"""Sections that are measured only if they are named: the memory takes two hours."""
LAST_S = 25.0
"""Of a budget, kept for stopping the last servers, the table and the plots."""


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"A section: {', '.join(SECTIONS)}; repeatable.")
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Fewer and shorter repeats; on a GPU within eight minutes.")
    ] = False,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Of each comparison. Left out: 3, or 2 when quick.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=60, help="Seconds for all of it; what there is no time for is left out."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where Triton runs the model.")] = Device.cpu,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = ROOT
    / "benchmarks/results",
    hours: Annotated[
        float | None, typer.Option(min=0.1, help="Length of the section memory. Left out: 2.")
    ] = None,
    baseline: Annotated[
        str, typer.Option(metavar="COMMIT", help="Compare only with the bridge of that commit.")
    ] = "",
    render: Annotated[bool, typer.Option(help="Only write table and plots anew.")] = False,
) -> None:
    """Measure, write one JSON file for each section, then a table and plots of all there are.

    While a section runs, what it has is kept in NAME.partial.json.
    """
    plan = plan_for(device.value, quick=quick)
    usual = GPU_SECTIONS if plan.essential else [name for name in SECTIONS if name not in ASKED]
    wanted = only or ([BASELINE] if baseline else list(usual))
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        raise typer.BadParameter(
            f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}"
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGALRM, _out_of_time)
    STACKS.mkdir(exist_ok=True)
    if BASELINE in wanted and not baseline:
        raise typer.BadParameter(f"section {BASELINE} needs --baseline COMMIT")
    plan = replace(plan, baseline=baseline)
    if hours is not None:
        plan = replace(plan, memory_s=3600 * hours)
    if repeats is not None:
        plan = replace(plan, repeats=repeats)
    if budget is not None:
        plan = replace(plan, budget_s=budget)
    end = None if plan.budget_s is None else time.monotonic() + plan.budget_s - LAST_S
    folder = output / device.value if device is Device.cuda else output
    # Once: before each section, the load would be that of the section before it.
    about = machine.describe(device.value)
    failed: list[str] = []
    with Servers(device.value, shared=plan.essential) as servers:
        for place, name in enumerate([] if render else wanted):
            console.print(name, style="bold")
            kept = results.Kept(folder, name, {"machine": about, "quick": quick})
            deadline = None
            if end is not None:
                left = end - time.monotonic()
                deadline = time.monotonic() + shares(left, wanted[place:], WEIGHTS)
                # For what a section cannot foresee: a server that hangs, a long export. Not before
                # the budget's end: a section may measure until its deadline and then stops servers.
                signal.setitimer(signal.ITIMER_REAL, max(left + LAST_S, 0.001))
            try:
                kept.finish(_measure(name, servers, plan, kept.partial, deadline))
            except (StackError, ServerDiedError) as error:
                failed.append(name)
                console.print(f"bench: {name}: {error}", style="red", markup=False)
            except _OutOfTime:
                failed += wanted[place:]
                text = f"bench: {name}: no time left; {kept.where()}"
                console.print(text, style="red", markup=False)
                break
            except KeyboardInterrupt:
                console.print(f"stopped; {kept.where()}", markup=False)
                raise typer.Exit(130) from None
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        # Before the servers end, which may take longer than there is time.
        typer.echo(report.write(folder, results.read(folder, SECTIONS)))
    if failed:
        console.print(f"bench: not measured: {', '.join(failed)}", style="red", markup=False)
        raise typer.Exit(1)


class _OutOfTime(KeyboardInterrupt):
    """The run's budget is spent."""


def _out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise _OutOfTime


def _measure(
    name: str,
    servers: Servers,
    plan: Plan,
    keep: Callable[[Result], None],
    deadline: float | None,
) -> Result:
    def say(text: str) -> None:
        console.print("  " + text, markup=False)

    started = time.monotonic()

    def whole(result: Result) -> Result:
        took = round(time.monotonic() - started)
        date = time.strftime("%Y-%m-%d")
        return {"repeats": plan.repeats, "date": date, "took_s": took, **result}

    with servers.of(PREPARE.get(name)) as rig:
        progress = Progress(say, lambda partial: keep(whole(partial)), deadline)
        result = SECTIONS[name](rig, plan, progress)
    say(f"{time.monotonic() - started:.0f} s")
    return whole(result)


if __name__ == "__main__":
    typer.run(main)
