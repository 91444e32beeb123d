"""Matches images, predictions and dead letters by id, in whatever order they are read. Pure."""

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wire.answers import describe
from wire.clock import bounded_time
from wire.deadletter import EXPIRED as TOO_OLD
from wire.prediction import STAMPS, Prediction

Int64 = npt.NDArray[np.int64]

SEEN, ANSWERED, DEAD, STORED, UNCLASSED, EXPIRED = 1, 2, 4, 8, 16, 32
"""Bits of a row's state. SEEN: the image itself was read. ANSWERED, DEAD, EXPIRED: its first
outcome, at most one of them (EXPIRED: too old to be worked on). STORED: that outcome was on its
topic before reading began, so nobody knows how long a reader would have waited. UNCLASSED: the
answer is no classification."""

NO_NAME = -1
NO_OFFSET = -1
MAX_NAMES = 1 << 16
"""Most distinct labels and reasons: names come from strangers, and rows hold only their number."""
OTHER = "(other)"

_LARGEST = (1 << 31) - 1
_LARGEST_SCORE = float(np.finfo(np.float32).max)
# Numbers come from strangers: they are limited so that a column can hold them and differences.

TIMES = (*STAMPS, "consumed")
"""Names of the columns of times (epoch nanoseconds) in their order; a time of 0 is not known."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One row for each image, in the order in which its first record was read.

    Attributes:
        ids: image ids.
        state: uint8 [n], an OR of the bits above.
        times: int64 [n] for each of `TIMES`.
        best: int32 [n], index into `names` of the predicted label, of a dead letter's reason, or of
            a line about an answer that is `UNCLASSED`; `NO_NAME` where there is none.
        label: int32 [n], index into `names` of the true label.
        score: float32 [n], score of the predicted label.
        batch: int32 [n], images in the request that carried this one to Triton.
        partition: int32 [n], partition of the image on its topic.
        offset: int64 [n], offset of the image in its partition; `NO_OFFSET` where it was not read.
    """

    ids: list[str]
    names: list[str]
    state: npt.NDArray[np.uint8]
    times: dict[str, Int64]
    best: npt.NDArray[np.int32]
    label: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    batch: npt.NDArray[np.int32]
    partition: npt.NDArray[np.int32]
    offset: Int64


