"""Whatever the bridge writes about an image, every reader of the project reads."""

import threading
from typing import Any

from hypothesis import given, reject
from hypothesis import strategies as st

from consumer.liveview.view import View
from consumer.measuring.matching import Matcher
from consumer.measuring.measure import Collector, Topics
from consumer.reader import Received
from deadletters.selection import Group, read_letter
from producer.listener import Listener, Results
from producer.naming import RunNames
from tests.fuzz.test_decoding import fuzz, headers, values
from wire.answers import Detection, Detections, Embedding, Tensors
from wire.clock import LATEST_NS
from wire.deadletter import DeadLetter, encode_dead_letter, restored, smaller_letter
from wire.image import decode_image, image_id
from wire.prediction import (
    STAMPS,
    Prediction,
    ScoredLabel,
    decode_prediction,
    encode_prediction,
)
from wire.record import ContractError, Outgoing, StoredRecord
from wire.tensors import OutputTensor

TOPICS = Topics("images", "predictions", "images.dlq")
RUN = "fuzz"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
sides = st.integers(1, 16384)
classes = st.tuples(texts, st.integers(0, 10**6), numbers)
answers: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.builds(
        lambda found: Detections(
            tuple(
                Detection(label=label, class_id=number, score=score, box=box)
                for (label, number, score), box in found
            )
        ),
        st.lists(st.tuples(classes, st.tuples(numbers, numbers, numbers, numbers)), max_size=4),
    ),
    st.builds(
        Embedding,
        st.integers(1, 16).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)).filter(
            lambda raw: not any(raw[at + 3] & 0x7F == 0x7F for at in range(0, len(raw), 4))
        ),
        st.sampled_from(["list", "base64"]),
    ),
    st.builds(
        lambda name, data: Tensors(
            (OutputTensor(name=name, datatype="FP32", shape=[len(data)], data=data),)
        ),
        texts,
        st.lists(numbers, min_size=1, max_size=8),
    ),
)  # fmt: skip


def received(topic: str, sent: Outgoing) -> Received:
    record = StoredRecord(
        topic, record_key=sent.key, record_value=sent.value, record_headers=sent.headers
    )
    return Received(record, 1_700_000_000_000_000_000)


def listener() -> Listener:
    """One that is given its records, and no Kafka."""
    made = Listener.__new__(Listener)
    made._results = Results([None])
    made._decode = decode_prediction
    made._run_id, made._names, made._limit = RUN.encode(), RunNames(RUN), 100
    made._dead_letters_topic = TOPICS.dead_letters
    made._changed = threading.Condition()
    return made


@fuzz
@given(
    st.one_of(st.none(), st.binary(max_size=60)),
    headers,
    st.lists(classes, max_size=3),
    answers,
    st.lists(st.integers(0, LATEST_NS), min_size=len(STAMPS), max_size=len(STAMPS)),
    texts,
    st.integers(1, 4096),
)
def test_a_prediction_of_any_image_is_read_as_an_answer(
    key: bytes | None,
    stray: list[tuple[str, bytes | None]],
    top: list[tuple[str, int, float]],
    answer: Any,
    times: list[int],
    name: str,
    batch: int,
) -> None:
    # First: what a stranger puts beside them does not change which image of which run it is.
    ours = [("ce_id", f"{RUN}-7".encode()), ("ce_runid", RUN.encode())]
    image = StoredRecord(record_key=key, record_value=b"", record_headers=[*ours, *stray])
    try:
        event = decode_image(image)
    except ContractError:
        reject()
    sent = encode_prediction(
        event,
        key,
        Prediction(
            id=event.id, model=name, version="1",
            top=tuple(ScoredLabel(label=a, class_id=b, score=c) for a, b, c in top),
            stamps=dict(zip(STAMPS, times, strict=True)), batch_size=batch, answer=answer,
        ),
        "bridge",
    )  # fmt: skip
    one = received(TOPICS.predictions, sent)

    matcher = Matcher(10, expect_images=False)
    collector = Collector(matcher, TOPICS, RUN)
    assert collector.take(one)
    assert (collector.unreadable, matcher.resolved) == (0, 1)

    heard = listener()
    heard._take(one.record)
    assert (heard.tally().unreadable, heard.tally().answered) == (0, 1)

    view = View("nowhere", TOPICS)
    view.take(one)
    assert view._totals["unreadable"] == 0
    assert view._totals["answered"] == 1
    assert view.frame()


@fuzz
@given(
    st.one_of(st.none(), st.binary(max_size=60)),
    values,
    headers,
    texts,
    st.integers(0, 4),
    st.integers(-(1 << 63), (1 << 63) - 1),
)
def test_a_dead_letter_of_any_record_is_read_as_one(
    key: bytes | None,
    value: bytes | None,
    stray: list[tuple[str, bytes | None]],
    message: str,
    losses: int,
    time_ms: int,
) -> None:
    ours = [("ce_id", f"{RUN}-7".encode()), ("ce_runid", RUN.encode())]
    record = StoredRecord(record_key=key, record_value=value, record_headers=[*ours, *stray])
    letter = DeadLetter("decode", "fuzz", message, "images", 3, 14, 1, time_ms)
    sent = encode_dead_letter(record, letter)
    whole = True
    for _ in range(losses):  # as a broker has it that takes only so much
        smaller = smaller_letter(sent)
        if smaller is None:
            break
        sent, whole = smaller, False
    one = received(TOPICS.dead_letters, sent)

    found = read_letter(one.record)
    assert (found.stage, found.error_class) == ("decode", "fuzz")
    assert (found.topic, found.partition, found.offset) == ("images", 3, 14)
    group = Group()
    group.add(one.record, found, samples=1)
    assert group.count == len(group.samples) == 1
    assert restored(one.record).headers is not None

    view = View("nowhere", TOPICS)
    view.take(one)
    assert view._totals["dead_lettered"] == 1
    assert view.frame()

    matcher = Matcher(10, expect_images=False)
    collector = Collector(matcher, TOPICS, RUN if whole else None)
    assert collector.take(one)
    assert (collector.unreadable, matcher.resolved) == (0, 1)
    if whole:
        assert image_id(one.record) == f"{RUN}-7"
        heard = listener()
        heard._take(one.record)
        assert (heard.tally().unreadable, heard.tally().dead_lettered) == (0, 1)
