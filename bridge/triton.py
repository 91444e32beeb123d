"""The Triton edge: what the pipeline needs of an inference server, over gRPC."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import grpc
import numpy as np
import tritonclient.grpc as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

from bridge.images import ImageError, Pixels
from bridge.model import ModelSpec, UnservableModelError, read_spec
from wire.prediction import ScoredLabel
from wire.trace import TRACEPARENT

INT32_MAX = 2**31 - 1

# The client replaces all its defaults when it is given any, so each is said here.
_CHANNEL_ARGUMENTS = [
    ("grpc.max_send_message_length", INT32_MAX),
    ("grpc.max_receive_message_length", INT32_MAX),
    # A dead peer that closed nothing is noticed in half a minute instead of never.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own reconnect waits grow to two minutes; ours are settings, so its must be shorter.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Failure(Enum):
    """What a failed request says about trying again."""

    TRANSIENT = "transient"
    """Nothing about the images: try again for ever."""
    INVALID = "invalid"
    """Something in the batch can never succeed."""
    INTERNAL = "internal"
    """The model failed: perhaps on an image, perhaps by itself; try a bounded number of times."""


_FAILURES = {
    "INVALID_ARGUMENT": Failure.INVALID,
    "INTERNAL": Failure.INTERNAL,
    "UNKNOWN": Failure.INTERNAL,
}


class InferenceError(Exception):
    """A request that was not answered.

    Attributes:
        status: gRPC status name, such as UNAVAILABLE.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        # All else (UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, NOT_FOUND while a model
        # is reloaded, UNAUTHENTICATED while a certificate is renewed...) may pass.
        self.failure = _FAILURES.get(status, Failure.TRANSIENT)

    @classmethod
    def of(cls, error: InferenceServerException) -> "InferenceError":
        status = (error.status() or "UNKNOWN").removeprefix("StatusCode.")
        return cls(status, error.message() or status)


Top = tuple[ScoredLabel, ...] | ImageError


@dataclass(frozen=True, slots=True)
class Answer:
    """A batch's classes, in the batch's order.

    Attributes:
        version: the model version that answered.
        tops: for each image its k best classes, best first; or why the model can never use it.
    """

    version: str
    tops: Sequence[Top]


Done = Callable[[Answer | InferenceError], None]
"""Called once for each request, on a thread of the client's: it may only enqueue."""


class Inference(Protocol):
    """An inference server, as the pipeline sees it."""

    def infer(
        self, images: Sequence[Pixels | bytes], done: Done, traceparent: str | None = None
    ) -> None:
        """Send one batch of at most `max_batch` images; returns at once.

        Args:
            traceparent: the server's own spans, where it makes any, continue this one.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Tls:
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class TritonServer:
    """One model in a real Triton."""

    def __init__(
        self,
        address: str,
        model: str,
        version: str = "",
        *,
        top_k: int = 3,
        request_timeout_s: float = 30,
        tls: Tls | None = None,
    ) -> None:
        self._model = model
        self._version = version
        self._top_k = top_k
        self._timeout_s = request_timeout_s
        self._client: Any = triton.InferenceServerClient(
            address,
            ssl=tls is not None,
            root_certificates=None if tls is None or tls.ca is None else str(tls.ca),
            private_key=None if tls is None or tls.key is None else str(tls.key),
            certificate_chain=None if tls is None or tls.cert is None else str(tls.cert),
            channel_args=_CHANNEL_ARGUMENTS,
        )
        self.spec: ModelSpec | None = None

    def load_spec(self, timeout_s: float = 5) -> ModelSpec:
        """Ask Triton what the model is.

        Raises:
            InferenceError: Triton or the model is not ready (yet).
            UnservableModelError: the model is not there, or not one that the bridge can feed.
        """
        try:
            return self._load_spec(timeout_s)
        except InferenceServerException as error:
            raise InferenceError.of(error) from None

    def _load_spec(self, timeout_s: float) -> ModelSpec:
        if not self._client.is_server_live(client_timeout=timeout_s):
            raise InferenceError("UNAVAILABLE", "Triton is not live")
        if not self._client.is_model_ready(self._model, self._version, client_timeout=timeout_s):
            self._explain_absence(timeout_s)
        metadata = self._client.get_model_metadata(
            self._model, self._version, as_json=True, client_timeout=timeout_s
        )
        config = self._client.get_model_config(
            self._model, self._version, as_json=True, client_timeout=timeout_s
        )
        own = config.get("config", {})
        steps = [
            self._client.get_model_config(
                step["model_name"], as_json=True, client_timeout=timeout_s
            ).get("config", {})
            for step in own.get("ensemble_scheduling", {}).get("step", [])
        ]
        self.spec = read_spec(metadata, own, self._version, steps)
        return self.spec

    def _explain_absence(self, timeout_s: float) -> None:
        """Raises what `load_spec` does for a model that is not ready."""
        try:
            index = self._client.get_model_repository_index(as_json=True, client_timeout=timeout_s)
        except InferenceServerException as error:  # an operator may restrict it
            raise InferenceError(
                "UNAVAILABLE",
                f"model {self._model!r} is not ready, and why is not told: {error.message()}",
            ) from None
        models = index.get("models", [])
        known = sorted({str(one["name"]) for one in models})
        if self._model not in known and self._client.is_server_ready(client_timeout=timeout_s):
            raise UnservableModelError(
                f"Triton has no model {self._model!r}; it has: {', '.join(known) or 'none'}"
            )
        states = [
            f"version {one.get('version', '?')} {one.get('state', '?')} {one.get('reason', '')}"
            for one in models
            if one["name"] == self._model
        ]
        raise InferenceError(
            "UNAVAILABLE", f"model {self._model!r} is not ready: {'; '.join(states)}".strip()
        )

    def infer(
        self, images: Sequence[Pixels | bytes], done: Done, traceparent: str | None = None
    ) -> None:
        spec = self.spec
        assert spec is not None, "load_spec comes first"
        count = len(images)
        top_k = self._top_k if spec.classes is None else min(self._top_k, spec.classes)
        outputs = [triton.InferRequestedOutput(spec.output_name, class_count=top_k)]
        if spec.error_output is not None:
            outputs.append(triton.InferRequestedOutput(spec.error_output))

        def answered(result: Any, error: InferenceServerException | None) -> None:
            if error is not None:
                done(InferenceError.of(error))
                return
            try:
                done(parse_answer(result, spec, count))
            except (ValueError, TypeError, IndexError, AttributeError) as problem:
                done(InferenceError("INTERNAL", f"an answer that cannot be read: {problem}"))

        try:
            self._client.async_infer(
                spec.name,
                [make_tensor(spec, images)],
                answered,
                model_version=self._version,
                outputs=outputs,
                headers=None if traceparent is None else {TRACEPARENT: traceparent},
                # The server's queue forgets the request when the client does.
                timeout=int(self._timeout_s * 1e6),
                client_timeout=self._timeout_s,
            )
        except InferenceServerException as error:
            done(InferenceError.of(error))
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel is closed
            done(InferenceError("UNAVAILABLE", str(error)))

    def close(self) -> None:
        self._client.close()


def make_tensor(spec: ModelSpec, images: Sequence[Pixels | bytes]) -> triton.InferInput:
    """The model's input: UINT8 [n, height, width, channels], or BYTES [n, 1] of encoded images."""
    if spec.shape is None:
        data = np.array(images, dtype=object).reshape((len(images), 1))
        kind = "BYTES"
    else:
        data = np.stack(images)
        kind = "UINT8"
    tensor = triton.InferInput(
        spec.input_name, data.shape if spec.batched else data.shape[1:], kind
    )
    tensor.set_data_from_numpy(data if spec.batched else data[0])
    return tensor


