"""A record is read once, and whatever is in it the reading does not fail."""

from typing import Any

import pytest

from wire.deadletter import DeadLetter, encode_dead_letter
from wire.image import decode_image, image_id
from wire.record import ContractError, StoredRecord, first_headers, read_record


class Latin1:
    """What Kafka's client gives for a record with a header name that is not UTF-8."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure
        self.asked = 0

    def headers(self) -> Any:
        self.asked += 1
        assert self.asked == 1, "asked again, the client crashes the process"
        raise self.failure

    def topic(self) -> str:
        return "images"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return b"door-1"

    def value(self) -> bytes:
        return b"pixels"

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_700_000_000_000)


def test_a_record_whose_headers_cannot_be_read_is_kept_without_them() -> None:
    message = Latin1(SystemError("returned a result with an exception set"))
    record = read_record(message)
    assert (record.topic(), record.partition(), record.offset()) == ("images", 3, 7)
    assert (record.key(), record.value()) == (b"door-1", b"pixels")
    assert record.timestamp() == (1, 1_700_000_000_000)
    assert record.headers() is None
    assert record.unreadable is not None
    for _ in range(2):
        with pytest.raises(ContractError, match="headers cannot be read"):
            decode_image(record)
    assert image_id(record) == "door-1"
    letter = DeadLetter("contract", "contract", record.unreadable, "images", 3, 7, 1, 5)
    out = encode_dead_letter(record, letter)
    assert (out.key, out.value) == (b"door-1", b"pixels")
    assert first_headers(out.headers)["dlq.offset"] == b"7"


def test_want_of_memory_says_nothing_about_a_record() -> None:
    with pytest.raises(MemoryError):
        read_record(Latin1(MemoryError()))


def test_a_record_counts_its_key_and_headers_and_what_holds_them() -> None:
    bare = StoredRecord(record_value=b"v" * 100).size
    assert StoredRecord(record_key=b"k" * 1000, record_value=b"v" * 100).size == bare + 1000
    many = StoredRecord(
        record_value=b"v" * 100, record_headers=[(f"h{i}", b"") for i in range(10_000)]
    )
    # Measured: 160 bytes and more each, of which two to six are the message's.
    assert 10_000 * 150 < many.size - bare < 10_000 * 220
    assert StoredRecord(record_headers=[("n", None)]).size > StoredRecord().size
