"""Decoders are processes: one may die of an image, and only that image is dead-lettered."""

import io
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bridge.decoders import process as decoder
from bridge.decoders.pool import (
    SLICE_BYTES,
    Backlog,
    DecoderError,
    Decoders,
    Made,
    Reply,
)
from bridge.decoders.process import SLICE_IMAGES, Died
from imaging.rules import ImageError, ImageRules, Pixels, Preprocess
from tests.bridge.conftest import CRASH, HANG

RULES = ImageRules((32, 32, 3), Preprocess(32), max_bytes=1 << 20, max_pixels=1_000_000)
PIXELS = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Item:
    number: int
    value: bytes = b"x"


class Pool:
    """Decoders, and what the pipeline's loop does with them."""

    def __init__(self, count: int = 1, rules: ImageRules = RULES) -> None:
        self.replies: SimpleQueue[Reply] = SimpleQueue()
        self.decoders: Decoders[Item] = Decoders(count, rules)

    def start(self) -> None:
        self.decoders.start(self.replies.put)

    def decode(self, values: Sequence[bytes]) -> list[Pixels | ImageError]:
        found: dict[int, Pixels | ImageError] = {}
        for number, value in enumerate(values):
            self.decoders.add(Item(number, value))
        while self.decoders.pending:
            self.decoders.feed()
            with suppress(Empty):
                for item, result in self.decoders.take(self.replies.get(timeout=0.1)):
                    assert item.number not in found
                    found[item.number] = result.array if isinstance(result, Made) else result
        return [found[number] for number in range(len(values))]


@pytest.fixture
def pool() -> Iterator[Pool]:
    one = Pool()
    one.start()
    yield one
    one.decoders.close()


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, "PNG")
    return out.getvalue()


def kinds(results: Sequence[Pixels | ImageError]) -> list[str]:
    return [one.kind if isinstance(one, ImageError) else "decoded" for one in results]


def test_images_come_back_in_their_places_and_bad_ones_with_their_reason(pool: Pool) -> None:
    results = pool.decode([png(), b"nonsense", png(), b""])
    assert kinds(results) == ["decoded", "not_an_image", "decoded", "empty"]
    for place in (0, 2):
        np.testing.assert_array_equal(results[place], PIXELS)  # type: ignore[arg-type] # pixels


@pytest.mark.usefixtures("fragile_decoder")
def test_an_image_that_kills_its_decoder_is_found_among_many(pool: Pool) -> None:
    values = [png()] * 12
    values[3] = values[9] = CRASH
    expected = ["decoder_crash" if value == CRASH else "decoded" for value in values]
    results = pool.decode(values)
    assert kinds(results) == expected
    assert "SIGSEGV" in str(results[3])


@pytest.mark.usefixtures("fragile_decoder")
def test_an_image_that_a_decoder_never_finishes_is_found(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "HANG_S", 3.0)
    results = pool.decode([png(), HANG])
    assert kinds(results) == ["decoded", "decoder_crash"]
    assert "no progress for 3 s" in str(results[1])


def test_decoders_that_died_with_nothing_to_do_are_replaced_without_blame() -> None:
    pool = Pool(count=2)
    pool.start()
    try:
        assert kinds(pool.decode([png()] * 200)) == ["decoded"] * 200
        for one in pool.decoders._idle:
            os.kill(one._process.pid, signal.SIGKILL)
            one._process.wait()
        assert kinds(pool.decode([png()])) == ["decoded"]
    finally:
        pool.decoders.close()


def test_decoders_that_cannot_start_are_the_bridges_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoder, "PROGRAM", "bridge.decoders.nonexistent")
    pool = Pool()
    pool.start()
    with pytest.raises(DecoderError, match="cannot start: exit status 1"):
        pool.decode([png()])
    pool.decoders.close()


