"""One of several Triton servers, as the pool knows it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Protocol

from bridge.backoff import Backoff
from bridge.inference import Done, Failure, InferenceError, Sends
from bridge.triton.addresses import Address
from bridge.triton.client import probe
from bridge.triton.model import ModelSpec, UnservableModelError
from cli.peer import not_triton
from imaging.rules import Input, Size


class Server(Sends, Protocol):
    """One Triton server: `bridge.triton.client.TritonServer`, or the fake of the tests."""

    def load_spec(self, timeout_s: float = 5) -> ModelSpec:
        """The description of its model.

        Raises:
            InferenceError: it is not ready.
            UnservableModelError: the bridge cannot feed the model.
        """
        ...

    def serving(self, timeout_s: float) -> str:
        """The model version that it answers with; a cheap question.

        Raises:
            InferenceError: it does not answer.
        """
        ...

    def close(self) -> None: ...


@dataclass(eq=False, slots=True)
class Call:
    """A batch on its way to its answer.

    Attributes:
        done: called once with the answer or the error.
        tried: names of the servers that have had it since the pipeline sent it.
        error: the last failure.
        accused: a server whose model failed on it, that server's epoch then, and the error.
        doubts: failures whose cause may lie in the batch.
        server: the server on which it is tried alone; None: any server may get it.
    """

    images: Sequence[Input]
    done: Done
    traceparent: str | None
    sizes: Sequence[Size | None]
    tried: set[str] = field(default_factory=set)
    error: InferenceError | None = None
    accused: "tuple[Member, int, InferenceError] | None" = None
    doubts: int = 0
    server: str | None = None

    def send(self, server: Sends, done: Done) -> None:
        server.infer(self.images, done, self.traceparent, self.sizes)


@dataclass(eq=False, slots=True)
class Member:
    """One server; all but `gone` and `changed` is protected by the pool's lock.

    Attributes:
        spec, version: description and version of its model when it was last examined or asked.
        examined: whether it has passed an examination and not failed since.
        reason: why it gets no images; None while it gets some.
        epoch: number of its failures: an answer to what was sent before the last one proves
            nothing.
        stuck: it does not answer at all; its batches go to other servers as soon as there are any.
        went: whether it was found to be away since its last failure.
        answered_at: monotonic seconds of its last answer.
        internal_failures, strangers: examinations in which the model failed, or that were answered
            in HTTP.
        calls: batches that it has, by number.
        changed: wakes the thread that watches it.
        gone: set when it is no longer one of the addresses.
    """

    address: Address
    server: Server
    backoff: Backoff
    spec: ModelSpec | None = None
    version: str = ""
    examined: bool = False
    reason: str | None = "not yet asked"
    epoch: int = 0
    stuck: bool = False
    went: bool = False
    answered_at: float = 0.0
    internal_failures: int = 0
    strangers: int = 0
    calls: dict[int, Call] = field(default_factory=dict)
    changed: Event = field(default_factory=Event)
    gone: Event = field(default_factory=Event)

    @property
    def name(self) -> str:
        return self.address.text


def examine(member: Member, max_attempts: int, timeout_s: float) -> tuple[ModelSpec, str]:
    """The description and version of its model, once it has answered a probe image.

    Args:
        max_attempts: probe images on which the model may fail before it is refused.

    Raises:
        InferenceError: it cannot be used now.
        UnservableModelError: the model is not one that the bridge can feed.
    """
    server = member.server
    try:
        spec = server.load_spec()
    except InferenceError as error:
        text = not_triton(member.name) if error.status == "UNAVAILABLE" else None
        if text is None:
            raise
        # A proxy whose server is away also answers in HTTP; if that lasts, the address is wrong.
        member.strangers += 1
        if member.strangers < max_attempts:
            raise InferenceError(error.status, text) from None
        raise UnservableModelError(text) from None
    member.strangers = 0
    # A foreign model of encoded images may not be able to read the probe image.
    if spec.shape is not None or spec.error_output is not None:
        try:
            probe(server, spec, timeout_s)
        except InferenceError as error:
            # A backend that is just restarting its processes also answers INTERNAL.
            member.internal_failures += error.failure is Failure.INTERNAL
            if member.internal_failures < max_attempts:
                raise
            raise UnservableModelError(
                f"model {spec.name!r} fails on a probe image: {error}"
            ) from None
    member.internal_failures = 0
    return spec, server.serving(timeout_s)
