"""A compiled model that crashes ends in an error that says so, not in the exporter's end."""

import os
import signal

import pytest
import torch
from torch import Tensor

from exporter.apart import Apart, Predict
from exporter.errors import ExportError

ONE = torch.ones(2, 3)


def doubling() -> Predict:
    return lambda pixels: 2 * pixels


def dying_in_a_call() -> Predict:
    def predict(_pixels: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError

    return predict


def dying_in_loading() -> Predict:
    os._exit(3)


def raising() -> Predict:
    def predict(_pixels: Tensor) -> Tensor:
        raise RuntimeError("no kernel image\nlong log")

    return predict


def test_it_answers_as_often_as_it_is_asked_and_ends_with_its_object() -> None:
    predict = Apart(doubling, "the file")
    process = predict._process
    for _ in range(2):
        assert torch.equal(predict(ONE), 2 * ONE)
    del predict
    process.join(30)
    assert process.exitcode == 0


@pytest.mark.parametrize(
    ("load", "how"),
    [
        (dying_in_a_call, r"SIGSEGV in predict, test_apart\.py line \d+"),
        (dying_in_loading, "exit status 3"),
    ],
)
def test_a_crash_is_one_clear_line_that_says_where(load: object, how: str) -> None:
    assert callable(load)
    predict = Apart(load, "the file for cuda")
    for _ in range(2):  # the second finds it gone
        text = rf"^the file for cuda crashed the process that ran it \({how}\)$"
        with pytest.raises(ExportError, match=text):
            predict(ONE)


def test_an_error_is_told_by_its_first_line() -> None:
    predict = Apart(raising, "the file")
    with pytest.raises(ExportError, match=r"^the file cannot be run: no kernel image$"):
        predict(ONE)
