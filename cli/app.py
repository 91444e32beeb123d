"""The common form of all commands: the application, its errors and its extras."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperCommand

from cli.paths import APP, CHECKOUT, ROOT

FAILED, USAGE = 1, 2


class _Command(TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        """Refuse texts that are not UTF-8: Kafka, JSON and HTTP could not hold them. Paths may be
        anything."""
        for one in self.params:
            given = ctx.params.get(one.name)
            for text in given if isinstance(given, list | tuple) else (given,):
                if isinstance(text, str) and not _is_utf8(text):
                    raise typer.BadParameter(f"{text!r} is not UTF-8", ctx, cast("Any", one))
        return super().invoke(ctx)


class _App(typer.Typer):
    def command(self, *args: Any, **more: Any) -> Any:
        return super().command(*args, cls=_Command, **more)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_app(prefix: str = "", **more: Any) -> typer.Typer:
    """A command, or a group of them.

    Args:
        prefix: prefix of the environment variables that can also set its flags; empty: none can.
        more: other arguments of `typer.Typer`.
    """
    context: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
    if prefix:
        context["auto_envvar_prefix"] = prefix
    return _App(
        add_completion=False, pretty_exceptions_enable=False, context_settings=context, **more
    )


def fail(error: object) -> NoReturn:
    """End with one line about the error, and exit code 1."""
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(FAILED) from None


def install(extra: str) -> str:
    """The command that installs an extra, or several with commas, for the message that it is
    missing.

    It is for the environment that runs, which need not be the one whose `pip` is on the PATH. A
    checkout stays the place where the project is installed from (`-e`): its models and data are
    in it.
    """
    python = _shown(Path(sys.executable))
    pip = f"{python} -m pip install" if find_spec("pip") else f"uv pip install -p {python}"
    package = f"-e '{_shown(ROOT)}[{extra}]'" if CHECKOUT else f"'{APP}[{extra}]'"
    names, more = extra.replace(",", "', '"), "s" if "," in extra else ""
    return f"install the project with its '{names}' extra{more} ({pip} {package})"


def _shown(path: Path) -> Path:
    """The path as a reader would type it in the present folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
