"""Where the time of answered images went, as metrics."""

from bridge.images import EndedRequest
from bridge.metrics import Metrics


def observe_stages(metrics: Metrics, outcome: EndedRequest) -> None:
    """Count where the time of a batch's images went, and how long it was altogether."""
    observe = metrics.stages.observe
    batch, requested_ns, inferred_ns = (
        outcome.batch, outcome.requested_ns, outcome.inferred_ns,
    )  # fmt: skip
    observe([(one.decoded_ns - one.arrival.received_ns) / 1e9 for one in batch], "decode")
    observe([(requested_ns - one.decoded_ns) / 1e9 for one in batch], "slot_wait")
    observe([(inferred_ns - requested_ns) / 1e9] * len(batch), "triton")
    # An image without a time (0) took no time that is known. Other machines' clocks may run ahead:
    # the histograms count what is negative as 0.
    times = [(one.event.intended_ns, one.event.sent_ns, one.arrival.received_ns) for one in batch]
    delays = [(sent - intended) / 1e9 for intended, sent, _ in times if intended and sent]
    observe(delays, "producer_delay")
    observe([(received - sent) / 1e9 for _, sent, received in times if sent], "kafka_in")
    latencies = [(inferred_ns - intended) / 1e9 for intended, _, _ in times if intended]
    metrics.prediction_latency.observe(latencies)
