"""The main job, whole, on this machine: images through Kafka and Triton and back."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bridge.inference import Answer, InferenceError
from bridge.triton.client import TritonServer
from cli.app import fail, install, make_app
from cli.child import command
from consumer.reader import ReadError, TopicReader, librdkafka_config
from consumer.summary import Summary
from exporter.detector.score import Score
from exporter.errors import ExportError
from exporter.shipped import install_shipped
from stack.bridge import Bridge
from stack.detections import Detecting, draw_examples, judge, write_canvases
from stack.errors import StackError
from stack.kafka import Kafka, jars
from stack.paths import STACKS
from stack.topics import create_topics
from stack.triton import Triton
from wire.answers import Detections
from wire.prediction import decode_prediction
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

MODEL = "resnet20_cifar10"
RIGHT = 915
"""Of the 1,000 shipped images, by these weights in float32: anything else is a fault."""
SENT = 1000
CANVASES = 400
LEAST_MAP = 0.65
"""Of the detector: 0.70 with boxes from a score of 0.25 on. Another processor rounds otherwise, and
a box near the threshold may come or go."""
EXAMPLES = "detections.png"
READ_S = 60.0
"""To read the predictions of a run again."""
PARTITIONS = 4
SHARE = 0.3
"""Of what Triton does alone: Kafka, the bridge and the measuring share the machine with it."""
MOST_RATE = 500
CALIBRATION_S = 1.5

# Piped, a line stays one line.
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


app = make_app()


class Delivery(StrEnum):
    AT_LEAST_ONCE = "at-least-once"
    EXACTLY_ONCE = "exactly-once"


class Task(StrEnum):
    CLASSIFY = "classify"
    DETECT = "detect"


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
    task: Annotated[
        Task,
        typer.Option(
            help="detect: 400 canvases of CIFAR-10 images, whose objects a small detector finds."
        ),
    ] = Task.CLASSIFY,
) -> None:
    """Send the 1,000 shipped CIFAR-10 images through a real Kafka and a real Triton.

    Starts everything, measures every image, and stops everything. Exit code: 0 when all were
    answered and exactly 915 were right; of detections, when the mean average precision is at least
    0.65.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    STACKS.mkdir(parents=True, exist_ok=True)
    # A folder of its own, so that demos can run side by side and never see old messages.
    directory = Path(tempfile.mkdtemp(prefix="demo-", dir=STACKS))
    subject = CLASSIFY if task is Task.CLASSIFY else detecting(directory)
    try:
        with ExitStack() as running:
            summary, score = run(directory, output, rate, delivery.value, subject, running)
            console.print("stopping")
    except (StackError, DemoError, InferenceError, ReadError, ExportError) as error:
        fail(error)
    except KeyboardInterrupt:
        console.print("stopped")
        raise typer.Exit(130) from None
    report(summary, output, subject, score)
    right = summary.correct == RIGHT if score is None else score.mean_average_precision >= LEAST_MAP
    if not (summary.valid and right and summary.answered == subject.count):
        raise typer.Exit(1)
    shutil.rmtree(directory)  # logs and data: of use only where something went wrong


@dataclass(frozen=True, slots=True)
class Subject:
    """What is sent, and to which model.

    Attributes:
        source: arguments of `tkb produce`.
        least_rate: images/s, however slow the machine is.
        detecting: what is on the images; None: they are classified.
    """

    model: str
    source: tuple[object, ...]
    count: int
    title: str
    least_rate: int = 20
    detecting: Detecting | None = None


CLASSIFY = Subject(MODEL, ("cifar10",), SENT, "1,000 CIFAR-10 images: Kafka → Triton → Kafka")


def detecting(directory: Path) -> Subject:
    """Canvases of images that the detector was not trained with, written below `directory`."""
    made = write_canvases(directory / "canvases", CANVASES)
    return Subject(
        "detector_cifar10", ("folder", made.folder), CANVASES,
        f"{CANVASES} canvases of CIFAR-10 images: Kafka → Triton → Kafka", 3, made,
    )  # fmt: skip


