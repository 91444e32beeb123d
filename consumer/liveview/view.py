"""The state of the page: takes records and returns frames. Pure except for its lock; bounded."""

import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

from consumer.liveview.board import Board
from consumer.liveview.describing import card, note_answer, note_image, read_pictures, text
from consumer.liveview.recent import MAX_ITEMS, Item, Picture, Recent
from consumer.liveview.window import Window
from consumer.measuring.measure import Topics
from consumer.measuring.statistics import STAGES
from consumer.reader import Received
from wire.deadletter import decode_dead_letter, one_line
from wire.image import ImageEvent, image_id
from wire.prediction import Prediction, decode_prediction
from wire.record import ContractError, KafkaRecord

FRAME_SECONDS = 0.25
"""Time between two frames, in seconds: four a second look lively and cost a browser little."""

WALL, WALL_PER_SECOND = 24, 12.0
"""Places for all images that pass, and the number that change in a second: each stays for 2 s."""
ROW, ROW_PER_SECOND = 10, 2.0
"""Places for images with a wrong answer or a dead letter, which deserve a longer look; see
`WALL`."""

ALIKE = 6
"""Images shown beside one that is like them."""


class View:
    """Takes records on one thread and returns frames on others.

    A frame is all that the page shows, without regard to earlier frames: a browser that is slow, or
    was away, takes the latest frame and has missed nothing that it needs.

    Args:
        source: the place where the records come from, in words.
        topics: the names of the topics.
        reference_field: path of the field of a JSON message that holds a URL; empty: no field does.
        max_items: most images that are remembered.
        clock: returns seconds.
        decode: reads a prediction from its record.
    """

    def __init__(
        self,
        source: str,
        topics: Topics,
        reference_field: str = "",
        max_items: int = MAX_ITEMS,
        clock: Callable[[], float] = time.monotonic,
        decode: Callable[[KafkaRecord], Prediction] = decode_prediction,
    ) -> None:
        self._source = source
        self._topics = topics
        self._reference_field = reference_field
        self._clock = clock
        self._decode = decode
        self._lock = threading.Lock()
        now = clock()
        self._recent = Recent(max_items)
        self._window = Window(now)
        self._wall = Board(WALL, WALL_PER_SECOND, now)
        self._wrong = Board(ROW, ROW_PER_SECOND, now)
        self._dead = Board(ROW, ROW_PER_SECOND, now)
        self._totals = dict.fromkeys(
            ("images", "answered", "dead_lettered", "duplicates", "unreadable", "skipped"), 0
        )
        self._model = ""
        self._trouble: str | None = "connecting to Kafka"
        self._frame = b""
        self._frame_at = float("-inf")

    def take(self, received: Received) -> None:
        """Take one record of any of the topics, whatever its content is."""
        record, at_ns, _ = received
        topic = record.topic()
        answer = self._read(record) if topic == self._topics.predictions else None
        with self._lock:
            now = self._clock()
            if record.unreadable is not None and topic in (
                self._topics.images,
                self._topics.dead_letters,
            ):
                self._totals["unreadable"] += 1  # it is shown all the same, by its key or offset
            if topic == self._topics.images:
                self._image(record, now)
            elif topic == self._topics.dead_letters:
                self._dead_letter(record, now)
            elif answer is None:
                self._totals["unreadable"] += 1
            else:
                self._answer(answer, at_ns, now)

    def _read(self, record: KafkaRecord) -> Prediction | None:
        """Called without the lock: it may ask a schema registry, and frames must go on
        meanwhile."""
        try:
            return self._decode(record)
        except ContractError:
            return None

    def set_trouble(self, text: str | None) -> None:
        """Show why nothing may come now; None: all is well."""
        with self._lock:
            self._trouble = text

    def skipped(self, records: int) -> None:
        """Note that this many records were skipped unread, so that the page shows what is new."""
        with self._lock:
            self._totals["skipped"] += records

    def picture(self, number: int) -> Picture | None:
        """The original image of an item, if it is still kept; otherwise None."""
        with self._lock:
            return self._recent.picture(number)

    def alike(self, number: int) -> bytes:
        """The remembered images that are most like an item's, as JSON."""
        with self._lock:
            return orjson.dumps(
                [
                    {"number": item.number, "id": item.id, "cosine": cosine}
                    for item, cosine in self._recent.alike(number, ALIKE)
                    if self._recent.picture(item.number) is not None
                ]
            )

    def image(self, id: str) -> bytes:
        """The data of the latest image with this id, as JSON; null: it is not remembered."""
        with self._lock:
            found = self._recent.latest(id) or self._recent.latest(text(id))
            return orjson.dumps(self._card(found))

    def frame(self) -> bytes:
        """All that the page shows now, as JSON; at most one is made in `FRAME_SECONDS`."""
        with self._lock:
            now = self._clock()
            if now - self._frame_at >= FRAME_SECONDS / 2:
                self._frame_at = now
                self._frame = orjson.dumps(self._describe(now))
            return self._frame

    def _image(self, record: KafkaRecord, now: float) -> None:
        for image, picture in read_pictures(record, self._reference_field):
            self._one_image(record, image, picture, now)

    def _one_image(
        self, record: KafkaRecord, image: ImageEvent, picture: Picture, now: float
    ) -> None:
        at = (record.topic() or "", record.partition() or 0, record.offset() or 0)
        keys = (at, (image.id, image.intended_ns))
        # If its message has several images, only by its own key: they all have the same offset.
        item = self._recent.find(*(keys if picture.reference is None else keys[1:]))
        if item is not None and not item.where:
            self._recent.name(item, *keys)  # the outcome was read before the image
        else:
            item = self._recent.add(image.id, now, *keys)
        item.where = "/".join(map(str, at))
        note_image(item, image, picture)
        if picture.value or picture.reference is not None:
            self._recent.keep(item, picture)
        self._totals["images"] += 1
        self._window.image(now)
        if item.state == "waiting":
            self._wall.arrived(item)

    def _answer(self, prediction: Prediction, at_ns: int, now: float) -> None:
        key = (prediction.id, prediction.stamps["intended"])
        item = self._recent.find(key) or self._recent.add(text(prediction.id), now, key)
        if not self._recent.settle(item, "answered"):
            self._totals["duplicates"] += 1
            return
        latency_us, stages_us = note_answer(item, prediction, at_ns)
        self._model = item.model
        self._totals["answered"] += 1
        self._window.answer(now, latency_us, stages_us, item.batch_size, item.right)
        self._settled(item)

    def _dead_letter(self, record: KafkaRecord, now: float) -> None:
        letter = decode_dead_letter(record)
        key = (letter.topic, letter.partition, letter.offset)
        item = self._recent.find(key) or self._recent.add(image_id(record), now, key)
        if not self._recent.settle(item, "dead-lettered"):
            self._totals["duplicates"] += 1
            return
        reason = f"{letter.stage}/{letter.error_class}: {letter.message}"
        item.reason = one_line(reason)
        self._totals["dead_lettered"] += 1
        self._window.dead_letter(now)
        self._settled(item)

    def _settled(self, item: Item) -> None:
        self._wall.settled(item)
        if item.state == "dead-lettered":
            self._dead.settled(item)
        elif item.right is False:
            self._wrong.settled(item)

    def _describe(self, now: float) -> dict[str, Any]:
        self._window.advance(now)
        boards = {"wall": self._wall, "wrong": self._wrong, "dead": self._dead}
        for board in boards.values():
            board.turn(now)
        columns = zip(*self._window.history, strict=True) if self._window.history else [()] * 6
        names = ("images", "answered", "dead_lettered", "p50", "p90", "p99")
        return {
            "source": self._source,
            "trouble": self._trouble,
            "model": self._model,
            "totals": self._totals,
            "waiting": self._recent.waiting,
            "summary": self._window.summary._asdict(),
            "stages": [name for name, _, _ in STAGES],
            "history": dict(zip(names, columns, strict=True)),
            "latest": self._wall.latest,
            "wall_per_second": WALL_PER_SECOND,
            "boards": {
                name: [self._card(item) for item in board.places] for name, board in boards.items()
            },
        }

    def _card(self, item: Item | None) -> dict[str, Any] | None:
        if item is None:
            return None
        return card(item, picture=self._recent.picture(item.number) is not None)
