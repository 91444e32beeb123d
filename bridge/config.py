"""The settings of the bridge, with their defaults and meanings; `bridge.loading` reads them."""

import hashlib
import json
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge.freshness import Freshness, seconds
from bridge.routing import LABEL
from bridge.setting_types import (
    HeaderPatterns,
    ModelParameters,
    ReferencePrefixes,
    RouteBy,
    TritonAddresses,
)
from cli.options import broker_list
from schemas.settings import check_url
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS
from wire.wrappings.unwrap import ValueFormat, Wrapping

MIB = 1 << 20
MAX_ROUTES = 1000
MAX_AGE_S = 366 * 86_400


class Settings(BaseSettings):
    """Carries images from a Kafka topic to a model in Triton, and its predictions back to Kafka.

    Every setting is a flag (--max-inflight 4), an environment variable (BRIDGE_MAX_INFLIGHT=4) and
    a key of the TOML file (max_inflight = 4); a flag wins over the environment, which wins over
    the file.
    """

    model_config = SettingsConfigDict(
        env_prefix="BRIDGE_",
        env_nested_delimiter="__",
        extra="forbid",
        protected_namespaces=(),
    )

    config: Path | None = Field(None, description="TOML file with any of these settings")

    brokers: Annotated[str, AfterValidator(broker_list)] = Field(
        "127.0.0.1:9092", description="Kafka bootstrap servers, comma separated"
    )
    images_topic: str = Field(IMAGES, min_length=1, description="topic that images arrive on")
    predictions_topic: str = Field(
        PREDICTIONS, min_length=1, description="topic that predictions go to"
    )
    dead_letters_topic: str = Field(
        DEAD_LETTERS, min_length=1, description="topic for images that can never succeed"
    )
    route_by: RouteBy = Field(
        LABEL, description="what chooses a route: label (the first one) or header:NAME"
    )
    routes: dict[str, str] = Field(
        default_factory=dict,
        max_length=MAX_ROUTES,
        description="topics of predictions by label or header value, such as cat=cats; all others "
        "go to predictions_topic",
    )
    group: str = Field(
        "",
        description="consumer group; bridges with one model share it; empty: bridge-MODEL; a new "
        "one begins at start",
    )
    start: Literal["earliest", "latest"] = Field(
        "earliest",
        description="where a group without committed offsets begins: earliest answers every image "
        "that Kafka still has, latest only those that come from then on",
    )
    delivery: Literal["at-least-once", "exactly-once"] = Field(
        "at-least-once", description="exactly-once: answers and offsets in Kafka transactions"
    )
    transactional_id: str = Field(
        "",
        description="exactly-once: an id of this bridge alone that survives its restarts; "
        "empty: a new one each start",
    )
    transaction_timeout_s: float = Field(
        30, ge=1, le=900, description="exactly-once: a dead bridge holds readers back this long"
    )
    kafka: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="any librdkafka options for consumer and producer: security.protocol=SSL",
    )
    kafka_consumer: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="librdkafka options for the consumer alone"
    )
    kafka_producer: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="librdkafka options for the producer alone"
    )
    kafka_password: SecretStr | None = Field(
        None, description="sasl.password, kept out of logs; better from the environment"
    )
    commit_interval_s: float = Field(
        0.5, gt=0, le=60, description="at-least-once: time between offset commits"
    )

    prediction_format: Literal["json", "json-schema", "avro", "protobuf"] = Field(
        "json", description="how predictions are written; all but json need a schema registry"
    )
    schema_registry_url: Annotated[str, AfterValidator(check_url)] = Field(
        "", description="schema registry with Confluent's protocol; several with commas"
    )
    schema_registry_user: str = Field("", description="user of the registry; empty: none")
    schema_registry_password: SecretStr | None = Field(
        None, description="password of that user, kept out of logs; better from the environment"
    )
    schema_registry: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="any options of Confluent's client for the registry: ssl.ca.location=ca.pem",
    )
    schema_subject: Literal["topic", "record", "topic-record"] = Field(
        "topic", description="subject of the schema; topic: TOPIC-value"
    )
    schema_register: bool = Field(
        True, description="register the schema at start; otherwise it must be registered already"
    )

    triton: TritonAddresses = Field(
        "127.0.0.1:8001",
        description="Triton's gRPC address, HOST:PORT, or several with commas; dns:///HOST:PORT is "
        "all servers of that name, looked up again and again",
    )
    model: str = Field("resnet20_cifar10", min_length=1, description="model name in Triton")
    model_version: str = Field("", description="version to ask for; empty: Triton's policy decides")
    mixed_versions: bool = Field(
        False,
        description="use Tritons with different versions of the model at once; otherwise those "
        "with one version, until none of them works",
    )
    model_parameters: ModelParameters = Field(
        default_factory=dict,
        description="what Triton does not say about the model, such as "
        "preprocess.normalize=imagenet",
    )
    task: Literal["auto", "classify", "detect", "embed", "raw"] = Field(
        "auto", description="what the outputs mean; auto: postprocess.task, else as they look"
    )
    outputs: str = Field(
        "",
        description="the model's outputs to use, by name, with commas; empty: postprocess.outputs",
    )
    top_k: int = Field(3, ge=1, le=1000, description="classes in each prediction, best first")
    min_score: float | None = Field(
        None,
        allow_inf_nan=False,
        description="classify and detect: labels and objects below it are not listed",
    )
    pass_headers: HeaderPatterns = Field(
        "",
        description="headers of an image that its prediction gets, comma separated; * stands for "
        "any characters: camera,tenant-*",
    )
    max_inflight: int = Field(
        0, ge=0, le=256, description="requests with each Triton at a time; 0: two for each instance"
    )
    request_timeout_s: float = Field(
        30,
        gt=0,
        description="a request to Triton, or to object storage, that takes longer is cancelled "
        "and sent again",
    )
    triton_tls: bool = Field(False, description="TLS to Triton")
    triton_ca: Path | None = Field(None, description="CA certificates (PEM) that sign Triton's")
    triton_cert: Path | None = Field(None, description="client certificate (PEM) for Triton")
    triton_key: Path | None = Field(None, description="private key (PEM) of that certificate")

    value_format: ValueFormat = Field(
        "auto",
        description="how values carry images; auto: as their content type says, else the image "
        "itself",
    )
    image_field: str = Field(
        "", max_length=1000, description="field of JSON values with the image in base64: a.b.c"
    )
    max_image_bytes: int = Field(
        16 * MIB, gt=0, description="larger encoded images are dead-lettered unread"
    )
    max_pixels: int = Field(
        50_000_000, gt=0, description="images with more pixels are dead-lettered undecoded"
    )
    decoders: int = Field(
        1, ge=1, le=256, description="processes that decode encoded images; raw pixels need none"
    )
    reference_allow: ReferencePrefixes = Field(
        "",
        description="prefixes of object storage that images may be fetched from, with commas "
        "between them, such as s3://photos/incoming/; empty: none",
    )
    reference_field: str = Field(
        "",
        description="field of a JSON message that holds its image's URL, such as image.url or "
        "/image/url; events of object stores need none",
    )
    max_buffered_bytes: int = Field(
        0,
        ge=0,
        description="images in flight, in bytes, before the bridge stops fetching; 0: enough to "
        "keep Triton busy, between 64 and 256 MiB",
    )
    max_buffered_images: int = Field(
        0,
        ge=0,
        description="images in flight before the bridge stops fetching; 0: enough to keep "
        "Triton busy",
    )

    max_age: Annotated[float, BeforeValidator(seconds)] = Field(
        0,
        ge=0,
        le=MAX_AGE_S,
        description="images older than that, from their intended time, are not answered: 2s, "
        "500ms; 0: none is too old",
    )
    expired: Literal["dead-letter", "drop"] = Field(
        "dead-letter",
        description="what becomes of images that are too old; drop: only a metric counts them",
    )

    retry_min_s: float = Field(0.1, gt=0, description="first wait before sending to Triton again")
    retry_max_s: float = Field(5, gt=0, description="longest wait before sending to Triton again")
    max_attempts: int = Field(
        5,
        ge=1,
        description="failed requests of an image before it is dead-lettered, where the model fails "
        "on it or Triton goes down with it",
    )
    fuse_consecutive: int = Field(
        1000, ge=0, description="dead letters in a row that blow the fuse; 0: any number"
    )
    fuse_ratio: float = Field(
        0.9, ge=0, le=1, description="share of dead letters that blows the fuse; 0: any share"
    )
    fuse_window: int = Field(
        1000, ge=1, description="number of images that fuse_ratio is a share of"
    )
    drain_timeout_s: float = Field(
        25, gt=0, description="time to finish the images in flight at a stop or a revocation"
    )

    tracing: bool = Field(
        False, description="OpenTelemetry spans; the OTEL_* variables say where to and how many"
    )
    http_host: str = Field("127.0.0.1", description="address for health and metrics")
    http_port: int = Field(
        8080, ge=0, le=65535, description="port for health and metrics; 0: any free one"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe events that are logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else json"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # Each model has its own group: two models in one group would share out the images
        # unnoticed.
        self.group = self.group or f"bridge-{self.model}"
        topics = [self.images_topic, self.predictions_topic, self.dead_letters_topic]
        if len(set(topics)) < len(topics):
            raise ValueError(
                "images_topic, predictions_topic and dead_letters_topic must differ: "
                "the bridge would read what it wrote"
            )
        if self.prediction_format != "json" and not self.schema_registry_url:
            raise ValueError(
                f"prediction_format {self.prediction_format} needs schema_registry_url: "
                "the schema's id stands in each prediction"
            )
        for value, topic in self.routes.items():
            if topic in ("", self.images_topic, self.dead_letters_topic):
                raise ValueError(
                    f"routes: {value[:80]} goes to {topic!r}: it must be a topic of predictions"
                )
        if self.value_format == "json" and not self.image_field:
            raise ValueError("value_format json needs image_field: the field that has the image")
        if self.image_field and self.value_format not in ("auto", "json"):
            raise ValueError(f"image_field has no effect with value_format {self.value_format}")
        if self.retry_max_s < self.retry_min_s:
            raise ValueError("retry_max_s is below retry_min_s")
        if 0 < self.max_buffered_bytes < self.max_image_bytes:
            raise ValueError("max_image_bytes is above max_buffered_bytes: it could never be held")
        return self

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of all topics that the bridge needs, each once."""
        names = (self.images_topic, self.predictions_topic, self.dead_letters_topic)
        return tuple(dict.fromkeys((*names, *self.routes.values())))

    @property
    def wrapping(self) -> Wrapping:
        return Wrapping(self.value_format, self.image_field, self.max_image_bytes)

    @property
    def freshness(self) -> Freshness:
        return Freshness(round(self.max_age * 1e9), self.expired == "drop")

    @property
    def digest(self) -> str:
        """A digest that is equal for equal settings; it does not depend on any password."""
        plain = self.model_dump(mode="json", exclude={"config", "kafka_password"})
        for name in ("kafka", "kafka_consumer", "kafka_producer"):
            plain[name] = {
                option: value for option, value in plain[name].items() if "password" not in option
            }
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = toml_path.get()
        toml = () if path is None else (TomlConfigSettingsSource(settings_cls, path),)
        return (init_settings, env_settings, *toml)


toml_path: ContextVar[Path | None] = ContextVar("toml_path", default=None)


class ConfigError(Exception):
    """Settings that cannot be used; the text names each of them."""
