"""What the programs share: their command line, how they stop, their producer."""

import argparse
import signal
from pathlib import Path
from threading import Event
from typing import Any

ASSIGNED = "assigned"
"""What one of several prints when it has got partitions."""
TOP_K = 3
"""Classes in an answer, as the bridge asks for."""


def kafka_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of the flags of a program that reads one topic and writes another."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--source", required=True, help="topic to read")
    parser.add_argument("--target", required=True, help="topic to write")
    parser.add_argument("--group", required=True)
    return parser


def model_parser(description: str | None) -> argparse.ArgumentParser:
    """The same for a program whose model runs in its own process."""
    parser = kafka_parser(description)
    parser.add_argument("--model", type=Path, required=True, help="model.pt")
    parser.add_argument("--device", default="cpu")
    return parser


def stop_on_signal() -> Event:
    """An event that SIGTERM and SIGINT set."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def producer_config(brokers: str) -> dict[str, Any]:
    """A librdkafka producer like the bridge's."""
    return {
        "bootstrap.servers": brokers,
        "enable.idempotence": True,
        "linger.ms": 0.5,
        "compression.type": "lz4",
    }
