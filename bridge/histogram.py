"""A histogram that counts a batch of observations at a time."""

from collections.abc import Iterable, Sequence
from threading import Lock

import numpy as np
from prometheus_client import (
    CollectorRegistry,
)
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

PENDING = 2048
"""Observations that are counted together: for a few, numpy's calls cost more than the counting."""


class BatchHistogram(Collector):
    """A histogram that takes many observations in one call.

    The library's own histogram costs a few microseconds for each observation, and there are several
    observations for each image.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        bounds: Sequence[float],
        label: str | None,
    ) -> None:
        self._name, self._text = name, text
        self._labels = [] if label is None else [label]
        self._bounds = np.asarray(bounds)
        self._lock = Lock()
        self._pending: dict[str, list[float]] = {}
        self._counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self._sums: dict[str, float] = {}
        registry.register(self)

    def observe(self, values: Sequence[float], label: str = "") -> None:
        """Add observations under one label value, which must never come from a message."""
        with self._lock:
            pending = self._pending.setdefault(label, [])
            pending.extend(values)
            if len(pending) >= PENDING:
                self._count(label)

    def _count(self, label: str) -> None:
        # Clocks are set back now and then: a negative time would make the sum fall.
        array = np.maximum(np.asarray(self._pending.pop(label), np.float64), 0)
        places = np.searchsorted(self._bounds, array)
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        if label not in self._counts:
            self._counts[label] = np.zeros(len(self._bounds) + 1, np.int64)
            self._sums[label] = 0.0
        self._counts[label] += counts
        self._sums[label] += float(array.sum())

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [str(bound) for bound in self._bounds] + ["+Inf"]
        with self._lock:
            for label in list(self._pending):
                self._count(label)
            for label, counts in self._counts.items():
                buckets = list(zip(names, np.cumsum(counts).tolist(), strict=True))
                family.add_metric([label] * len(self._labels), buckets, self._sums[label])
        yield family
