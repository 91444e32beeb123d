"""The main job, whole, on this machine: images through Kafka and Triton and back."""

import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bridge.inference import Answer, InferenceError
from bridge.triton.client import TritonServer
from cli.app import fail, make_app
from cli.child import command
from consumer.summary import Summary
from stack.bridge import Bridge
from stack.errors import StackError
from stack.kafka import Kafka, jars
from stack.paths import STACKS
from stack.topics import create_topics
from stack.triton import Triton
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

MODEL = "resnet20_cifar10"
RIGHT = 915
"""Of the 1,000 shipped images, by these weights in float32: anything else is a fault."""
SENT = 1000
PARTITIONS = 4
SHARE = 0.3
"""Of what Triton does alone: Kafka, the bridge and the measuring share the machine with it."""
RATE_LIMITS = (20, 500)
CALIBRATION_S = 1.5

console = Console(highlight=False, soft_wrap=True)


app = make_app()


class Delivery(StrEnum):
    AT_LEAST_ONCE = "at-least-once"
    EXACTLY_ONCE = "exactly-once"


class DemoError(Exception):
    """A part that failed; the text says which, and where its log is."""


@app.command()
def main(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the results.")] = Path(
        "results"
    ),
    rate: Annotated[
        float,
        typer.Option(min=0, metavar="N", help="Images/s; 0: a share of what Triton does here."),
    ] = 0.0,
    delivery: Annotated[
        Delivery, typer.Option(help="How answers are delivered; see the bridge's setting.")
    ] = Delivery.AT_LEAST_ONCE,
) -> None:
    """Send the 1,000 shipped CIFAR-10 images through a real Kafka and a real Triton.

    Starts everything, measures every image, and stops everything. Exit code: 0 when all were
    answered and exactly 915 were right.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    STACKS.mkdir(parents=True, exist_ok=True)
    # A folder of its own, so that demos can run side by side and never see old messages.
    directory = Path(tempfile.mkdtemp(prefix="demo-", dir=STACKS))
    try:
        with ExitStack() as running:
            summary = run(directory, output, rate, delivery.value, running)
            console.print("stopping")
    except (StackError, DemoError, InferenceError) as error:
        fail(error)
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130) from None
    report(summary, output)
    if not (summary.valid and summary.correct == RIGHT and summary.answered == SENT):
        raise typer.Exit(1)
    shutil.rmtree(directory)  # logs and data: of use only where something went wrong


def run(directory: Path, output: Path, rate: float, delivery: str, running: ExitStack) -> Summary:
    """Bring everything up, send, measure; what was started is stopped by `running`."""
    repository = STACKS / "model_repository"
    step("exporting the model to TorchScript (a minute the first time)")
    script("export", MODEL, "--backend", "python", "--repository", repository)

    step("starting Kafka and Triton" if jars.is_cached() else "fetching and starting Kafka, Triton")
    kafka = Kafka(directory / "kafka")
    triton = Triton(repository, directory / "triton")
    for service in (kafka, triton):
        running.callback(service.stop)
        service.launch()
    for service in (kafka, triton):
        service.wait_ready()
    create_topics(kafka.bootstrap, dict.fromkeys((IMAGES, PREDICTIONS, DEAD_LETTERS), PARTITIONS))
    if not rate:
        rate = sustainable_rate(triton.grpc)

    step(f"starting the bridge: Kafka {kafka.bootstrap}, Triton {triton.grpc}")
    bridge = Bridge(
        {
            "brokers": kafka.bootstrap,
            "triton": triton.grpc,
            "model": MODEL,
            "delivery": delivery,
        },
        directory / "bridge",
    )
    running.callback(bridge.stop)
    bridge.start()

    # Once through everything, so that connections are open and code paths warm: not measured.
    script("produce", "cifar10", "--brokers", kafka.bootstrap, "--rate", 0, "--count", 200,
           "--run-id", "warmup", "--listen", quiet=True)  # fmt: skip

    run_id = f"demo-{time.strftime('%Y%m%dT%H%M%S')}"
    ready = directory / "consumer.ready"
    log = (directory / "consumer.log").open("wb")
    running.callback(log.close)
    consumer = subprocess.Popen(
        command("measure", "--brokers", kafka.bootstrap, "--run-id", run_id, "--count",
                SENT, "--idle", 20, "--triton", triton.grpc, "--output", output, "--ready-file",
                ready),
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    running.callback(end, consumer)
    await_file(ready, consumer)
    step(f"sending {SENT:,} CIFAR-10 images, {rate:.0f} a second")
    script("produce", "cifar10", "--brokers", kafka.bootstrap, "--rate", rate, "--run-id",
           run_id)  # fmt: skip
    consumer.wait()
    try:
        return Summary.from_json((output / "latency_summary.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DemoError(f"no results: {error}; see {log.name}") from None


def sustainable_rate(address: str) -> float:
    """Images/s that this machine can be asked for: a share of Triton's own rate at full batches."""
    server = TritonServer(address, MODEL)
    batch = [np.zeros((32, 32, 3), np.uint8)] * server.load_spec().max_batch
    answered = 0
    started = time.monotonic()
    while time.monotonic() - started < CALIBRATION_S:
        done = Event()
        failures: list[InferenceError] = []

        def note(
            result: Answer | InferenceError,
            done: Event = done,
            failures: list[InferenceError] = failures,
        ) -> None:
            if isinstance(result, InferenceError):
                failures.append(result)
            done.set()

        server.infer(batch, note)
        done.wait()
        if failures:
            raise DemoError(f"Triton: {failures[0]}")
        answered += len(batch)
    server.close()
    rate = SHARE * answered / (time.monotonic() - started)
    return float(round(min(max(rate, RATE_LIMITS[0]), RATE_LIMITS[1])))


