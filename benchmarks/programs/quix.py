"""Quix Streams: count windows of images, each classified as one batch by torch or by Triton.

Its windows are kept for each key; here a partition's images have one key between them, else a
window would never fill. Their bytes lie in its state store and in its changelog topic until then,
so that no crash loses them. A window that is not full waits for the next image, however long.
"""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, Serializer
from quixstreams.state.rocksdb import RocksDBOptions

from benchmarks.programs.common import kafka_parser
from benchmarks.programs.in_process import Classifier
from benchmarks.programs.triton_client import TritonClassifier


class OneKey(Deserializer):  # type: ignore[misc]  # its package is in an environment of its own
    def __call__(self, value: bytes, ctx: Any) -> str:  # noqa: ARG002
        return "all"


class Answer(Serializer):  # type: ignore[misc]
    def __call__(self, value: dict[str, bytes], ctx: Any) -> bytes:  # noqa: ARG002
        return value["answer"]


def main() -> None:
    parser = kafka_parser(__doc__)
    parser.add_argument("--model", required=True, help="model.pt, or a model's name in Triton")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--triton", help="its gRPC address; left out: torch in this process")
    parser.add_argument("--window", type=int, required=True, help="images")
    parser.add_argument("--state", required=True, help="folder")
    parser.add_argument("--guarantee", default="at-least-once")
    options = parser.parse_args()
    answers: Callable[[Sequence[bytes]], list[bytes]] = (
        TritonClassifier(options.triton, options.model).answers
        if options.triton
        else Classifier(options.model, options.device).answers
    )

    def classify(window: dict[str, Any]) -> list[dict[str, bytes]]:
        ids, values = zip(*window["value"], strict=True)
        return [
            {"id": one, "answer": answer} for one, answer in zip(ids, answers(values), strict=True)
        ]

    application = Application(
        broker_address=options.brokers,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        processing_guarantee=options.guarantee,
        commit_interval=0.5,
        state_dir=options.state,
        rocksdb_options=RocksDBOptions(dumps=pickle.dumps, loads=pickle.loads),  # JSON has no bytes
        producer_extra_config={"linger.ms": 0.5, "compression.type": "lz4"},
        loglevel="WARNING",
    )
    source = application.topic(
        options.source, key_deserializer=OneKey(), value_deserializer="bytes"
    )
    target = application.topic(options.target, key_serializer="bytes", value_serializer=Answer())
    frame = application.dataframe(source)
    frame = frame.apply(
        lambda value, key, timestamp, headers: (dict(headers)["ce_id"], value),  # noqa: ARG005
        metadata=True,
    )
    frame = frame.tumbling_count_window(count=options.window).collect().final()
    frame = frame.apply(classify, expand=True)
    frame.to_topic(target, key=lambda row: row["id"])
    application.run()


if __name__ == "__main__":
    main()
