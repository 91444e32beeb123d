"""Triton's own statistics, read before and after a run, to split the stage `triton`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from cli.peer import not_triton
from consumer.summary import TritonStages

TIMEOUT_SECONDS = 5.0
STATS = ("queue", "compute_input", "compute_infer", "compute_output")


class TritonError(Exception):
    """There are no statistics; the text says why."""


class ModelCounters(NamedTuple):
    """Triton's cumulative counters of one model version.

    Attributes:
        spent: (requests, nanoseconds) of each of `STATS`.
    """

    inferences: int
    executions: int
    requests: int
    spent: dict[str, tuple[int, int]]


def read_counters(address: str) -> dict[tuple[str, str], ModelCounters]:
    """The counters of every model, by (name, version), of the server at host:port (gRPC).

    Raises:
        TritonError: the server cannot be reached, or refuses.
    """
    answer = _ask(address, "statistics", grpcclient.InferenceServerClient.get_inference_statistics)
    return {
        (stats["name"], stats["version"]): _counters(stats)
        for stats in answer.get("model_stats", ())
    }


def read_version(address: str) -> str:
    """The version of the server at host:port (gRPC).

    Raises:
        TritonError: the server cannot be reached, or refuses.
    """
    answer = _ask(address, "version", grpcclient.InferenceServerClient.get_server_metadata)
    return str(answer.get("version", "not said"))


def _ask(address: str, what: str, question: Callable[..., Any]) -> Any:
    """The answer to one question, asked by a method of Triton's client, as parsed JSON."""
    try:
        with grpcclient.InferenceServerClient(address) as client:
            return question(client, as_json=True, client_timeout=TIMEOUT_SECONDS)
    except InferenceServerException as error:
        why = not_triton(address) or error.message()
        raise TritonError(f"no {what} from Triton at {address}: {why}") from None


def difference(
    before: Mapping[tuple[str, str], ModelCounters],
    after: Mapping[tuple[str, str], ModelCounters],
    models: Iterable[str],
) -> list[TritonStages]:
    """What the `models` ("name/version") did between two readings; idle models are left out.

    A counter that went back means that Triton was restarted: it is then taken to have begun at 0.
    """
    found = []
    for (name, version), now in sorted(after.items()):
        if f"{name}/{version}" not in models:
            continue
        then = before.get((name, version))
        if then is None or then.requests > now.requests or then.executions > now.executions:
            then = ModelCounters(0, 0, 0, dict.fromkeys(STATS, (0, 0)))
        executions = now.executions - then.executions
        if executions <= 0:
            continue
        mean_ms = {}
        for stat in STATS:
            count = now.spent[stat][0] - then.spent[stat][0]
            ns = now.spent[stat][1] - then.spent[stat][1]
            mean_ms[stat] = ns / count / 1e6 if count > 0 else 0.0
        inferences = now.inferences - then.inferences
        found.append(
            TritonStages(
                model=name,
                version=version,
                requests=now.requests - then.requests,
                inferences=inferences,
                executions=executions,
                mean_batch=inferences / executions,
                queue_ms=mean_ms["queue"],
                compute_input_ms=mean_ms["compute_input"],
                compute_infer_ms=mean_ms["compute_infer"],
                compute_output_ms=mean_ms["compute_output"],
            )
        )
    return found


def _counters(stats: Mapping[str, Any]) -> ModelCounters:
    # protobuf's JSON leaves zeros out and writes 64-bit numbers as strings.
    times = stats.get("inference_stats", {})
    return ModelCounters(
        inferences=int(stats.get("inference_count", 0)),
        executions=int(stats.get("execution_count", 0)),
        requests=int(times.get("success", {}).get("count", 0)),
        spent={
            stat: (int(times.get(stat, {}).get("count", 0)), int(times.get(stat, {}).get("ns", 0)))
            for stat in STATS
        },
    )
