"""Run the local stack in the foreground, look at it, stop it."""

import re
import signal
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from cli.app import fail, make_app
from cli.commands import load
from stack import state
from stack.errors import StackError
from stack.kafka import Kafka, jars
from stack.liveview import LiveView
from stack.paths import SHOWN, STACKS
from stack.service import Service
from stack.topics import create_topics
from stack.triton import Triton
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCH_S = 0.5
DOWN_TIMEOUT_S = 70.0
"""Seconds for two servers to end, each of which has its own bound, and some more."""

app = make_app(help=__doc__, no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)


def _check_name(name: str) -> str:
    # The name becomes the name of a folder.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise typer.BadParameter("1 to 64 letters, digits, dots, underscores and hyphens")
    return name


Name = Annotated[
    str,
    typer.Option(help="Name of the stack; several can run.", callback=_check_name, metavar="NAME"),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="Its port on 127.0.0.1.", show_default="a free one", metavar="PORT"
    ),
]


UP = f"""Start Kafka and Triton, and stop them on Ctrl-C or SIGTERM.

Data and logs stay in {SHOWN}/NAME. Nothing outlives this command, even when it is killed.
"""


@app.command(help=UP)
def up(
    name: Name = "default",
    kafka_port: Port = None,
    triton_grpc_port: Port = None,
    triton_http_port: Port = None,
    triton_metrics_port: Port = None,
    model_repository: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the models that Triton serves.",
            show_default=f"{SHOWN}/model_repository",
        ),
    ] = STACKS / "model_repository",
    partitions: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Partitions of each topic.")
    ] = 4,
    kafka: Annotated[bool, typer.Option(help="Run Kafka.")] = True,
    triton: Annotated[bool, typer.Option(help="Run Triton.")] = True,
    ui: Annotated[
        bool,
        typer.Option("--ui", help="Serve the live view, too: a page with images and predictions."),
    ] = False,
    ui_port: Port = None,
) -> None:
    if not kafka and not triton:
        raise typer.BadParameter("nothing to run with both --no-kafka and --no-triton")
    if ui and not kafka:
        raise typer.BadParameter("the page of --ui shows what is in Kafka: not with --no-kafka")
    if ui:
        load("watch")  # says now, and not after minutes, which package is missing for it
    directory = STACKS / name
    ports = (triton_grpc_port, triton_http_port, triton_metrics_port)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        if triton:
            _require_model(model_repository)
        with state.claim(directory):
            broker = Kafka(directory / "kafka", kafka_port) if kafka else None
            _run(
                directory,
                broker,
                Triton(model_repository, directory / "triton", *ports) if triton else None,
                LiveView(broker.bootstrap, directory / "ui", ui_port) if ui and broker else None,
                partitions,
            )
    except KeyboardInterrupt:
        console.print("stopped")
    except StackError as error:
        fail(error)


@app.command()
def status(name: Name = "default") -> None:
    """Say where a stack answers; the exit code is 1 if it does not run."""
    try:
        found = state.find(STACKS / name)
    except StackError as error:
        fail(error)
    if found is None:
        fail(f"stack {name!r} does not run")
    if found.ready:
        _print(STACKS / name, found.endpoints)
    else:
        console.print(f"stack {name!r} is starting or stopping (process {found.pid})")


@app.command()
def down(name: Name = "default") -> None:
    """Stop a stack that runs in another terminal; its data and logs stay."""
    try:
        found = state.find(STACKS / name)
        if found is None:
            console.print(f"stack {name!r} does not run")
            return
        with console.status(f"stopping stack {name!r}"):
            state.terminate(found, DOWN_TIMEOUT_S)
    except StackError as error:
        fail(error)
    console.print(f"stack {name!r} is stopped")


def _run(
    directory: Path,
    broker: Kafka | None,
    server: Triton | None,
    page: LiveView | None,
    partitions: int,
) -> NoReturn:
    """Run until a signal (KeyboardInterrupt) or until a server dies (StackError)."""
    services: list[Service] = [part for part in (broker, server) if part is not None]
    endpoints = {} if broker is None else {"kafka": broker.bootstrap}
    if server is not None:
        endpoints |= {
            "triton grpc": server.grpc,
            "triton http": server.http,
            "triton metrics": server.metrics,
        }
    if page is not None:
        endpoints["live view"] = page.url
    try:
        state.publish(directory, ready=False, endpoints=endpoints)
        if broker is not None and not jars.is_cached():
            console.print("fetching Kafka from Maven Central (45 MB, this once)")
        names = " and ".join(part.name for part in services)
        console.print(
            f"starting {names}: a minute or two the first time, their logs are below {directory}"
        )
        begun = time.monotonic()
        with console.status("") as waiting:
            for part in services:
                part.launch()
            for part in services:
                waiting.update(f"waiting for {part.name} to be ready")
                part.wait_ready()
                console.print(f"{part.name} is ready after {time.monotonic() - begun:.0f} s")
            if broker is not None:
                topics = dict.fromkeys((IMAGES, PREDICTIONS, DEAD_LETTERS), partitions)
                create_topics(broker.bootstrap, topics)
            if page is not None:
                services.append(page)
                page.start()
        state.publish(directory, ready=True, endpoints=endpoints)
        _print(directory, endpoints)
        console.print("Ctrl-C stops it.")
        while True:
            for part in services:
                part.require_alive()
            time.sleep(WATCH_S)
    finally:
        # Stopping is completed: after a second signal, servers would be left to be killed.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        state.publish(directory, ready=False, endpoints=endpoints)
        for part in reversed(services):
            part.stop()


def _require_model(repository: Path) -> None:
    if not any(repository.glob("*/[0-9]*/")):
        raise StackError(
            f"no model in {repository}; this makes one: "
            f"tkb export --backend python --repository {repository}"
        )


def _print(directory: Path, endpoints: dict[str, str]) -> None:
    table = Table(title=f"stack {directory.name}", title_justify="left", show_header=False)
    for name, address in endpoints.items():
        table.add_row(name, address)
    table.add_row("data and logs", str(directory))
    console.print(table)
    if "kafka" in endpoints and "triton grpc" in endpoints:
        console.print(
            f"tkb bridge --brokers {endpoints['kafka']} --triton {endpoints['triton grpc']}"
        )
