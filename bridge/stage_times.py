"""Records in metrics how long the images of a batch spent in each stage."""

from bridge.images import EndedRequest
from bridge.metrics import Metrics


def observe_stages(metrics: Metrics, outcome: EndedRequest) -> None:
    """Observe each image's time in every stage, and its latency up to Triton's answer."""
    observe = metrics.stages.observe
    batch, requested_ns, inferred_ns = (
        outcome.batch, outcome.requested_ns, outcome.inferred_ns,
    )  # fmt: skip
    observe([(one.decoded_ns - one.arrival.received_ns) / 1e9 for one in batch], "decode")
    observe([(requested_ns - one.decoded_ns) / 1e9 for one in batch], "slot_wait")
    observe([(inferred_ns - requested_ns) / 1e9] * len(batch), "triton")
    # A stamp of 0 is unknown, and its stage is not counted. Other machines' clocks may run ahead:
    # the histograms count a negative time as 0.
    times = [(one.event.intended_ns, one.event.sent_ns, one.arrival.received_ns) for one in batch]
    delays = [(sent - intended) / 1e9 for intended, sent, _ in times if intended and sent]
    observe(delays, "producer_delay")
    observe([(received - sent) / 1e9 for _, sent, received in times if sent], "kafka_in")
    latencies = [(inferred_ns - intended) / 1e9 for intended, _, _ in times if intended]
    metrics.prediction_latency.observe(latencies)
