"""Twice the images that can be answered, in virtual time: with a limit on their age, answers stay
fresh, and there are as many as without one."""

from collections import deque
from dataclasses import dataclass

import pytest

from bridge.batching import Batcher
from bridge.decoders.pool import Backlog
from bridge.freshness import Freshness

MS = 1_000_000
MAX_AGE_MS = 2000
MAX_BATCH, SLOTS = 64, 2
IN_FLIGHT = 8 * MAX_BATCH * SLOTS
"""Images that the bridge holds."""
BEGAN_NS = 1_700_000_000_000_000_000


@dataclass(slots=True)
class Item:
    due_ns: int
    decoded: bool
    value: bytes = bytes(8000)


class Pipeline:
    """The bridge's own rules, with a decoder and a model that take their time.

    Args:
        rate: images/s that are due.
        model: images/s of the model, in both slots together.
        decoder: images/s of the one decoder; 0: raw pixels.
    """

    def __init__(self, rate: int, model: int, decoder: int, freshness: Freshness) -> None:
        self.freshness = freshness
        self.now_ns = BEGAN_NS
        self.latencies_ms: list[float] = []
        self.expired = self.wasted = 0
        self._batch_ms = MAX_BATCH * SLOTS * 1000 / model
        self._decode_ms = 1000 / decoder if decoder else 0.0
        self._rate = rate
        self._sent = 0
        self._held = 0
        self._backlog: Backlog[Item] = Backlog()
        self._batcher: Batcher[Item] = Batcher(MAX_BATCH, SLOTS)
        self._decoding: tuple[float, list[Item]] | None = None
        self._answering: deque[tuple[float, list[Item]]] = deque()

    def run(self, seconds: int) -> None:
        for _ in range(seconds * 1000):
            self.now_ns += MS
            self._finish()
            self._take()
            self._decode()
            self._send()

    def _finish(self) -> None:
        while self._answering and self._answering[0][0] <= self.now_ns:
            _, batch = self._answering.popleft()
            self._batcher.succeeded()
            self._held -= len(batch)
            self.latencies_ms += [(self.now_ns - one.due_ns) / MS for one in batch]
        if self._decoding is not None and self._decoding[0] <= self.now_ns:
            for one in self._decoding[1]:
                self._batcher.add(one)
            self._decoding = None

    def _take(self) -> None:
        while self._held < IN_FLIGHT:
            due_ns = BEGAN_NS + self._sent * 1_000_000_000 // self._rate
            if due_ns > self.now_ns:
                return
            self._sent += 1
            self._held += 1
            item = Item(due_ns, bool(self._decode_ms))
            if self._too_old(item):
                continue
            if self._decode_ms:
                self._backlog.add(item)
            else:
                self._batcher.add(item)

    def _decode(self) -> None:
        if self._decoding is None and (piece := self._backlog.next_slice(self._too_old)):
            took_ns = self._decode_ms * len(piece.items) * MS
            self._decoding = (self.now_ns + took_ns, list(piece.items))

    def _send(self) -> None:
        self._batcher.skip_while(self._overdue)
        while (batch := self._batcher.next_batch(self.now_ns / 1e9)) is not None:
            ours = [one for one in batch if not self._overdue(one)]
            if not ours:
                self._batcher.dropped()
                continue
            after = self._answering[-1][0] if len(self._answering) >= SLOTS else self.now_ns
            took_ns = self._batch_ms * len(ours) / MAX_BATCH * MS
            self._answering.append((after + took_ns, ours))

    def _too_old(self, item: Item) -> bool:
        if not self.freshness.expired(item.due_ns, self.now_ns):
            return False
        self.expired += 1
        self._held -= 1
        return True

    def _overdue(self, item: Item) -> bool:
        if not self.freshness.overdue(item.due_ns, self.now_ns, decoded=item.decoded):
            return False
        self.expired += 1
        self.wasted += item.decoded
        self._held -= 1
        return True


@pytest.mark.parametrize(
    ("model", "decoder"), [(1000, 0), (1000, 8000), (8000, 1000), (1000, 1000)],
    ids=["raw", "the model is short", "the decoder is short", "both are"],
)  # fmt: skip
def test_at_twice_the_load_answers_are_fresh_and_no_fewer(model: int, decoder: int) -> None:
    fresh = Pipeline(2000, model, decoder, Freshness(MAX_AGE_MS * MS))
    fresh.run(20)
    behind = Pipeline(2000, model, decoder, Freshness())
    behind.run(20)
    latencies = sorted(fresh.latencies_ms)
    assert latencies[int(0.99 * len(latencies))] <= 1.2 * MAX_AGE_MS
    assert max(behind.latencies_ms) > 3 * MAX_AGE_MS, "without it, they get older and older"
    assert len(fresh.latencies_ms) >= 0.9 * len(behind.latencies_ms)
    if decoder <= model:  # else there is time to decode what may not be answered
        assert fresh.wasted <= 0.05 * fresh.expired
