"""What is told at /metrics beside what the pipeline counts."""

import time

from prometheus_client import generate_latest

from bridge.config import Settings
from bridge.images import Publication
from bridge.kafka.assignment import Assignment
from bridge.metrics import MAX_LABELS, Metrics
from tests.bridge.kafka.test_offsets import KEY


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_the_process_is_told_of_and_no_time_of_creation() -> None:
    metrics = Metrics()
    metrics.count_predictions(["cat"])
    text = generate_latest(metrics.registry).decode()
    assert "_created" not in text
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "start_time_seconds"):
        assert (value(metrics, f"process_{name}") or 0) > 0


def test_predictions_are_counted_by_their_label_and_the_labels_are_bounded() -> None:
    metrics = Metrics()
    metrics.count_predictions(["cat", "dog", "cat"])
    metrics.count_predictions(f"class {number}" for number in range(3 * MAX_LABELS))
    metrics.count_predictions(["cat"])
    assert value(metrics, "bridge_predictions_total", label="cat") == 3
    assert value(metrics, "bridge_predictions_total", label="other") == 2 * MAX_LABELS + 2
    (family,) = (one for one in metrics.registry.collect() if one.name == "bridge_predictions")
    assert len(family.samples) == MAX_LABELS + 1


def test_the_oldest_image_in_flight_is_the_first_that_is_not_finished() -> None:
    assignment: Assignment[Publication] = Assignment()
    assignment.assign([KEY])
    assert assignment.oldest_age() == 0
    before = time.monotonic()
    (tracker,) = assignment.begin([(*KEY, 5, 1)])
    assert tracker is not None
    assert 0 <= assignment.oldest_age() <= time.monotonic() - before
    assignment.revoke([KEY])
    assert assignment.oldest_age() == 0


def test_the_same_settings_have_the_same_digest_and_a_password_is_not_in_it() -> None:
    def digest(**given: object) -> str:
        return Settings.model_validate(given).digest

    assert digest() == digest(kafka_password="one") == digest(kafka={"sasl.password": "two"})
    assert digest() != digest(top_k=5)
    assert digest() != digest(kafka={"client.rack": "a"})