class Matcher:
    """Keeps one compact row for each image: about 260 bytes, 85 in columns and the rest for its id.

    Images sent = answered + dead-lettered + expired + missing. Each image is exactly one of the
    four: its first outcome counts, and each further one is a duplicate.

    Attributes:
        duplicates: outcomes beyond the first, over all images.
        resent: images that were read again under an id that was already read.
        unmeasured: records about images beyond `max_images`, which are only counted.
        models: number of predictions by "model/version".
    """

    def __init__(self, max_images: int, expect_images: bool = True) -> None:
        """Args: expect_images: False: images are not read, and an outcome alone makes an image."""
        self.duplicates = 0
        self.resent = 0
        self.unmeasured = 0
        self.models: dict[str, int] = {}
        self._max_images = max_images
        self._expect_images = expect_images
        self._closed = False
        self._index: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._state = bytearray()
        self._times = {name: array("q") for name in TIMES}
        self._best = array("i")
        self._label = array("i")
        self._batch = array("i")
        self._score = array("f")
        self._partition = array("i")
        self._offset = array("q")
        self._sent = 0
        self._answered = 0
        self._dead = 0
        self._expired = 0

    @property
    def sent(self) -> int:
        """Images known to have been sent."""
        return self._sent

    @property
    def answered(self) -> int:
        """Sent images whose first outcome is a prediction."""
        return self._answered

    @property
    def dead_lettered(self) -> int:
        """Sent images whose first outcome is a dead letter for another reason than age."""
        return self._dead

    @property
    def expired(self) -> int:
        """Sent images whose first outcome says that they were too old to be worked on."""
        return self._expired

    @property
    def missing(self) -> int:
        return self._sent - self.resolved

    @property
    def resolved(self) -> int:
        return self._answered + self._dead + self._expired

    @property
    def unmatched(self) -> int:
        """Number of ids that have an outcome although no image was read."""
        return len(self._index) - self._sent

    def close(self) -> None:
        """Ignore new ids from now on: all awaited images have come, so others belong to other
        runs."""
        self._closed = True

    def image(
        self,
        id: str,
        intended_ns: int,
        sent_ns: int,
        label: str | None,
        place: tuple[int, int] = (0, NO_OFFSET),
    ) -> None:
        """Note an image that was read; `place`: its partition and offset."""
        row = self._row(id)
        if row is None:
            return
        if self._state[row] & SEEN:
            self.resent += 1
            return
        self._times["intended"][row] = bounded_time(intended_ns)
        self._times["sent"][row] = bounded_time(sent_ns)
        self._partition[row], self._offset[row] = place
        if label is not None:
            self._label[row] = self._name(label)
        if self._expect_images:
            self._see(row)

    def prediction(self, prediction: Prediction, consumed_ns: int, *, stored: bool = False) -> None:
        """Note a prediction that was available at `consumed_ns`; `stored`: before reading began."""
        row = self._row(prediction.id)
        if row is None or not self._resolve(row, ANSWERED | (STORED if stored else 0)):
            return
        model = f"{prediction.model}/{prediction.version}"
        if model in self.models or len(self.models) < MAX_NAMES:
            self.models[model] = self.models.get(model, 0) + 1
        for name in STAMPS:
            # When the image was sent is taken from its own envelope if it was read.
            if not (self._state[row] & SEEN and name in ("intended", "sent")):
                self._times[name][row] = bounded_time(prediction.stamps[name])
        self._times["consumed"][row] = bounded_time(consumed_ns)
        self._batch[row] = min(max(prediction.batch_size, 0), _LARGEST)
        if prediction.answer is not None:
            self._state[row] |= UNCLASSED
            self._best[row] = self._name(describe(prediction.answer))
        elif prediction.top:
            self._best[row] = self._name(prediction.top[0]["label"])
            score = prediction.top[0]["score"]
            self._score[row] = min(max(score, -_LARGEST_SCORE), _LARGEST_SCORE)
        if not self._expect_images:
            self._see(row)

    def dead_letter(self, id: str, reason: str, consumed_ns: int) -> None:
        """Note a dead letter that was read at `consumed_ns`."""
        row = self._row(id)
        if row is None or not self._resolve(row, EXPIRED if reason == TOO_OLD else DEAD):
            return
        self._best[row] = self._name(reason)
        self._times["consumed"][row] = bounded_time(consumed_ns)
        if not self._expect_images:
            self._see(row)

    def rows(self) -> Rows:
        """A copy of all rows so far: at the end of a run about 130 bytes more for each image."""
        return Rows(
            ids=list(self._index),
            names=list(self._names),
            state=np.frombuffer(bytes(self._state), np.uint8),
            times={name: np.array(column, np.int64) for name, column in self._times.items()},
            best=np.array(self._best, np.int32),
            label=np.array(self._label, np.int32),
            score=np.array(self._score, np.float32),
            batch=np.array(self._batch, np.int32),
            partition=np.array(self._partition, np.int32),
            offset=np.array(self._offset, np.int64),
        )

    def _row(self, id: str) -> int | None:
        row = self._index.get(id)
        if row is not None:
            return row
        if self._closed:
            return None
        if len(self._index) >= self._max_images:
            self.unmeasured += 1
            return None
        row = self._index[id] = len(self._index)
        self._state.append(0)
        for column in self._times.values():
            column.append(0)
        self._best.append(NO_NAME)
        self._label.append(NO_NAME)
        self._batch.append(0)
        self._score.append(0.0)
        self._partition.append(0)
        self._offset.append(NO_OFFSET)
        return row

    def _resolve(self, row: int, outcome: int) -> bool:
        state = self._state[row]
        if state & (ANSWERED | DEAD | EXPIRED):
            self.duplicates += 1
            return False
        self._state[row] = state | outcome
        if state & SEEN:
            self._count(outcome)
        return True

    def _see(self, row: int) -> None:
        self._sent += 1
        self._count(self._state[row])
        self._state[row] |= SEEN

    def _count(self, outcome: int) -> None:
        self._answered += outcome & ANSWERED != 0
        self._dead += outcome & DEAD != 0
        self._expired += outcome & EXPIRED != 0

    def _name(self, name: str) -> int:
        number = self._names.get(name)
        if number is None:
            if len(self._names) >= MAX_NAMES:
                name = OTHER
            number = self._names.setdefault(name, len(self._names))
        return number
