"""What an interrupt does while a program is still being loaded. Imports almost nothing.

To import even `signal` takes some milliseconds, and an interrupt in them would show a traceback.
"""

import _signal  # type: ignore[import-not-found]  # the part of `signal` that Python has at start


def quiet_interrupt() -> None:
    """Let an interrupt end the process at once, since there is nothing to clean up.

    A handler of the program's own, or an interrupt that is ignored, is left as it is.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
