"""Writes docs/metrics.md: every metric of the bridge, from the code that counts it."""

from pathlib import Path

from prometheus_client.core import Metric

from bridge.metrics import Metrics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"

HEAD = """\
# Metrics

<!-- Written by scripts/metrics_page.py from bridge/metrics.py: change that, not this page. -->

`GET /metrics` of a bridge answers with these metrics, in the format of Prometheus. The words are
explained in the [glossary](glossary.md), the alerts in [operations.md](operations.md#alerts). The
values of every label come from a fixed set or, within bounds, from the model; never from a message.

A counter counts from the start of the bridge. A histogram has a series for each bucket, `_sum` and
`_count`.

"""

TAIL = """
Triton has metrics of its own (`nv_*`, on port 8002), and so has the Kafka exporter (`kafka_*`). The
rules and the dashboard in [`observability/`](../observability/) use all three.
"""

NOUNS = ("images", "requests", "partitions", "commits", "rebalances", "assignments")
"""What is counted, where a metric's name says so."""
OTHER_UNITS = {
    "bridge_image_retries": "images",
    "bridge_consumer_lag": "images",
    "bridge_assignment_changes": "rebalances",
    "bridge_build": "1",
    "bridge_predictions": "predictions",
    "bridge_decoder_deaths": "processes",
    "bridge_kafka_brokers_up": "brokers",
    "bridge_kafka_queued_records": "records",
    "process_open_fds": "file descriptors",
    "process_max_fds": "file descriptors",
    "bridge_ready": "0 or 1",
    "bridge_fuse_blown": "0 or 1",
    "bridge_triton_up": "0 or 1",
}


def unit(name: str) -> str:
    """The unit of a metric: the end of its name, or the noun in it that says what is counted."""
    last = name.rpartition("_")[2]
    if last in ("seconds", "bytes"):
        return last
    if name in OTHER_UNITS:
        return OTHER_UNITS[name]
    return next((noun for noun in NOUNS if noun in name.split("_")), "number")


def row(metric: Metric, labels: tuple[str, ...]) -> str:
    """A metric's row; a counter's name has the ending that it is scraped with."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    shown = ", ".join(f"`{label}`" for label in labels)
    cells = (f"`{name}`", metric.type, unit(metric.name), shown, metric.documentation)
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """The whole page."""
    metrics = Metrics()
    rows = [row(one, metrics.labels[one.name]) for one in metrics.registry.collect()]
    table = "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n"
    return HEAD + table + "".join(rows) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