def run(
    directory: Path, output: Path, rate: float, delivery: str, subject: Subject, running: ExitStack
) -> tuple[Summary, Score | None]:
    """Bring everything up, send, measure; what was started is stopped by `running`."""
    repository = STACKS / "model_repository"
    provide_model(subject, repository)

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
        rate = sustainable_rate(triton.grpc, subject)

    step(f"starting the bridge: Kafka {kafka.bootstrap}, Triton {triton.grpc}")
    bridge = Bridge(
        {
            "brokers": kafka.bootstrap,
            "triton": triton.grpc,
            "model": subject.model,
            "delivery": delivery,
        },
        directory / "bridge",
    )
    running.callback(bridge.stop)
    bridge.start()

    # Once through everything, so that connections are open and code paths warm: not measured.
    script("produce", *subject.source, "--brokers", kafka.bootstrap, "--rate", 0, "--count", 200,
           "--run-id", "warmup", "--listen", quiet=True)  # fmt: skip

    run_id = f"demo-{time.strftime('%Y%m%dT%H%M%S')}"
    ready = directory / "consumer.ready"
    log = (directory / "consumer.log").open("wb")
    running.callback(log.close)
    consumer = subprocess.Popen(
        command("measure", "--brokers", kafka.bootstrap, "--run-id", run_id, "--count",
                subject.count, "--idle", 20, "--triton", triton.grpc, "--output", output,
                "--ready-file", ready),
        stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    running.callback(end, consumer)
    await_file(ready, consumer)
    step(f"sending {subject.count:,} images, {rate:.0f} a second")
    script("produce", *subject.source, "--brokers", kafka.bootstrap, "--rate", rate, "--count",
           subject.count, "--run-id", run_id)  # fmt: skip
    consumer.wait()
    try:
        summary = Summary.from_json((output / "latency_summary.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DemoError(f"no results: {error}; see {log.name}") from None
    if subject.detecting is None:
        return summary, None
    said = read_detections(kafka.bootstrap, run_id, subject.count)
    draw_examples(subject.detecting, said, output / EXAMPLES)
    return summary, judge(subject.detecting, said)


def provide_model(subject: Subject, repository: Path) -> None:
    """Have the model in the repository, ready to be served.

    Raises:
        DemoError: it cannot be had.
    """
    if find_spec("torch") is not None:
        step("exporting the model to TorchScript (a minute the first time)")
        script("export", subject.model, "--backend", "python", "--repository", repository)
    elif subject.detecting is not None:
        raise DemoError(f"the detector needs torch: {install('model')}")
    else:
        step("taking the model as it comes, in ONNX (torch is not installed)")
        install_shipped(repository)


def read_detections(bootstrap: str, run_id: str, count: int) -> dict[int, Detections]:
    """What was said of each image of a run, by its number."""
    reader = TopicReader(librdkafka_config(bootstrap, {}), [PREDICTIONS], "earliest", 10)
    found: dict[int, Detections] = {}
    deadline = time.monotonic() + READ_S
    try:
        while len(found) < count and time.monotonic() < deadline:
            received = reader.poll(1)
            if received is None:
                continue
            prediction = decode_prediction(received.record)
            if prediction.run_id == run_id and isinstance(prediction.answer, Detections):
                found[int(prediction.id.rpartition("-")[2])] = prediction.answer
    finally:
        reader.close()
    return found


def sustainable_rate(address: str, subject: Subject) -> float:
    """Images/s that this machine can be asked for: a share of Triton's own rate at full batches."""
    server = TritonServer(address, subject.model)
    spec = server.load_spec()
    assert spec.shape is not None
    batch = [np.zeros(spec.shape, np.uint8)] * spec.max_batch
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
    return float(round(min(max(rate, subject.least_rate), MOST_RATE)))


def report(summary: Summary, output: Path, subject: Subject, score: Score | None) -> None:
    """The table that the demo is for."""
    table = Table(title=subject.title, title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("sent", "answered", "dead_lettered", "missing", "duplicates"):
        table.add_row(name.replace("_", "-"), f"{getattr(summary, name):,}")
    if score is None:
        table.add_row("correct", f"{summary.correct:,} of {summary.labelled:,} (expected {RIGHT})")
    else:
        table.add_row("objects", f"{score.objects:,}")
        found = f"{score.mean_average_precision:.3f} (expected {LEAST_MAP} and more)"
        table.add_row("mean average precision (overlap 0.5)", found)
        table.add_row(f"precision, scores from {score.threshold}", f"{score.precision:.3f}")
        table.add_row(f"recall, scores from {score.threshold}", f"{score.recall:.3f}")
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
        *([] if score is None else [EXAMPLES]),
    ):
        console.print(f"{output / name}", markup=False, soft_wrap=True)


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
