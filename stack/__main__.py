"""`python -m stack`: run the local stack in the foreground, look at it, stop it."""

import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from stack import state
from stack.errors import StackError
from stack.kafka import Kafka, jars
from stack.paths import STACKS
from stack.service import Service
from stack.topics import create_topics
from stack.triton import Triton
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

CHECK_S = 0.5
DOWN_TIMEOUT_S = 70.0
"""Two servers, each with its own bound, and some."""

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def _directory(name: str) -> Path:
    # It becomes a folder's name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise typer.BadParameter("1 to 64 letters, digits, dots, underscores and hyphens")
    return STACKS / name


Directory = Annotated[
    Path, typer.Option("--name", help="Which stack; several can run.", parser=_directory)
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, show_default="a free one")]
DEFAULT_NAME = "default"


@app.command()
def up(
    directory: Directory = DEFAULT_NAME,  # type: ignore[assignment]  # typer parses the default
    kafka_port: Port = None,
    triton_grpc_port: Port = None,
    triton_http_port: Port = None,
    triton_metrics_port: Port = None,
    model_repository: Annotated[
        Path, typer.Option(help="What Triton serves.", show_default=".stack/model_repository")
    ] = STACKS / "model_repository",
    partitions: Annotated[int, typer.Option(min=1, max=1000, help="Of each topic.")] = 4,
    kafka: Annotated[bool, typer.Option(help="Run Kafka.")] = True,
    triton: Annotated[bool, typer.Option(help="Run Triton.")] = True,
) -> None:
    """Start Kafka and Triton, and stop them on Ctrl-C or SIGTERM.

    Data and logs stay in .stack/NAME. Nothing outlives this command, even when it is killed.
    """
    if not kafka and not triton:
        raise typer.BadParameter("nothing to run with both --no-kafka and --no-triton")
    if triton:
        _require_model(model_repository)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with state.claim(directory), ExitStack() as running:
            services: list[Service] = []
            endpoints: dict[str, str] = {}
            # What was begun is finished: a second signal would leave the rest to a kill.
            running.callback(lambda: console.print("stopped"))
            if kafka:
                broker = Kafka(directory / "kafka", kafka_port)
                endpoints["kafka"] = broker.bootstrap
                services.append(broker)
                if not jars.is_cached():
                    console.print("fetching Kafka from Maven Central (45 MB, this once)")
            if triton:
                server = Triton(
                    model_repository,
                    directory / "triton",
                    triton_grpc_port,
                    triton_http_port,
                    triton_metrics_port,
                )
                endpoints["triton grpc"] = server.grpc
                endpoints["triton http"] = server.http
                endpoints["triton metrics"] = server.metrics
                services.append(server)
            state.publish(directory, ready=False, endpoints=endpoints)
            names = " and ".join(service.name for service in services)
            with console.status(f"starting {names}"):
                for service in services:
                    running.callback(service.stop)
                    service.launch()
                for service in services:
                    service.wait_ready()
            if kafka:
                create_topics(
                    endpoints["kafka"],
                    dict.fromkeys((IMAGES, PREDICTIONS, DEAD_LETTERS), partitions),
                )
            state.publish(directory, ready=True, endpoints=endpoints)
            _print(directory, endpoints)
            console.print("Ctrl-C stops it.")
            try:
                _watch(services)
            finally:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
                console.print("stopping")
    except KeyboardInterrupt:
        return
    except StackError as error:
        _fail(error)


@app.command()
def status(
    directory: Directory = DEFAULT_NAME,  # type: ignore[assignment]  # typer parses the default
) -> None:
    """Say where a stack answers; exit status 1 when it does not run."""
    try:
        found = state.find(directory)
    except StackError as error:
        _fail(error)
    if found is None:
        errors.print(f"stack {directory.name!r} does not run")
        raise typer.Exit(1)
    if found.ready:
        _print(directory, found.endpoints)
    else:
        console.print(f"stack {directory.name!r} is starting (process {found.pid})")


@app.command()
def down(
    directory: Directory = DEFAULT_NAME,  # type: ignore[assignment]  # typer parses the default
) -> None:
    """Stop a stack that runs elsewhere; its data and logs stay."""
    try:
        found = state.find(directory)
        if found is None:
            console.print(f"stack {directory.name!r} does not run")
            return
        with console.status(f"stopping stack {directory.name!r}"):
            state.terminate(found, DOWN_TIMEOUT_S)
    except StackError as error:
        _fail(error)
    console.print(f"stack {directory.name!r} is stopped")


def _watch(services: list[Service]) -> None:
    """Return never; raise when a service dies by itself, or on a signal."""
    while True:
        for service in services:
            service.require_alive()
        signal.sigtimedwait([], CHECK_S)


def _require_model(repository: Path) -> None:
    if not any(repository.glob("*/[0-9]*/")):
        _fail(
            StackError(
                f"no model in {repository}; this makes one: "
                f"python scripts/export_model.py --backend python --repository {repository}"
            )
        )


def _print(directory: Path, endpoints: dict[str, str]) -> None:
    table = Table(title=f"stack {directory.name}", title_justify="left", show_header=False)
    for name, address in endpoints.items():
        table.add_row(name, address)
    table.add_row("data and logs", str(directory))
    console.print(table)
    if "kafka" in endpoints and "triton grpc" in endpoints:
        console.print(
            f"python bridge/run.py --brokers {endpoints['kafka']} "
            f"--triton {endpoints['triton grpc']}"
        )


def _fail(error: StackError) -> NoReturn:
    errors.print(f"error: {error}", markup=False)
    raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(app())
