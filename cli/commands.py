"""The commands of `tkb`, each loaded only when it is called."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from cli.interrupts import quiet_interrupt
from cli.signals import interruptible

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperGroup

PROGRAM = "tkb"
_OUTPUT_LOST = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE})
"""Why nothing more can be written: a full disk, a terminal that was closed, a reader that ended."""
INTERRUPTED = 130
"""The exit code that shells give to a program which SIGINT has ended."""
HELP = """Batched GPU inference behind a Kafka bridge: images in, predictions out, nothing lost."""


class Entry(NamedTuple):
    """A command.

    Attributes:
        module: the module that has its `app`.
        help: its line in the list of commands; the command's own help comes from its module.
        extra: the project's extra that its imports need; empty: none.
    """

    module: str
    help: str
    extra: str = ""


COMMANDS = {
    "bridge": Entry("bridge.command", "Carry images from Kafka to Triton, and predictions back."),
    "doctor": Entry(
        "bridge.doctor", "Compare a bridge's settings with Kafka and Triton; changes nothing."
    ),
    "produce": Entry("producer.command", "Send images to Kafka at a chosen rate.", "client"),
    "measure": Entry(
        "consumer.measuring.command",
        "Match predictions to images, and report the latency.",
        "client",
    ),
    "read": Entry(
        "consumer.reading.command",
        "Print what was found in each image.",
        "client",
    ),
    "compare": Entry("consumer.report.command", "Show two measured runs side by side.", "client"),
    "watch": Entry(
        "consumer.liveview.command", "Show images and predictions on a local page.", "client"
    ),
    "export": Entry("exporter.command", "Export a model for Triton.", "model"),
    "dead-letters": Entry(
        "deadletters.command", "List dead letters by reason, and send them again."
    ),
    "topics": Entry("cli.topics_command", "Create the topics on a Kafka of your own."),
    "stack": Entry("stack.command", "Run a local Kafka and Triton without Docker.", "stack"),
    "demo": Entry(
        "stack.demo.command",
        "Send 1,000 images through a local stack, and measure them.",
        "client,onnx,stack",  # torch serves the model, too, but is ten times as large
    ),
}
PACKAGES = {entry.module.partition(".")[0] for entry in COMMANDS.values()} | {
    "imaging",
    "tracing",
    "wire",
}


def invoke(command: str = "", program: str = "") -> NoReturn:
    """Run `tkb`, or one of its commands by itself, on the process's arguments, and exit.

    Args:
        command: one of `COMMANDS`; empty: the first argument names it.
        program: the name under which it was called, for its messages; empty: the path.
    """
    # gRPC's own lines about each failed connection would appear between ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _prepare_streams()
    try:
        code = _invoke(command, program or (sys.argv[0] if command else PROGRAM))
        sys.stdout.flush()
    except KeyboardInterrupt:  # between two steps of ours, where typer does not see it
        code = INTERRUPTED
    except OSError as error:
        if error.errno not in _OUTPUT_LOST:
            raise
        code = 1
        # Python would try to write the rest once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
    # What is left is the interpreter's own end, which an interrupt may cut short.
    quiet_interrupt()
    sys.exit(code)


def _prepare_streams() -> None:
    """Make sure that the three standard streams are there, and take any text."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number, so that no connection gets that of a standard stream.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _invoke(command: str, program: str) -> int:
    import typer  # noqa: PLC0415 - in `invoke`, an interrupt of it is seen

    try:
        found = load(command) if command else root()
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        done = found.main(prog_name=program, standalone_mode=False)
    except NotInstalledError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except typer.Abort:
        return INTERRUPTED
    except typer.TyperException as error:
        from cli.errors import one_line  # noqa: PLC0415 - of use only now

        text = one_line(error)
        if text:
            print(f"error: {text}", file=sys.stderr)
        return int(getattr(error, "exit_code", 1))
    return done if isinstance(done, int) else 0


@contextmanager
def importing(command: str) -> Iterator[None]:
    """Import what a command needs: an interrupt meanwhile ends the process without any cleaning up.

    Raises:
        NotInstalledError: a package for it is not installed.
    """
    try:
        with interruptible():
            yield
    except ModuleNotFoundError as error:
        raise _not_installed(command, error) from None


def _not_installed(command: str, error: ModuleNotFoundError) -> Exception:
    missing, extra = (error.name or "").partition(".")[0], COMMANDS[command].extra
    if missing in PACKAGES:
        return NotInstalledError(f"{PROGRAM} {command} is not part of this installation")
    if not extra:
        return error
    from cli.app import install  # noqa: PLC0415 - of use only now

    return NotInstalledError(
        f"{PROGRAM} {command} needs {missing}, which is not installed: {install(extra)}"
    )


class NotInstalledError(Exception):
    """This installation lacks a package for a command; the text says which extra."""


def load(name: str) -> "TyperCommand | TyperGroup":
    """Import and return a command.

    Raises:
        NotInstalledError: a package that it needs is not installed.
    """
    from typer.main import get_command  # noqa: PLC0415 - after `quiet_interrupt`

    with importing(name):
        module = import_module(COMMANDS[name].module)
    found = cast("TyperCommand | TyperGroup", get_command(module.app))
    found.name = name
    return found


def root() -> "TyperGroup":
    """The program without its commands, which are only listed by name."""
    import typer  # noqa: PLC0415 - after `quiet_interrupt`
    from typer.core import TyperCommand, TyperGroup  # noqa: PLC0415

    from cli.app import make_app  # noqa: PLC0415
    from cli.version import version  # noqa: PLC0415

    class Root(TyperGroup):
        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """Called for the command that is run or completed, unlike `get_command`."""
            name, stub, rest = super().resolve_command(ctx, args)
            if name is None or stub is None:
                return name, stub, rest
            return name, load(name), rest

    def show_version(asked: bool) -> None:
        if asked:
            typer.echo(f"{PROGRAM} {version()}")
            raise typer.Exit

    app = make_app(cls=Root, help=HELP, no_args_is_help=True)

    @app.callback()
    def _root(
        shown: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        del shown

    app._add_completion = True  # noqa: SLF001
    found = typer.main.get_command(app)
    assert isinstance(found, TyperGroup), "it has a callback"
    for name, entry in COMMANDS.items():
        found.add_command(TyperCommand(name, callback=None, help=entry.help))
    return found
