"""Any number of bad images leaves the memory where it was."""

import os
import random

from imaging.decode import to_input
from imaging.rules import ImageError
from tests.fuzz.test_decoding import CONTENT_TYPES, INPUTS, LIKELY, NAMES, RULES, corpus
from tests.memory import resident_kib
from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import decode_image
from wire.record import ContractError, StoredRecord, raw_bytes

GROWTH_KIB = 8 << 10
"""A kibibyte kept of each image would be twelve times that in the long form."""


def stranger(rng: random.Random) -> StoredRecord:
    value = bytearray(rng.choice(corpus()))
    for _ in range(rng.randrange(6)):
        place = rng.randrange(len(value))
        value[place : place + rng.randrange(16)] = rng.randbytes(rng.randrange(16))
    headers = [
        (rng.choice(NAMES), rng.choice([rng.choice(LIKELY), rng.randbytes(rng.randrange(40))]))
        for _ in range(rng.randrange(6))
    ]
    return StoredRecord(
        record_key=rng.randbytes(rng.randrange(30)),
        record_value=bytes(value),
        record_headers=[("content-type", rng.choice(CONTENT_TYPES)), *headers],
    )


def take(record: StoredRecord) -> bool:
    """What the bridge does of itself with one record; whether it ends as a dead letter."""
    try:
        event = decode_image(record)
        to_input(event, raw_bytes(record.value()), RULES[0])
    except (ContractError, ImageError) as error:
        encode_dead_letter(record, DeadLetter("decode", "x", str(error), "images", 0, 1, 1, 1))
        return True
    return False


def test_bad_images_by_the_thousand_leave_no_memory_behind() -> None:
    rng = random.Random(1)  # noqa: S311 - the same images each time
    dead = sum(take(stranger(rng)) for _ in range(INPUTS))  # every cache is full after these
    before = resident_kib(os.getpid())
    dead += sum(take(stranger(rng)) for _ in range(INPUTS))
    assert INPUTS // 2 < dead < 2 * INPUTS
    assert resident_kib(os.getpid()) - before < GROWTH_KIB
