"""What a model says of a batch is read image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor

from bridge.config import Settings
from bridge.metrics import Metrics
from bridge.startup import wait_for_model
from bridge.tasks.classify import Classify, parse_class
from bridge.tasks.task import Output
from bridge.triton.addresses import Addresses
from bridge.triton.client import _CHANNEL_ARGUMENTS, TritonServer
from bridge.triton.inputs import ModelInput
from bridge.triton.messages import parse_answer, parse_error
from bridge.triton.model import ModelSpec, UnservableModelError
from bridge.triton.pool import Pool
from imaging.rules import ImageError, Preprocess

SPEC = ModelSpec(
    name="net", version="", input=ModelInput("IMAGE", "BYTES", None),
    task=Classify(Output("OUT", "FP32", (10,)), 10, top_k=3),
    max_batch=8, batched=True, instances=1, preprocess=Preprocess(), error_output="ERROR",
)  # fmt: skip


def response(**outputs: Sequence[Sequence[bytes]]) -> Any:
    made = service_pb2.ModelInferResponse(model_version="1")
    for name, rows in outputs.items():
        cells = np.array(rows, dtype=object)
        made.outputs.add(name=name, datatype="BYTES", shape=cells.shape)
        made.raw_output_contents.append(serialize_byte_tensor(cells).item())
    return made


def test_an_image_that_the_model_can_not_use_leaves_its_neighbours_their_answers() -> None:
    answer = parse_answer(
        response(
            OUT=[[b"0.9:3:cat"], [b"0.1:0:airplane"], [b"0.8:5:dog"]],
            ERROR=[[b""], [b"truncated: not a readable PNG image"], [b""]],
        ),
        SPEC,
        [None] * 3,
    )
    first, bad, last = answer.results
    assert isinstance(first, tuple)
    assert isinstance(last, tuple)
    assert (first[0]["label"], last[0]["label"]) == ("cat", "dog")
    assert isinstance(bad, ImageError)
    assert (bad.kind, str(bad)) == ("truncated", "not a readable PNG image")


def test_reasons_that_are_missing_make_the_answer_unreadable() -> None:
    with pytest.raises(ValueError, match="output ERROR is empty"):
        parse_answer(response(OUT=[[b"0.9:3:cat"]]), SPEC, [None])


@pytest.mark.parametrize("text", [b"no colon", b"Not a kind: x", b"kind: ", b"a" * 40 + b": x"])
def test_a_reason_without_a_kind_gets_a_fixed_one(text: bytes) -> None:
    error = parse_error(text)
    assert (error.kind, str(error)) == ("model", text.decode())


def test_one_row_for_three_images_is_no_answer_to_any_of_them() -> None:
    split_over_them = response(OUT=[[b"0.9:3:cat", b"0.1:0:airplane", b"0.0:5:dog"]])
    with pytest.raises(ValueError, match="one row for each image"):
        parse_answer(split_over_them, replace(SPEC, error_output=None), [None] * 3)
    turned = response(OUT=[[b"0.9:3:cat"] * 3, [b"0.1:0:airplane"] * 3])
    with pytest.raises(ValueError, match="one row for each image"):
        parse_answer(turned, replace(SPEC, error_output=None), [None] * 3)


def test_a_label_of_a_file_with_windows_line_ends_is_the_label() -> None:
    assert parse_class(b"0.9:3:cat\r") == {"label": "cat", "class_id": 3, "score": 0.9}


TRITON_PING_INTERVAL_MS = 300_000
"""Default of --grpc-http2-min-recv-ping-interval-without-data: what comes sooner is a strike."""


def test_keep_alive_is_what_a_triton_with_its_defaults_allows() -> None:
    arguments = dict(_CHANNEL_ARGUMENTS)
    assert arguments["grpc.keepalive_time_ms"] >= TRITON_PING_INTERVAL_MS
    # Unlimited pings would be sent between the two, for each frame that is waited for.
    assert arguments.get("grpc.http2.max_pings_without_data") != 0


@pytest.fixture
def http_server() -> Iterator[str]:
    """Like Triton's HTTP port, it closes a connection that begins as gRPC's do."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_http_port_given_for_grpc_is_called_that(http_server: str) -> None:
    pool = Pool(
        Addresses(http_server), lambda address: TritonServer(address.text, "net"), metrics=Metrics()
    )
    settings = Settings.model_validate(
        {"triton": http_server, "retry_min_s": 0.001, "retry_max_s": 0.001}
    )
    with pytest.raises(UnservableModelError, match=f"{http_server} speaks HTTP and not gRPC"):
        wait_for_model(pool, Mock(), settings, Event(), {})
    pool.close()
