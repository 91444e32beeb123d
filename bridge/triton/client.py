"""The client of one model on one real Triton server, over gRPC."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bridge.inference import Answer, Done, Failure, InferenceError, Sends
from bridge.tasks.classify import Classify, ClassifyHeads, parse_class
from bridge.tasks.task import AnswerError
from bridge.triton.messages import make_request, parse_answer, texts
from bridge.triton.model import ModelSpec, UnservableModelError, Wanted, read_spec
from cli.peer import tls_mismatch
from imaging.rules import Input, Size
from imaging.tensor import to_tensor
from wire.trace import TRACEPARENT

INT32_MAX = 2**31 - 1
NO_MEMORY = InferenceError("RESOURCE_EXHAUSTED", "no memory to read the answer")
"""The error for an answer that does not fit into memory. It is made in advance, since there may be
no memory for the error either."""

_CHANNEL_ARGUMENTS = [
    ("grpc.max_send_message_length", INT32_MAX),
    ("grpc.max_receive_message_length", INT32_MAX),
    # A server counts pings that come sooner than every 300 s while it sends nothing, and closes the
    # connection at the third (gRPC's default, and Triton's --grpc-http2-min-recv-ping-interval-
    # without-data). A call that lasts longer would then fail.
    ("grpc.keepalive_time_ms", 330_000),
    # This also sets TCP's user timeout: a peer that died without closing the connection is noticed
    # that long after something was sent to it, for instance a check.
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC's own waits before it reconnects grow to two minutes; they must be shorter than ours.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


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
        wanted: Wanted | None = None,
        request_timeout_s: float = 30,
        tls: Tls | None = None,
        name: str | None = None,
    ) -> None:
        """
        Args:
            name: the host name in the certificate, where that is not the host of `address`.
        """
        self._model = model
        self._version = version
        self._wanted = wanted
        self._timeout_s = request_timeout_s
        self._address = address
        self._tls = tls is not None
        self._channel = _channel(address, tls, name)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self.spec: ModelSpec | None = None

    def load_spec(self, timeout_s: float = 5) -> ModelSpec:
        """Ask Triton for the description of the model.

        Raises:
            InferenceError: Triton or the model is not ready (yet).
            UnservableModelError: the model does not exist, or the bridge cannot feed it.
        """
        try:
            return self._load_spec(timeout_s)
        except grpc.RpcError as error:
            failed = _failed(error)
            if failed.status == "UNAVAILABLE" and (why := tls_mismatch(self._address, self._tls)):
                raise InferenceError("UNAVAILABLE", why) from None
            raise failed from None

    def _load_spec(self, timeout_s: float) -> ModelSpec:
        def ask(method: str, **asked: str) -> dict[str, Any]:
            request = getattr(service_pb2, f"{method}Request")(**asked)
            answer = getattr(self._stub, method)(request, timeout=timeout_s)
            found: dict[str, Any] = MessageToDict(answer, preserving_proto_field_name=True)
            return found

        model = {"name": self._model, "version": self._version}
        if not ask("ServerLive").get("live"):
            raise InferenceError("UNAVAILABLE", "Triton is not live")
        if not ask("ModelReady", **model).get("ready"):
            self._explain_absence(ask)
        metadata = ask("ModelMetadata", **model)
        config = ask("ModelConfig", **model).get("config", {})
        steps = [
            ask("ModelConfig", name=step["model_name"]).get("config", {})
            for step in config.get("ensemble_scheduling", {}).get("step", [])
        ]
        spec = read_spec(metadata, config, self._version, steps, self._wanted)
        self.spec = self._with_labels(spec, timeout_s)
        return self.spec

    def serving(self, timeout_s: float) -> str:
        """The model version that answers now: the one that was set, else the highest loaded one.

        Raises:
            InferenceError: Triton or the model is not ready, or says nothing in time.
        """
        request = service_pb2.ModelMetadataRequest(name=self._model, version=self._version)
        try:
            versions = self._stub.ModelMetadata(request, timeout=timeout_s).versions
        except grpc.RpcError as error:
            raise _failed(error) from None
        except ValueError as error:  # raised when the channel is closed
            raise InferenceError("UNAVAILABLE", str(error)) from None
        return self._version or max(versions, key=lambda one: (len(one), one), default="")

    def last_answer(self, timeout_s: float) -> float | None:
        """When the model last answered, by Triton's own clock; epoch seconds, None: never.

        Raises:
            InferenceError: Triton does not say.
        """
        request = service_pb2.ModelStatisticsRequest(name=self._model, version=self._version)
        try:
            answer = self._stub.ModelStatistics(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise _failed(error) from None
        last_ms = max((one.last_inference for one in answer.model_stats), default=0)
        return last_ms / 1000 if last_ms else None

    def _with_labels(self, spec: ModelSpec, timeout_s: float) -> ModelSpec:
        """Add the labels once, if Triton does not find the best classes itself.

        Only Triton's classification extension knows the file of labels, so a request with a grey
        image asks for all classes.
        """
        task = spec.task
        if not isinstance(task, Classify | ClassifyHeads):
            return spec
        heads = tuple(self._with_names(head, spec, timeout_s) for head in task.heads)
        return replace(spec, task=heads[0] if len(heads) == 1 else ClassifyHeads(heads))

    def _with_names(self, head: Classify, spec: ModelSpec, timeout_s: float) -> Classify:
        if head.names_wanted is None:
            return head
        request = make_request(
            spec, [_grey(spec)], timeout_s=timeout_s, outputs=[head.names_wanted]
        )
        try:
            (row,) = texts(
                self._stub.ModelInfer(request, timeout=max(timeout_s, self._timeout_s)),
                head.output.name,
                1,
                spec.batched,
            )
            named = {one["class_id"]: one["label"] for one in map(parse_class, row)}
        except (ValueError, IndexError) as error:
            raise InferenceError("INTERNAL", f"an answer that cannot be read: {error}") from None
        return replace(head, labels=tuple(named.get(place, "") for place in range(max(named) + 1)))

    def _explain_absence(self, ask: Callable[..., dict[str, Any]]) -> None:
        """Raise the error of `load_spec` for a model that is not ready."""
        try:
            models = ask("RepositoryIndex").get("models", [])
        except grpc.RpcError as error:  # an operator may restrict it
            raise InferenceError(
                "UNAVAILABLE",
                f"model {self._model!r} is not ready, and Triton does not say why: "
                f"{error.details()}",
            ) from None
        known = sorted({str(one["name"]) for one in models})
        if self._model not in known and ask("ServerReady").get("ready"):
            raise UnservableModelError(
                f"Triton has no model {self._model!r}; it has: {', '.join(known) or 'none'}"
            )
        states = [
            f"version {one.get('version', '?')} {one.get('state', '?')} {one.get('reason', '')}"
            for one in models
            if one["name"] == self._model
        ]
        if self._version:
            states.insert(0, f"version {self._version} is asked for")
        raise InferenceError(
            "UNAVAILABLE", f"model {self._model!r} is not ready: {'; '.join(states)}".strip()
        )

    def infer(
        self,
        images: Sequence[Input],
        done: Done,
        traceparent: str | None = None,
        sizes: Sequence[Size | None] = (),
    ) -> None:
        spec = self.spec
        assert spec is not None, "load_spec comes first"
        known = sizes or [None] * len(images)

        def answered(call: Any) -> None:
            result: Answer | InferenceError
            try:
                result = parse_answer(call.result(), spec, known)
            except grpc.RpcError as error:
                result = _failed(error)
            except grpc.FutureCancelledError:  # the channel was closed meanwhile
                result = InferenceError("CANCELLED", "the connection was closed")
            except MemoryError:
                result = NO_MEMORY
            except Exception as problem:  # otherwise its slot would never be free again
                result = InferenceError("INTERNAL", f"an answer that cannot be read: {problem}")
            done(result)

        request = make_request(spec, images, timeout_s=self._timeout_s)
        try:
            call = self._stub.ModelInfer.future(
                request,
                timeout=self._timeout_s,
                metadata=None if traceparent is None else [(TRACEPARENT, traceparent)],
            )
        except (grpc.RpcError, ValueError) as error:  # a closed channel raises ValueError
            done(InferenceError("UNAVAILABLE", str(error)))
        else:
            call.add_done_callback(answered)

    def close(self) -> None:
        self._channel.close()


def _channel(address: str, tls: Tls | None, name: str | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address, _CHANNEL_ARGUMENTS)
    ca, key, cert = (
        None if path is None else path.read_bytes() for path in (tls.ca, tls.key, tls.cert)
    )
    arguments: list[tuple[str, int | str]] = [*_CHANNEL_ARGUMENTS]
    if name is not None:
        arguments.append(("grpc.ssl_target_name_override", name))
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), arguments)


def _failed(error: grpc.RpcError) -> InferenceError:
    status = error.code().name
    return InferenceError(status, error.details() or status)


def probe(inference: Sends, spec: ModelSpec, timeout_s: float = 30) -> Answer:
    """Send one grey image on the path that all images take, and read the answer.

    It finds early what metadata cannot show, such as a backend that answers nothing. A model that
    takes encoded images gets a PNG, and may refuse it as an image.

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
    answer = next(iter(result.results), None)
    if isinstance(answer, AnswerError) and answer.kind == "bad_shape":
        raise UnservableModelError(
            f"model {spec.name!r} cannot be used for the task {spec.task.name}: {answer}"
        )
    return result


def _grey(spec: ModelSpec) -> Input:
    if spec.shape is not None:
        pixels = np.full((1, *spec.shape), 128, np.uint8)
        grey: Input = to_tensor(pixels, spec.input.tensor)[0]
        return grey
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(encoded, "PNG")
    return encoded.getvalue()