def test_slices_are_bounded_in_images_and_in_bytes() -> None:
    backlog: Backlog[Item] = Backlog()
    for number in range(SLICE_IMAGES + 1):
        backlog.add(Item(number))
    for number in range(2):
        backlog.add(Item(number, bytes(SLICE_BYTES)))
    sizes = []
    while (piece := backlog.next_slice()) is not None:
        sizes.append(len(piece.items))
    assert sizes == [SLICE_IMAGES, 2, 1]


@given(count=st.integers(1, 100), data=st.data())
def test_every_culprit_is_dead_lettered_and_no_other(count: int, data: st.DataObject) -> None:
    culprits = data.draw(st.sets(st.integers(0, count - 1)))
    too_slow = data.draw(st.sets(st.sampled_from(sorted(culprits)))) if culprits else set()
    backlog: Backlog[Item] = Backlog()
    for number in range(count):
        backlog.add(Item(number))
    good: list[int] = []
    found: list[int] = []
    slices = 0
    while (piece := backlog.next_slice()) is not None:
        slices += 1
        numbers = [item.number for item in piece.items]
        bad = [place for place, number in enumerate(numbers) if number in culprits]
        if bad:
            died = Died("how", bad[0], numbers[bad[0]] in too_slow)
            culprit = backlog.died(piece, died)
            found += [] if culprit is None else [culprit.number]
        else:
            good += numbers
    assert sorted(good) == sorted(set(range(count)) - culprits)
    assert sorted(found) == sorted(culprits)
    assert slices <= 2 + 2 * len(culprits)


def test_an_image_is_not_blamed_for_one_death_but_at_once_for_using_up_its_time() -> None:
    backlog: Backlog[Item] = Backlog()
    backlog.add(Item(7))
    for died, blamed in (
        (Died("SIGKILL", None), False),
        (Died("SIGKILL", 0), False),
        (Died("SIGKILL", 0), True),
    ):
        piece = backlog.next_slice()
        assert piece is not None
        assert (backlog.died(piece, died) is not None) is blamed
    backlog.add(Item(8))
    piece = backlog.next_slice()
    assert piece is not None
    assert backlog.died(piece, Died("CPU", 0, too_slow=True)) == Item(8)


@given(count=st.integers(1, 100), place=st.sampled_from([-7, SLICE_IMAGES, 10**9]))
def test_an_image_whose_decoder_says_what_cannot_be_is_found_by_itself(
    count: int, place: int
) -> None:
    backlog: Backlog[Item] = Backlog()
    for number in range(count):
        backlog.add(Item(number))
    good: list[int] = []
    found: list[int] = []
    while (piece := backlog.next_slice()) is not None:
        numbers = [item.number for item in piece.items]
        if count - 1 in numbers:
            culprit = backlog.died(piece, Died("how", place, too_slow=True))
            found += [] if culprit is None else [culprit.number]
        else:
            good += numbers
    assert (sorted(good), found) == (list(range(count - 1)), [count - 1])


def test_only_a_later_image_of_its_slice_is_a_decoders_progress(pool: Pool) -> None:
    (one,) = pool.decoders._idle
    began = time.monotonic()
    for second, (place, since) in enumerate([(3, 0), (2, 1), (3, 2), (5, 0), (10**9, 1), (-1, 2)]):
        decoder.PLACE.pack_into(one._at, 0, place)
        assert one.seconds_at_it(began + second) == pytest.approx(since)


def test_a_decoder_cannot_cut_short_what_the_bridge_looks_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared: list[int] = []
    make = os.memfd_create

    def kept(*arguments: Any) -> int:
        made = make(*arguments)
        shared.append(os.dup(made))
        return made

    monkeypatch.setattr(os, "memfd_create", kept)
    pool = Pool()
    pool.start()
    try:
        for size in (0, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(shared[0], size)
        assert kinds(pool.decode([png()])) == ["decoded"]
    finally:
        pool.decoders.close()
        os.close(shared[0])
