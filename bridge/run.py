"""Command line of the bridge: python bridge/run.py --help."""

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import structlog
from confluent_kafka import KafkaException

from bridge.app import App, NotDrainedError
from bridge.config import ConfigError, Settings, load
from bridge.decoders.pool import DecoderError
from bridge.fuse import FuseBlownError
from bridge.kafka.at_least_once import DeliveryError
from bridge.kafka.clients import KafkaSettingError
from bridge.logs import configure
from bridge.signals import on_signals
from bridge.triton.model import UnservableModelError
from tracing.start import TracingError, start_tracing, stop_tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from bridge.tracing import BridgeTracing

STOPPED, FAILED, USAGE = 0, 1, 2
GARBAGE = (50_000, 20, 20)
"""When Python looks for reference cycles. Images make none, but thousands in hand are looked
through each time: with Python's own thresholds, a third of the bridge's CPU time went there."""


def main(arguments: Sequence[str]) -> int:
    """Run the bridge until it is stopped; returns the exit code."""
    try:
        settings = load(arguments)
        configure(settings.log_level, settings.log_format)
        provider, tracing = _start_tracing(settings) if settings.tracing else (None, None)
        app = App(settings, tracing)
    except (ConfigError, TracingError) as error:
        print(f"bridge: {error}", file=sys.stderr)
        return USAGE
    log = structlog.get_logger()
    gc.collect()
    gc.freeze()  # what was imported stays
    gc.set_threshold(*GARBAGE)
    try:
        with on_signals(lambda count: app.stop(at_once=count > 1)):
            app.run()
    except (ConfigError, KafkaSettingError, UnservableModelError) as error:
        log.error("refused", error=str(error))  # noqa: TRY400 - the text is the whole story
        return USAGE
    except (
        FuseBlownError,
        DecoderError,
        DeliveryError,
        KafkaException,
        NotDrainedError,
    ) as error:
        log.error("stopped_by_error", kind=type(error).__name__, error=str(error))  # noqa: TRY400
        return FAILED
    except Exception:
        log.exception("stopped_by_fault")
        return FAILED
    finally:
        stop_tracing(provider)
    return STOPPED


def _start_tracing(settings: Settings) -> "tuple[TracerProvider, BridgeTracing]":
    provider = start_tracing("triton-kafka-bridge")
    from bridge.tracing import BridgeTracing  # noqa: PLC0415 - it imports OpenTelemetry

    return provider, BridgeTracing(provider, settings.model, settings.group)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