def parse_answer(result: Any, spec: ModelSpec, count: int) -> Answer:
    """Read the strings of Triton's classification extension, such as b"0.994124:3:cat".

    Args:
        result: a `tritonclient.grpc.InferResult`.
        spec: the model that gave it.
        count: images in the request.

    Raises:
        ValueError: not `count` rows of such strings.
    """
    rows = _rows(result, spec.output_name, count)
    tops: list[Top] = [tuple(parse_class(cell) for cell in row) for row in rows.tolist()]
    if spec.error_output is not None:
        for index, (reason,) in enumerate(_rows(result, spec.error_output, count).tolist()):
            if reason:
                tops[index] = parse_error(reason)
    return Answer(result.get_response().model_version, tops)


def _rows(result: Any, output: str, count: int) -> Any:
    rows = result.as_numpy(output)
    if rows is None or rows.size == 0:
        raise ValueError(
            f"output {output} is empty (with a Python-backend model: does Triton's environment "
            "have numpy 2? Its stub needs numpy 1)"
        )
    return rows.reshape((count, -1))


def parse_error(text: bytes) -> ImageError:
    """Why the model could not use one image, "kind: message"; see `bridge.model.ERROR_OUTPUT`."""
    kind, _, message = text.decode(errors="replace").partition(": ")
    # The kind names a metric's series and a dead letter's class: nothing else may get there.
    if not message or not re.fullmatch("[a-z_]{1,32}", kind):
        return ImageError("model", text.decode(errors="replace"))
    return ImageError(kind, message)


def parse_class(text: bytes) -> ScoredLabel:
    """One "score:index[:label]"; without a label the index is the label."""
    score, _, rest = text.partition(b":")
    return ScoredLabel(*_parse_label(rest), float(score))


@lru_cache(4096)  # a model has some thousand classes at most that it ever answers with
def _parse_label(text: bytes) -> tuple[str, int]:
    index, _, label = text.decode().partition(":")
    return label or index, int(index)


def probe(inference: Inference, spec: ModelSpec, timeout_s: float = 30) -> Answer:
    """Send one grey image through the path that all images take, and read the answer.

    It finds in time what metadata cannot show: a backend that answers with nothing. A model that
    takes encoded images gets a PNG, and may refuse that one as an image.

    Raises:
        InferenceError: it was not answered.
        UnservableModelError: the model refuses it.
    """
    finished = Event()
    outcome: list[Answer | InferenceError] = []

    def done(result: Answer | InferenceError) -> None:
        outcome.append(result)
        finished.set()

    inference.infer([_grey(spec)], done)
    if not finished.wait(timeout_s):
        raise InferenceError("DEADLINE_EXCEEDED", "the probe image was not answered")
    result = outcome[0]
    if isinstance(result, InferenceError):
        if result.failure is Failure.INVALID:
            raise UnservableModelError(f"model {spec.name!r} fails on a probe image: {result}")
        raise result
    return result


def _grey(spec: ModelSpec) -> Pixels | bytes:
    if spec.shape is not None:
        return np.full(spec.shape, 128, np.uint8)
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(encoded, "PNG")
    return encoded.getvalue()
