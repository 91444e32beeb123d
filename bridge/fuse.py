"""The fuse: when nearly everything fails, the deployment is wrong, not the images."""

from collections import deque
from threading import Lock

FIRST = 10
"""Dead letters in a row that blow the fuse while no image has been answered yet: until then,
nothing shows that this deployment can answer any."""


class FuseBlownError(Exception):
    """Too many dead letters: the bridge commits what is complete, and takes no more images."""


class Fuse:
    """Counts dead letters against answers, on any thread.

    Args:
        consecutive: dead letters in a row that blow it; 0: it never blows for that reason.
        ratio: share of dead letters among the last `window` images that blows it; 0: no share does.
        window: number of images over which the share is taken; with fewer it is not judged.
    """

    def __init__(self, consecutive: int, ratio: float, window: int) -> None:
        self._limit = consecutive
        self._ratio = ratio
        self._recent: deque[bool] = deque(maxlen=window)
        self._dead_in_window = 0
        self._in_a_row = 0
        self._proven = False
        self._lock = Lock()

    def holds(self) -> bool:
        """Whether one more dead letter would be too many before the first answer.

        Such a dead letter waits for that answer: images are read, and refused, long before their
        neighbours are answered.
        """
        with self._lock:
            return bool(
                self._limit and not self._proven and self._in_a_row + 1 >= min(self._limit, FIRST)
            )

    def blow(self, waiting: int, reason: str) -> None:
        """Blow: no image that could be answered before the waiting dead letters is left.

        Raises:
            FuseBlownError: always; the text says how many dead letters there were.
        """
        raise FuseBlownError(
            f"{self._in_a_row + waiting} images in a row could not be processed, and none was "
            f"answered yet (fuse_consecutive); the last: {reason}"
        )

    def answered(self, count: int = 1) -> None:
        with self._lock:
            if count:
                self._in_a_row = 0
                self._proven = True
            for _ in range(min(count, self._recent.maxlen or 0)):
                self._push(False)

    def dead(self, reason: str) -> None:
        """Count one dead letter.

        Raises:
            FuseBlownError: this dead letter is one too many.
        """
        with self._lock:
            self._dead(reason)

    def _dead(self, reason: str) -> None:
        self._in_a_row += 1
        self._push(True)
        if self._limit and self._in_a_row >= self._limit:
            raise FuseBlownError(
                f"{self._in_a_row} images in a row could not be processed (fuse_consecutive); "
                f"the last: {reason}"
            )
        full = len(self._recent) == self._recent.maxlen
        if self._ratio and full and self._dead_in_window > self._ratio * len(self._recent):
            raise FuseBlownError(
                f"{self._dead_in_window} of the last {len(self._recent)} images could not be "
                f"processed (fuse_ratio); the last: {reason}"
            )

    def _push(self, dead: bool) -> None:
        if len(self._recent) == self._recent.maxlen:
            self._dead_in_window -= self._recent[0]
        self._recent.append(dead)
        self._dead_in_window += dead
