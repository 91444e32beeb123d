"""A compiled model in a process of its own: what crashes there is told here."""

import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from exporter.errors import ExportError

Predict = Callable[[Tensor], Any]
"""Pixels to a tensor, or to those of a detector."""


class Apart:
    """A function of tensors on the CPU, called in another process, which ends with this object.

    Compiled code that is wrong does not raise: a GPU's was seen to end the process without a word.

    Args:
        load: gives the function, there; it is pickled.
        what: the function, for an error's text.
    """

    def __init__(self, load: Callable[[], Predict], what: str) -> None:
        self._what = what
        # Not forked: a process that has used a GPU cannot be.
        context = get_context("spawn")
        # When our end goes, with this object, theirs reads the end of it and the process leaves.
        self._calls, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, load), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Call it.

        Raises:
            ExportError: it raised something, or it ended its process; says how.
        """
        try:
            self._calls.send(pixels.numpy())
            answer = self._calls.recv()
        except (EOFError, OSError):
            self._process.join()
            raise ExportError(
                f"{self._what} crashed the process that ran it ({_how(self._process.exitcode)})"
            ) from None
        if isinstance(answer, str):
            raise ExportError(f"{self._what} cannot be run: {answer}")
        return torch.from_numpy(answer)


def _serve(calls: Connection, load: Callable[[], Predict]) -> None:
    predict: Predict | None = None
    while True:
        try:
            pixels = calls.recv()
        except EOFError:
            return
        try:
            predict = predict or load()
            with torch.inference_mode():
                answer = predict(torch.from_numpy(pixels)).numpy()
        except Exception as error:  # told to the one who called
            calls.send(str(error).strip().partition("\n")[0] or type(error).__name__)
        else:
            calls.send(answer)


def _how(code: int | None) -> str:
    """What a process's exit code says."""
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"
