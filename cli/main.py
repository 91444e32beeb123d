"""The first code of each program: from here on an interrupt leaves no traceback.

Nothing is imported before that. To import even `signal` takes some milliseconds, and an interrupt
in them would show a traceback.
"""

import _signal  # type: ignore[import-not-found]  # the part of `signal` that Python has at start


def main() -> None:
    """The entry point of the installed program."""
    run()


def run(command: str = "", program: str = "") -> None:
    """Run `tkb`, or one of its commands by itself, as `cli.commands.invoke` says."""
    quiet_interrupt()
    from cli.commands import invoke  # noqa: PLC0415 - see above

    invoke(command, program)


def quiet_interrupt() -> None:
    """Let an interrupt end the process at once, since there is nothing to clean up.

    A handler of the program's own, or an interrupt that is ignored, is left as it is.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
