"""The latencies of a run, decoded from its summary. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

from consumer.summary import Latency, SummaryError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distribution:
    """Latencies of a run, within the precision of their HdrHistogram.

    Attributes:
        ms: float64 [k], distinct latencies, rising; at least one.
        counts: float64 [k], images that took each.
    """

    ms: Floats
    counts: Floats

    @property
    def total(self) -> float:
        return float(self.counts.sum())

    def at(self, percentiles: Floats | list[float]) -> Floats:
        """Milliseconds at float64 [n] percentiles, by HdrHistogram's own rule."""
        rank = np.maximum(np.floor(np.asarray(percentiles) * self.total / 100 + 0.5), 1)
        found: Floats = self.ms[np.searchsorted(np.cumsum(self.counts), rank)]
        return found


def distribution(latency: Latency) -> Distribution | None:
    """Decode a latency's histogram; None: it is empty.

    Raises:
        SummaryError: the text is no HdrHistogram.
    """
    try:
        decoded = HdrHistogram.decode(latency.histogram)
        steps = [
            (step.value_iterated_to / 1000, step.count_added_in_this_iter_step)
            for step in decoded.get_recorded_iterator()
        ]
    except Exception as error:
        # hdrh raises whatever its parsing runs into, such as zlib.error or binascii.Error.
        raise SummaryError(f"a histogram that cannot be decoded: {error}") from None
    if not steps:
        return None
    ms, counts = np.array(steps, np.float64).T
    return Distribution(np.minimum(ms, latency.max_ms), counts)
