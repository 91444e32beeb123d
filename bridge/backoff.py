"""How long to wait before something that failed is tried again."""

from collections.abc import Callable


class Backoff:
    """Exponential waits with jitter, so that bridges do not all try again at the same moment."""

    def __init__(self, minimum_s: float, maximum_s: float, rng: Callable[[], float]) -> None:
        self._minimum_s = minimum_s
        self._maximum_s = maximum_s
        self._rng = rng
        self.failures = 0

    def next_wait(self) -> float:
        """Seconds to wait after one more failure: half fixed, half random."""
        # The exponent is bounded so that a day of failures does not overflow a float.
        ceiling = min(self._maximum_s, self._minimum_s * 2.0 ** min(self.failures, 30))
        self.failures += 1
        return ceiling * (0.5 + 0.5 * self._rng())

    def reset(self) -> None:
        self.failures = 0
