"""The latest images; their outcomes find them by key. Pure; bounded."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from consumer.report.overlay import Overlay
from wire.reference import Reference

State = Literal["waiting", "answered", "dead-lettered"]

Key = tuple[str, int] | tuple[str, int, int]
"""The id and the intended time, which a prediction repeats; or topic, partition and offset, which a
dead letter repeats. An id alone is not enough: a camera may send every image under one key."""

MAX_ITEMS = 4096
MAX_PICTURE_BYTES = 64 << 20
MAX_PICTURE = 16 << 20
"""Most bytes of an image whose picture is kept: as many as the bridge accepts by default. A larger
image is listed without its picture."""


class Picture(NamedTuple):
    """An image as it came; `shape` is the shape of raw pixels.

    Attributes:
        reference: the object that holds the image, if the message does not contain its bytes.
    """

    value: bytes
    content_type: str | None
    dtype: str | None
    shape: tuple[int, ...] | None
    reference: Reference | None = None


@dataclass(slots=True, eq=False)
class Item:
    """One image and its outcome; every text in it is bounded.

    Attributes:
        number: unique in this process, in the order in which images were first heard of.
        seen: seconds of the caller's clock at that time.
        where: topic/partition/offset of the image; empty until the image itself was read.
        due_ms: intended time, milliseconds since the epoch; 0: not known.
        top: (label, score), best first; for a detection, those of its objects.
        overlay: boxes to draw over its picture; None: none.
        vector: the embedding as float32, scaled to length 1; None: it has none.
        says: one line about an answer other than a classification.
        latency_ms: milliseconds from the intended time until its outcome was received.
        stages_ms: milliseconds of each of `consumer.statistics.STAGES`.
        reason: the dead letter's reason, as stage/class: message.
    """

    number: int
    id: str
    seen: float
    state: State = "waiting"
    where: str = ""
    due_ms: int = 0
    content_type: str = ""
    source: str = ""
    truth: str | None = None
    size: int = 0
    top: tuple[tuple[str, float], ...] = ()
    overlay: Overlay | None = None
    vector: npt.NDArray[np.float32] | None = None
    says: str = ""
    model: str = ""
    batch_size: int = 0
    latency_ms: float | None = None
    stages_ms: tuple[float, ...] = ()
    reason: str = ""
    keys: list[Key] = field(default_factory=list)

    @property
    def right(self) -> bool | None:
        """Whether the best class is the true one; None: not known."""
        if self.truth is None or not self.top or self.says:
            return None
        return self.top[0][0] == self.truth


class Recent:
    """The last `max_items` images, and the latest of their pictures up to `max_bytes`.

    Attributes:
        waiting: number of these images without an outcome.
    """

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_PICTURE_BYTES) -> None:
        self.waiting = 0
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._by_key: dict[Key, Item] = {}
        self._pictures: OrderedDict[int, Picture] = OrderedDict()
        self._picture_bytes = 0
        self._next = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def picture_bytes(self) -> int:
        return self._picture_bytes

    def find(self, *keys: Key) -> Item | None:
        return next((self._by_key[key] for key in keys if key in self._by_key), None)

    def latest(self, id: str) -> Item | None:
        """The newest image with this id; None: there is none."""
        return next((item for item in reversed(self._items.values()) if item.id == id), None)

    def add(self, id: str, now: float, *keys: Key) -> Item:
        """Add a new item, which these keys will find; the oldest item may be removed for it."""
        item = Item(self._next, id, now)
        self._next += 1
        self._items[item.number] = item
        self.waiting += 1
        self.name(item, *keys)
        if len(self._items) > self._max_items:
            self._drop(next(iter(self._items.values())))
        return item

    def name(self, item: Item, *keys: Key) -> None:
        """Make these keys find the item, too."""
        item.keys.extend(keys)
        self._by_key.update(dict.fromkeys(keys, item))

    def settle(self, item: Item, state: State) -> bool:
        """Give an item its outcome; False: it had one already."""
        if item.state != "waiting":
            return False
        item.state = state
        self.waiting -= 1
        return True

    def keep(self, item: Item, picture: Picture) -> None:
        """Keep a picture for as long as there is room; older pictures are removed first."""
        if len(picture.value) > MAX_PICTURE or item.number in self._pictures:
            return
        self._pictures[item.number] = picture
        self._picture_bytes += len(picture.value)
        while self._picture_bytes > self._max_bytes:
            self._drop_picture(next(iter(self._pictures)))

    def picture(self, number: int) -> Picture | None:
        return self._pictures.get(number)

    def alike(self, number: int, most: int) -> list[tuple[Item, float]]:
        """At most `most` items whose vectors are most like this one's, each with the cosine."""
        item = self._items.get(number)
        if item is None or item.vector is None:
            return []
        length = len(item.vector)
        others = [
            one
            for one in self._items.values()
            if one is not item and one.vector is not None and len(one.vector) == length
        ]
        if not others:
            return []
        cosines = np.stack([one.vector for one in others if one.vector is not None]) @ item.vector
        best = np.argsort(-cosines, kind="stable")[:most].tolist()
        return [(others[place], float(cosines[place])) for place in best]

    def _drop(self, item: Item) -> None:
        del self._items[item.number]
        self.waiting -= item.state == "waiting"
        for key in item.keys:
            if self._by_key.get(key) is item:
                del self._by_key[key]
        self._drop_picture(item.number)

    def _drop_picture(self, number: int) -> None:
        picture = self._pictures.pop(number, None)
        if picture is not None:
            self._picture_bytes -= len(picture.value)