def report(summary: Summary, output: Path) -> None:
    """The table that the demo is for."""
    table = Table(title="1,000 CIFAR-10 images: Kafka → Triton → Kafka", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("sent", "answered", "dead_lettered", "missing", "duplicates"):
        table.add_row(name.replace("_", "-"), f"{getattr(summary, name):,}")
    table.add_row("correct", f"{summary.correct:,} of {summary.labelled:,} (expected {RIGHT})")
    table.add_row("images/s", f"{summary.throughput:,.0f}")
    if summary.intended is not None:
        table.add_section()
        for percentile, name in ((50, "p50"), (90, "p90"), (99, "p99"), (100, "max")):
            table.add_row(f"latency {name}", f"{summary.intended.at(percentile):.1f} ms")
    if summary.stages:
        table.add_section()
        for stage in summary.stages:
            table.add_row(f"{stage.name}, mean", f"{stage.mean_ms:.2f} ms")
        for model in summary.triton:
            table.add_row("  of which queue", f"{model.queue_ms:.2f} ms")
            table.add_row("  of which compute", f"{model.compute_infer_ms:.2f} ms")
            table.add_row("mean batch in Triton", f"{model.mean_batch:.1f}")
    console.print(table)
    if not summary.valid:
        console.print("The run is not valid:", style="red")
        for reason in summary.reasons:
            console.print(f"  {reason}", markup=False)
    for name in (
        "latency_results.txt",
        "latency_histogram.png",
        "latency_summary.json",
        "latency_report.html",
    ):
        console.print(f"{output / name}", markup=False)


def step(text: str) -> None:
    console.print(f"[bold]·[/bold] {text}")


def script(name: str, *arguments: object, quiet: bool = False) -> None:
    """Run one of the project's commands to its end.

    Raises:
        DemoError: it failed.
    """
    done = subprocess.run(command(name, *arguments), capture_output=quiet, check=False)
    if done.returncode != 0:
        detail = done.stdout.decode() + done.stderr.decode() if quiet else ""
        raise DemoError(f"tkb {name} ended with status {done.returncode}\n{detail}".strip())


def await_file(path: Path, process: "subprocess.Popen[bytes]", timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise DemoError(f"the consumer did not start; see {path.with_suffix('.log')}")
        time.sleep(0.05)


def end(process: "subprocess.Popen[bytes]", wait_s: float = 10) -> None:
    """Stop a child that still runs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
