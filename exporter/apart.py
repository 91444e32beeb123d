"""Runs a compiled model in a process of its own; a crash there becomes an error here."""

import faulthandler
import re
import signal
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from exporter.errors import ExportError

Predict = Callable[[Tensor], Any]
"""A function from pixels to one tensor, or to the tensors of a detector."""
_PLACE = re.compile(r'^Current thread .*\n  File "(.+)", line (\d+) in (\S+)', re.MULTILINE)
"""The innermost Python function of the thread that crashed, as faulthandler writes it."""


class Apart:
    """A function of tensors on the CPU, called in another process, which ends with this object.

    Faulty compiled code may not raise, but end the process without a message. With torch 2.11 and a
    GPU, loading a package crashed in the process that had compiled it.

    Args:
        load: returns the function, in that process; it is pickled.
        what: name of the function, for the error text.
    """

    def __init__(self, load: Callable[[], Predict], what: str) -> None:
        self._what = what
        # Not forked: a process that has used a GPU cannot be forked.
        context = get_context("spawn")
        # When this object and so our end of the pipe goes, the other process reads its end and
        # exits.
        self._calls, theirs = context.Pipe()
        self._crash = tempfile.NamedTemporaryFile(prefix="crash-")  # noqa: SIM115 - as long as this
        arguments = theirs, load, self._crash.name
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, pixels: Tensor) -> Tensor:
        """Call it.

        Raises:
            ExportError: it raised an error or ended its process; the text says how.
        """
        try:
            self._calls.send(pixels.numpy())
            answer = self._calls.recv()
        except (EOFError, OSError):
            self._process.join()
            how = _how(self._process.exitcode) + _where(Path(self._crash.name).read_text())
            raise ExportError(f"{self._what} crashed the process that ran it ({how})") from None
        if isinstance(answer, str):
            raise ExportError(f"{self._what} cannot be run: {answer}")
        return torch.from_numpy(answer)


def _serve(calls: Connection, load: Callable[[], Predict], crash: str) -> None:
    with Path(crash).open("w") as file:
        faulthandler.enable(file)
        try:
            _answer(calls, load)
        finally:
            faulthandler.disable()  # before the file is closed


def _answer(calls: Connection, load: Callable[[], Predict]) -> None:
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
        except Exception as error:  # reported to the caller
            calls.send(str(error).strip().partition("\n")[0] or type(error).__name__)
        else:
            calls.send(answer)


def _how(code: int | None) -> str:
    """The end of a process in words, from its exit code."""
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"


def _where(crash: str) -> str:
    """The place of a crash in words, from what faulthandler wrote; empty if it wrote nothing."""
    found = _PLACE.search(crash)
    return f" in {found[3]}, {Path(found[1]).name} line {found[2]}" if found else ""
