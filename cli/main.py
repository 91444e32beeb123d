"""The first code of each program: from here on an interrupt leaves no traceback."""

from cli.interrupts import quiet_interrupt


def main() -> None:
    """The entry point of the installed program."""
    run()


def run(command: str = "", program: str = "") -> None:
    """Run `tkb`, or one of its commands by itself, as `cli.commands.invoke` says."""
    quiet_interrupt()
    # Before this, only what handles an interrupt is imported.
    from cli.commands import invoke  # noqa: PLC0415

    invoke(command, program)
