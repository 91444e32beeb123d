"""The conditions of a measurement: what a reader needs to repeat it."""

import os
import platform
from collections.abc import Mapping

import confluent_kafka

from consumer.measuring.triton import TritonError, read_version

_NOT_KEPT = frozenset(
    {"run_id", "output", "ready_file", "schema_registry_user", "schema_registry_password"}
)
"""Options that are secret, have no effect on the measurement, or are in the summary already."""


def settings(options: Mapping[str, object]) -> dict[str, str]:
    """The options of a run with their values, given or default, as text.

    For KEY=VALUE pairs (librdkafka's options) only the keys are kept: a value may be a password.
    """
    kept = {}
    for name, value in options.items():
        if value in (None, (), [], "") or name in _NOT_KEPT:
            continue
        if isinstance(value, list | tuple):
            names = ", ".join(str(pair).partition("=")[0] for pair in value)
            kept[name] = f"{names} (values not kept)"
        else:
            kept[name] = str(value)
    return kept


def versions(triton: str | None) -> dict[str, str]:
    """Names and versions of all that affects latency; `triton`: the server's address."""
    found = {
        "Python": platform.python_version(),
        "confluent-kafka": str(confluent_kafka.version()),
        "librdkafka": str(confluent_kafka.libversion()[0]),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count() or '?'} CPUs",
    }
    if triton is not None:
        try:
            found["Triton"] = read_version(triton)
        except TritonError:
            found["Triton"] = "not known: it did not answer"
    return found
