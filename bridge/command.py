"""The bridge's command line: a flag for each of its settings."""

import gc
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_origin

import orjson
import structlog
import typer
from confluent_kafka import KafkaException
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bridge.app import App, NotDrainedError
from bridge.config import ConfigError, Settings
from bridge.decoders.pool import DecoderError
from bridge.fuse import FuseBlownError
from bridge.kafka.delivery import DeliveryError
from bridge.kafka.identity import TopicReplacedError
from bridge.loading import load
from bridge.logs import configure
from bridge.malloc import keep_large_pieces
from bridge.signals import on_signals
from bridge.triton.model import UnservableModelError
from cli.app import FAILED, USAGE, make_app
from cli.clients import KafkaSettingError
from cli.options import KAFKA, kafka_options
from storage.objects import StoreSettingError
from tracing.command import traced
from tracing.start import stop_tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from bridge.tracing import BridgeTracing

GARBAGE = (50_000, 20, 20)
"""Thresholds of Python's garbage collector. Images make no reference cycles, but the collector
looks through thousands of them each time: with the default thresholds it took a third of the
bridge's CPU time."""

PANELS = {
    "config": "Settings",
    "brokers": KAFKA,
    "prediction_format": "How predictions are written",
    "triton": "Triton",
    "max_image_bytes": "Images in flight",
    "retry_min_s": "When something fails",
    "tracing": "How it is operated",
}
"""The panels of the command's help, by the first setting of each."""
METAVARS = {
    "brokers": "HOST:PORT", "triton": "HOST:PORT", "group": "NAME", "model": "NAME",
    "model_version": "VERSION", "transactional_id": "ID", "kafka_password": "PASSWORD",
    "schema_registry_url": "URL", "schema_registry_user": "NAME",
    "schema_registry_password": "PASSWORD",
    "reference_allow": "PREFIX,...", "reference_field": "PATH",
    "http_host": "ADDRESS", "http_port": "PORT", "fuse_ratio": "SHARE", "image_field": "NAME",
    "max_age": "DURATION", "min_score": "SCORE", "pass_headers": "NAMES", "route_by": "WHAT",
}  # fmt: skip
ENDINGS = {"_topic": "TOPIC", "_s": "SECONDS", "_bytes": "BYTES", "_pixels": "PIXELS"}

F = TypeVar("F", bound=Callable[..., int])

app = make_app()


def _metavar(name: str, field: FieldInfo) -> str | None:
    if name in METAVARS:
        return METAVARS[name]
    for ending, metavar in ENDINGS.items():
        if name.endswith(ending):
            return metavar
    if field.annotation == Path | None:
        return "FILE"
    return None if get_origin(field.annotation) is Literal or field.annotation is bool else "N"


def _flag(name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    """The flag of a setting, as typer wants it; its text is parsed as in the environment."""
    kind: Any = str
    default = field.get_default(call_default_factory=True, validated_data={})
    metavar = _metavar(name, field)
    if get_origin(field.annotation) is dict:
        kind, default, metavar = list[str] | None, None, "KEY=VALUE"
    elif field.annotation is bool or get_origin(field.annotation) is Literal:
        kind = field.annotation
    elif default is None or default is PydanticUndefined:
        kind, default = str | None, None
    else:
        default = str(default)
    option = typer.Option(
        metavar=metavar,
        help=field.description,
        rich_help_panel=panel,
        show_default=default not in (None, "", False),
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _signature() -> inspect.Signature:
    panel = ""
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    flags = []
    for name, field in Settings.model_fields.items():
        panel = PANELS.get(name, panel)
        flags.append(_flag(name, field, panel))
    return inspect.Signature([context, *flags])


def flags(main: F) -> F:
    """Give a command the bridge's settings as flags; it must take `context` and `**flags`."""
    main.__signature__ = _signature()  # type: ignore[attr-defined]
    main.__annotations__ = {
        name: parameter.annotation for name, parameter in _signature().parameters.items()
    }
    return main


def given(context: typer.Context) -> dict[str, object]:
    """The settings that were given as flags; the others come from the environment and the file."""
    found = {
        name: value
        for name, value in context.params.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    for name in (
        "kafka",
        "kafka_consumer",
        "kafka_producer",
        "schema_registry",
        "model_parameters",
        "routes",
    ):
        if name in found:
            found[name] = _pairs(name, context.params[name])
    return found


def _pairs(name: str, texts: list[str]) -> Mapping[str, object]:
    pairs: dict[str, object] = {}
    for text in texts:
        if not text.startswith("{"):
            pairs |= kafka_options([text], f"--{name.replace('_', '-')}")
            continue
        try:  # JSON, as in the environment
            pairs |= orjson.loads(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is neither KEY=VALUE nor JSON") from None
    return pairs


@flags
def main(context: typer.Context, **_flags: object) -> int:
    """Carry images from a Kafka topic to a model in Triton, and its predictions back to Kafka.

    Every setting is a flag (--max-inflight 4), an environment variable (BRIDGE_MAX_INFLIGHT=4) and
    a key of the TOML file (max_inflight = 4); a flag wins over the environment, which wins over
    the file.

    Exit code: 0 stopped after it was asked to, 1 stopped by an error, 2 usage.
    """
    keep_large_pieces()
    try:
        settings = load(given(context))
        configure(settings.log_level, settings.log_format)
        provider, tracing = _start_tracing(settings) if settings.tracing else (None, None)
        bridge = App(settings, tracing)
    except (ConfigError, KafkaSettingError) as error:
        raise typer.BadParameter(str(error)) from None
    gc.collect()
    gc.freeze()  # imported modules live as long as the process
    gc.set_threshold(*GARBAGE)
    try:
        with on_signals(lambda count: bridge.stop(at_once=count > 1)):
            return serve(bridge)
    finally:
        stop_tracing(provider)


app.command()(main)


def serve(bridge: App) -> int:
    """Run the bridge until it is stopped, and return the exit code."""
    log = structlog.get_logger()
    try:
        bridge.run()
    except (ConfigError, KafkaSettingError, StoreSettingError, UnservableModelError) as error:
        log.error("refused", error=str(error))  # noqa: TRY400 - the text is the whole story
        return USAGE
    except (
        FuseBlownError,
        DecoderError,
        DeliveryError,
        KafkaException,
        NotDrainedError,
        TopicReplacedError,
    ) as error:
        log.error("stopped_by_error", kind=type(error).__name__, error=str(error))  # noqa: TRY400
        return FAILED
    except Exception:
        log.exception("stopped_by_fault")
        return FAILED
    return 0


def _start_tracing(settings: Settings) -> "tuple[TracerProvider, BridgeTracing]":
    provider = traced("triton-kafka-bridge")
    from bridge.tracing import BridgeTracing  # noqa: PLC0415 - it imports OpenTelemetry

    return provider, BridgeTracing(provider, settings.model, settings.group)
