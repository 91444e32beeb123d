"""The main job, whole, on this machine: images through Kafka and Triton and back."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bridge.inference import InferenceError
from cli.app import fail, install, make_app
from cli.child import command
from cli.commands import load
from consumer.reader import ReadError, TopicReader, librdkafka_config
from consumer.summary import Summary
from exporter.detector.score import Score
from exporter.errors import ExportError
from exporter.shipped import install_shipped
from stack.bridge import Bridge
from stack.demo.detections import draw_examples, judge, number_of
from stack.demo.rate import sustainable_rate
from stack.demo.subject import CLASSIFY, Subject, detecting
from stack.demo.table import EXAMPLES, LEAST_MAP, RIGHT, console, report
from stack.errors import DemoError, StackError
from stack.kafka import Kafka, jars
from stack.paths import STACKS
from stack.topics import create_topics
from stack.triton import Triton, package
from wire.answers import Detections
from wire.prediction import decode_prediction
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

READ_S = 60.0
"""Seconds in which the predictions of a run are read again."""
PARTITIONS = 4

app = make_app()


class Delivery(StrEnum):
    AT_LEAST_ONCE = "at-least-once"
    EXACTLY_ONCE = "exactly-once"


class Task(StrEnum):
    CLASSIFY = "classify"
    DETECT = "detect"


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
        Delivery,
        typer.Option(help="How predictions are delivered: the bridge's setting of that name."),
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
    try:
        require_programs(task)
    except StackError as error:
        fail(error)
    STACKS.mkdir(parents=True, exist_ok=True)
    # Each demo has its own folder, so that demos can run side by side and never see old messages.
    directory = Path(tempfile.mkdtemp(prefix="demo-", dir=STACKS))
    subject = CLASSIFY if task is Task.CLASSIFY else detecting(directory)
    try:
        with ExitStack() as running:
            try:
                summary, score = run(directory, output, rate, delivery.value, subject, running)
            finally:  # after Ctrl-C, too: it takes some seconds
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
    shutil.rmtree(directory)  # logs and data are only useful after a failure


def require_programs(task: Task) -> None:
    """Check at once for what would otherwise be found missing after minutes.

    The classifier needs torch or, as it is shipped in ONNX, too, ONNX Runtime.

    Raises:
        StackError: something is missing; the text says what.
        NotInstalledError: the same, of the packages that `tkb measure` needs.
    """
    # Packages are only looked up, because an import of torch takes seconds.
    if find_spec("torch") is None:
        if task is Task.DETECT:
            raise StackError(
                f"the detector needs torch, which is not installed: {install('model')}"
            )
        if find_spec("onnxruntime") is None:
            raise StackError(
                "tkb demo needs torch or onnxruntime, and neither is installed:"
                f" {install('onnx')}, or with 'model', which is much larger"
            )
    load("measure")
    package()
    jars.java()
    if not jars.is_cached():
        jars.maven()


def run(
    directory: Path, output: Path, rate: float, delivery: str, subject: Subject, running: ExitStack
) -> tuple[Summary, Score | None]:
    """Start everything, send and measure; `running` stops what was started."""
    repository = STACKS / "model_repository"
    provide_model(subject, repository)

    step("starting Kafka and Triton" if jars.is_cached() else "fetching and starting Kafka, Triton")
    # The demo's number of right answers holds for float32; TF32, torch's default on a GPU, may
    # differ.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
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

    # One run that is not measured, so that connections are open and code paths are warm.
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
        stdout=log, stderr=subprocess.STDOUT, process_group=0,
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
    """Put the model into the repository, ready to be served.

    Raises:
        DemoError: the model cannot be exported.
        ExportError: the repository cannot be written.
    """
    if find_spec("torch") is not None:
        step("exporting the model to TorchScript (a minute the first time)")
        script("export", subject.model, "--backend", "python", "--repository", repository)
    else:
        step("taking the model as it comes, in ONNX (torch is not installed)")
        install_shipped(repository)


def read_detections(bootstrap: str, run_id: str, count: int) -> dict[int, Detections]:
    """The detections in each image of a run, by the image's number."""
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
                found[number_of(prediction.id)] = prediction.answer
    finally:
        reader.close()
    return found


def step(text: str) -> None:
    console.print(f"[bold]·[/bold] {text}")


def script(name: str, *arguments: object, quiet: bool = False) -> None:
    """Run one of the project's commands to its end.

    In a process group of its own: Ctrl-C is for the demo, which ends what it started. A child that
    gets it while Python starts would print a traceback.

    Raises:
        DemoError: the command failed.
    """
    done = subprocess.run(
        command(name, *arguments), capture_output=quiet, check=False, process_group=0
    )
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
