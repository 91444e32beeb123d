"""The result of a run as data: what latency_summary.json holds, for people and programs."""

from dataclasses import dataclass, field

import orjson
from pydantic import TypeAdapter, ValidationError

VERSION = 1
"""Version of the JSON's layout; it is raised when a field changes its meaning."""


class SummaryError(ValueError):
    """The data is no summary that this version reads; the text says why."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """`count` images took `ms` milliseconds or less."""

    percentile: float
    ms: float
    count: int


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of latencies, without the warm-up.

    Attributes:
        count: images measured.
        clock_errors: images with a negative latency, which are left out of the rest.
        percentiles: by rising percentile, from an HdrHistogram of three significant digits.
        histogram: the HdrHistogram itself (microseconds; in its standard base64 form), which can be
            merged with those of other runs.
    """

    count: int
    clock_errors: int
    mean_ms: float
    min_ms: float
    max_ms: float
    percentiles: list[Percentile]
    histogram: str

    def at(self, percentile: float) -> float:
        """Milliseconds at one of the reported percentiles; 100 is the maximum."""
        if percentile == 100:
            return self.max_ms
        return next(entry.ms for entry in self.percentiles if entry.percentile == percentile)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage, in milliseconds; `clock_errors`: number of images whose time was negative, which
    are left out."""

    name: str
    mean_ms: float
    p50_ms: float
    p99_ms: float
    clock_errors: int

    @property
    def known(self) -> bool:
        """Whether any image's time can be believed."""
        return not self.clock_errors or self.mean_ms > 0


@dataclass(frozen=True, slots=True)
class TritonStages:
    """The time inside Triton: the difference of its model statistics over the run.

    Times are mean milliseconds for each request, over all clients of the model. `mean_batch` is the
    mean size of the batches that were executed.
    """

    model: str
    version: str
    requests: int
    inferences: int
    executions: int
    mean_batch: float
    queue_ms: float
    compute_input_ms: float
    compute_infer_ms: float
    compute_output_ms: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A run: sent = answered + dead_lettered + expired + missing.

    Attributes:
        run_id: the run measured; None: every run on the topics.
        ended_by: count, idle, signal, error or nothing-came.
        expected: images that the run was told to wait for.
        duplicates: predictions and dead letters beyond the first of an image.
        resent: images read more than once.
        unmatched: ids with an outcome although no image was read.
        unmeasured: records about images beyond --max-images.
        unreadable: records that do not fit the contract of their topic.
        labelled: answered images whose true label is known.
        correct: those whose first label is the true one.
        image_set: a digest of the number of images with each true label; it is equal for runs of
            the same images, and empty where no label is known.
        warmup: images left out of latency, stages and throughput: the first by intended time.
        throughput: answered images per second, from the first intended time to the last answer.
        intended: latency from the intended time; None: no image was measured.
        sent_latency: latency from the time at which the image was really sent.
        stages: in the order in which they happen.
        latency_rise_ms: rise of the latency during the run; None: there are too few images.
        mean_request: mean number of images in a request to Triton.
        offered_rate: images per second by intended time; None: not known.
        stored: measured images whose answer was on its topic before reading began: their latency
            ends at the answer's Kafka timestamp, without the way to a consumer.
        expired: images that were too old to be worked on (--max-age of the bridge).
        began_ns: first intended time in epoch nanoseconds; 0: there was no image.
        settings: options of the consumer.
        versions: versions of the software of the measurement.
        valid: whether the figures may be quoted.
        reasons: the reasons why not.
    """

    run_id: str | None
    ended_by: str
    expected: int | None
    sent: int
    answered: int
    dead_lettered: int
    missing: int
    duplicates: int
    resent: int
    unmatched: int
    unmeasured: int
    unreadable: int
    labelled: int
    correct: int
    warmup: int
    throughput: float
    valid: bool
    reasons: list[str]
    intended: Latency | None = None
    sent_latency: Latency | None = None
    stages: list[Stage] = field(default_factory=list)
    latency_rise_ms: float | None = None
    mean_request: float | None = None
    models: dict[str, int] = field(default_factory=dict)
    dead_letters_by_reason: dict[str, int] = field(default_factory=dict)
    triton: list[TritonStages] = field(default_factory=list)
    offered_rate: float | None = None
    stored: int = 0
    expired: int = 0
    began_ns: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    image_set: str = ""
    version: int = VERSION

    @property
    def notes(self) -> list[str]:
        """Facts that a reader of the figures has to know, one sentence for each."""
        found = []
        if self.stored:
            found.append(
                f"{self.stored:,} answers were on their topic before reading began: their latency "
                "ends at their Kafka timestamp and leaves out the way to a consumer"
            )
        if self.expired:
            found.append(
                f"{self.expired:,} images were too old and not worked on: the latency is that of "
                "the others"
            )
        if self.missing:
            found.append(
                "a bridge with --expired drop leaves no trace of the images that it drops: they "
                "are missing here; with --expired dead-letter they are counted as expired"
            )
        return found

    def to_json(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @staticmethod
    def from_json(text: bytes) -> "Summary":
        """Read what `to_json` wrote.

        Raises:
            SummaryError: the text is no summary, or one of another version.
        """
        try:
            body = orjson.loads(text)
            # Another version may have other fields, so it is told before they are missed.
            version = body.get("version", VERSION) if isinstance(body, dict) else VERSION
            if version != VERSION:
                raise SummaryError(f"a latency summary of version {version}, not {VERSION}")
            return _ADAPTER.validate_python(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            why = f"{where}: {first['msg']}" if where else first["msg"]
            raise SummaryError(f"not a latency summary: {why}") from None
        except orjson.JSONDecodeError as error:
            raise SummaryError(f"not a latency summary: {error}") from None


_ADAPTER = TypeAdapter(Summary)
