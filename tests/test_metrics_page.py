"""docs/metrics.md is what the bridge says of its metrics."""

from bridge.metrics import Metrics
from scripts.metrics_page import PAGE, page, unit


def test_the_page_of_metrics_is_current() -> None:
    assert PAGE.read_text() == page(), "out of date: run make docs"


def test_each_metric_has_its_row_and_its_labels() -> None:
    metrics = Metrics()
    families = list(metrics.registry.collect())
    assert {family.name for family in families} == metrics.labels.keys()
    lines = page().splitlines()
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        (line,) = (one for one in lines if one.startswith(f"| `{name}` |"))
        for label in metrics.labels[family.name]:
            assert f"`{label}`" in line


def test_a_unit_is_what_the_name_says() -> None:
    assert unit("bridge_stage_seconds") == "seconds"
    assert unit("bridge_images_in_flight_bytes") == "bytes"
    assert unit("bridge_images_received") == "images"
    assert unit("bridge_consumer_lag") == "images"
    assert unit("bridge_something_new") == "number"
